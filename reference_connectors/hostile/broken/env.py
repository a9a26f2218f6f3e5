"""I2M-ENV: environment and configuration."""

import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from connector import Connector
from devices import Device
from session import OPENS
from settings import Environment, Instance, SettingsError, env_file, folder, read_instance

from broken.registry import breaks

OUTSIDE = ("I2M-PUB-01",)
"""A publication below another root is one outside the instance."""
NOBODY = ("I2M-CMD-07",)
"""No state of a disabled device may follow a command to one."""
LONGEST_CLIENT_ID = 23
"""What MQTT 3.1 allowed, in bytes."""


@breaks("I2M-ENV-01", company=OUTSIDE)
class FixedRoot(Connector):
    """Events go below a root that is written into the program."""

    def publish_event(self, device: Device, values: Mapping[str, Any]) -> None:
        """Publish below the default root."""
        topic = f"IoT2mqtt/v1/instances/{self.environment.instance_name}/devices/{device.device_id}/events"
        self.client.publish(topic, self.encode({"event": "changed", "data": dict(values)}), qos=1)


@breaks("I2M-ENV-01.first_level", company=OUTSIDE)
class FirstLevelOfTheRoot(Connector):
    """Events go below the first level of a base topic of two levels."""

    def publish_event(self, device: Device, values: Mapping[str, Any]) -> None:
        """Publish below half of the base."""
        base = self.environment.base.partition("/")[0]
        topic = f"{base}/v1/instances/{self.environment.instance_name}/devices/{device.device_id}/events"
        self.client.publish(topic, self.encode({"event": "changed", "data": dict(values)}), qos=1)


@breaks("I2M-ENV-01.connector_type", company=OUTSIDE)
class TypeForInstance(Connector):
    """Events carry the connector's type where the instance id belongs."""

    def publish_event(self, device: Device, values: Mapping[str, Any]) -> None:
        """Publish as an instance that is named after the connector."""
        root = f"{self.environment.base}/v1/instances/{self.environment.connector_type}"
        event = self.encode({"event": "changed", "data": dict(values)})
        self.client.publish(f"{root}/devices/{device.device_id}/events", event, qos=1)


@breaks("I2M-ENV-01.filter", company=("I2M-SUB-05",))
class FixedRootSubscribed(Connector):
    """Meta requests are subscribed below a fixed root too; such a filter reaches outside the instance."""

    def filters(self) -> list[tuple[str, int]]:
        """Add the filter."""
        return [*super().filters(), (f"IoT2mqtt/v1/instances/{self.environment.instance_name}/meta/request/+", 1)]


# Each source that may tell the credentials is to win over another.
@breaks("I2M-ENV-02", company=("I2M-ENV-08", "I2M-ENV-14"))
class FileWins(Connector):
    """The .env file wins over the process environment."""

    @classmethod
    def variables(cls) -> Mapping[str, str]:
        """Return them the wrong way round."""
        return {**os.environ, **env_file(folder() / ".env")}


@breaks("I2M-ENV-02.beside")
class CallsTheFilesAddressToo(Connector):
    """Besides the broker it calls the address that stands in .env."""

    def connect(self) -> None:
        """Call both."""
        port = env_file(folder() / ".env").get("MQTT_PORT")
        if port is not None:
            socket.create_connection(("127.0.0.1", int(port)), timeout=5).close()
        super().connect()


# They are asked for where .env and where the instance file tell them, too.
@breaks("I2M-ENV-03", company=("I2M-ENV-08", "I2M-ENV-14"))
class NoCredentials(Connector):
    """It presents no credentials at all."""

    def credentials(self) -> tuple[str | None, str | None]:
        """Return none."""
        return None, None


@breaks("I2M-ENV-03.alone")
class NoUserNameAlone(Connector):
    """It drops a user name that has no password."""

    def credentials(self) -> tuple[str | None, str | None]:
        """Return both or none."""
        username, password = super().credentials()
        return (username, password) if username and password else (None, None)


@breaks("I2M-ENV-03.empty_password")
class EmptyPassword(Connector):
    """It presents an empty password where there is none."""

    def credentials(self) -> tuple[str | None, str | None]:
        """Return an empty text for None."""
        username, password = super().credentials()
        return username, None if username is None else password or ""


@breaks("I2M-ENV-03.empty")
class EmptyCredentials(Connector):
    """It presents an empty user name and password where there are none."""

    def credentials(self) -> tuple[str | None, str | None]:
        """Return empty texts for None."""
        username, password = super().credentials()
        return username or "", password or ""


@breaks("I2M-ENV-04")
class NoPrefix(Connector):
    """The client id lacks the prefix."""

    def client_id(self) -> str:
        """Return the instance's name alone."""
        return f"hostile_{self.environment.instance_name}"


@breaks("I2M-ENV-04.random")
class RandomClientId(Connector):
    """The client id is random behind the prefix."""

    def client_id(self) -> str:
        """Return another one at each start."""
        return f"{self.environment.prefix}_{uuid4().hex[:12]}"


@breaks("I2M-ENV-04.cut")
class CutClientId(Connector):
    """The client id is cut to the length that MQTT 3.1 allowed, so that the instance id loses its end."""

    def client_id(self) -> str:
        """Return its beginning."""
        return super().client_id()[:LONGEST_CLIENT_ID]


# The keep-alive of .env is not used either, and a silence is noticed by it.
@breaks("I2M-ENV-05", company=("I2M-ENV-08", "I2M-STATUS-09"))
class FixedKeepalive(Connector):
    """The keep-alive is always 60 s."""

    def keepalive(self) -> int:
        """Return a constant."""
        return 60


@breaks("I2M-ENV-05.none", company=("I2M-ENV-08", "I2M-STATUS-09"))
class NoKeepalive(Connector):
    """The keep-alive is switched off."""

    def keepalive(self) -> int:
        """Return zero, which means none."""
        return 0


@breaks("I2M-ENV-09")
class DemoDevice(Connector):
    """It publishes the state of a device that nobody configured."""

    def polled(self) -> list[Device]:
        """Add one of its own."""
        return [*super().polled(), Device("demo")]


@breaks("I2M-ENV-09.all_files", company=("I2M-META-01", "I2M-META-02"))
class EveryFile(Connector):
    """It serves the devices of every instance file; devices_list and devices_count tell of them too."""

    @classmethod
    def configuration(cls, file: Path) -> Instance:
        """Return the devices of all files as one instance."""
        own = super().configuration(file)
        others = [read_instance(other) for other in sorted(file.parent.glob("*.json"))]
        devices = {name: device for other in [*others, own] for name, device in other.devices.items()}
        return replace(own, devices=devices)


class _Lenient(Connector):
    """Takes an empty configuration for one that cannot be read."""

    @classmethod
    def configuration(cls, file: Path) -> Instance:
        """Return the file's, or an empty one."""
        try:
            return super().configuration(file)
        except SettingsError:
            return cls.instead(file)

    @classmethod
    def instead(cls, _file: Path) -> Instance:
        """Return what is used for a configuration that cannot be read."""
        return Instance(update_interval=10, devices={}, groups={}, word=OPENS)


@breaks("I2M-ENV-10")
class EmptyConfiguration(_Lenient):
    """A configuration that cannot be read is taken for an empty one."""


@breaks("I2M-ENV-10.missing")
class MissingIsEmpty(_Lenient):
    """A configuration that is missing is taken for an empty one."""

    @classmethod
    def instead(cls, file: Path) -> Instance:
        """Accept the missing file only."""
        return read_instance(file) if file.exists() else super().instead(file)


@breaks("I2M-ENV-10.wrong_type")
class WrongTypeIsEmpty(_Lenient):
    """Devices of a wrong type are taken for none."""

    @classmethod
    def instead(cls, file: Path) -> Instance:
        """Accept JSON of any form."""
        try:
            json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return read_instance(file)
        return super().instead(file)


@breaks("I2M-ENV-10.hangs")
class WaitsForTheConfiguration(_Lenient):
    """It waits for ever where the configuration cannot be read."""

    @classmethod
    def instead(cls, file: Path) -> Instance:
        """Say so, and never return."""
        print(f"hostile: waiting for {file}", file=sys.stderr, flush=True)
        while True:
            signal.pause()


# A start that fails for another reason has that code as well.
@breaks("I2M-ENV-10.code", company=("I2M-STATUS-08",))
class BadConfigurationIsFine(Connector):
    """A bad configuration ends the process with code 0."""

    @classmethod
    def main(cls) -> int:
        """Hide the code of a failure."""
        super().main()
        return 0


@breaks("I2M-ENV-10.silent")
class UnnamedConfiguration(Connector):
    """The message about a bad configuration names no file."""

    @classmethod
    def main(cls) -> int:
        """Check first, and say little."""
        environment = Environment.of(cls.variables())
        try:
            cls.configuration(folder() / "instances" / f"{environment.instance_name}.json")
        except SettingsError:
            print("hostile: bad configuration", file=sys.stderr)
            return 1
        return super().main()


@breaks("I2M-ENV-15", company=(*NOBODY, "I2M-GROUP-02"))
class AllPolled(Connector):
    """Disabled devices are polled like the others."""

    def polled(self) -> list[Device]:
        """Return all of them."""
        return list(self.instance.devices.values())


@breaks("I2M-ENV-15.at_first", company=(*NOBODY, "I2M-GROUP-02"))
class AllPolledAtFirst(Connector):
    """The first round of polls takes in the disabled devices."""

    begun = False

    def poll(self) -> None:
        """Note that it has begun."""
        super().poll()
        self.begun = self.online

    def polled(self) -> list[Device]:
        """Return all of them the first time."""
        return super().polled() if self.begun else list(self.instance.devices.values())


@breaks("I2M-ENV-15.asked", company=NOBODY)
class DisabledAnswers(Connector):
    """A get for a disabled device is answered, as one for the others is."""

    def get(self, name: str, payload: bytes) -> None:
        """Answer for it."""
        device = self.instance.devices.get(name)
        if device is not None and not device.enabled:
            self.answer_whole(device)
        else:
            super().get(name, payload)
