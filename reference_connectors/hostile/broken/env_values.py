"""I2M-ENV: what the environment and .env say, and what is left alone."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from connector import Connector
from devices import Device
from session import LOG
from settings import Instance, env_file, folder

from broken.registry import breaks


@breaks("I2M-ENV-06")
class FixedQos(Connector):
    """Everything is published at QoS 1, whatever MQTT_QOS says."""

    def publish(self, suffix: str, value: Any, *, qos: int = 1, retain: bool = False) -> None:
        """Publish it so."""
        del qos
        super().publish(suffix, value, qos=1, retain=retain)


@breaks("I2M-ENV-06.two")
class NoQos2(Connector):
    """QoS 2 is taken for 1."""

    def publish(self, suffix: str, value: Any, *, qos: int = 1, retain: bool = False) -> None:
        """Publish at QoS 1 at the most."""
        super().publish(suffix, value, qos=min(qos, 1), retain=retain)


@breaks("I2M-ENV-06.unset")
class UnsetQosIs0(Connector):
    """Where MQTT_QOS is unset, states have QoS 0."""

    @classmethod
    def variables(cls) -> Mapping[str, str]:
        """Return another default."""
        return {"MQTT_QOS": "0", **super().variables()}


class _OtherRetain(Connector):
    """States are retained, or not, in a way of its own."""

    def retained(self) -> bool:
        """Whether a state gets the flag."""
        raise NotImplementedError

    def publish_whole(self, device: Device, message: dict[str, Any]) -> None:
        """Publish a state with the flag that is right here."""
        topic = f"devices/{device.device_id}/state"
        self.publish(topic, message, qos=self.environment.qos, retain=self.retained())

    def publish_property(self, device: Device, name: str, value: Any) -> None:
        """Publish a property likewise."""
        topic = f"devices/{device.device_id}/state/{name}"
        self.publish(topic, value, qos=self.environment.qos, retain=self.retained())


@breaks("I2M-ENV-07")
class AlwaysRetained(_OtherRetain):
    """States are retained, although MQTT_RETAIN is false."""

    def retained(self) -> bool:
        """Return a constant."""
        return True


@breaks("I2M-ENV-07.never", company=("I2M-STATE-06", "I2M-GET-03", "I2M-LIFE-11"))
class NeverRetained(_OtherRetain):
    """States are not retained; so nothing of them is there for who comes later."""

    def retained(self) -> bool:
        """Return a constant."""
        return False


@breaks("I2M-ENV-07.unset")
class UnsetRetainIsFalse(Connector):
    """Where MQTT_RETAIN is unset, states are not retained."""

    @classmethod
    def variables(cls) -> Mapping[str, str]:
        """Return another default."""
        return {"MQTT_RETAIN": "false", **super().variables()}


@breaks("I2M-ENV-08")
class NoFile(Connector):
    """It does not look into .env."""

    @classmethod
    def variables(cls) -> Mapping[str, str]:
        """Return those of the process."""
        return {**os.environ, **cls.credentials_in_file()}


@breaks("I2M-ENV-08.cwd")
class FileOfTheFolder(Connector):
    """It looks for .env where it was started."""

    @classmethod
    def variables(cls) -> Mapping[str, str]:
        """Return those of the process, and of that file."""
        return {**env_file(Path(".env")), **os.environ, **cls.credentials_in_file()}


@breaks("I2M-ENV-08.port")
class AddressOfTheProcess(Connector):
    """It takes credentials from .env, but the address from the process environment alone."""

    @classmethod
    def variables(cls) -> Mapping[str, str]:
        """Return them without the file's address."""
        found = {**env_file(folder() / ".env"), "MQTT_HOST": "localhost", "MQTT_PORT": "1883"}
        return {**found, **os.environ, **cls.credentials_in_file()}


@breaks("I2M-ENV-11")
class Notes(Connector):
    """It keeps a file of its own in shared/."""

    def announce(self) -> None:
        """Write it."""
        (folder() / "shared" / "hostile.json").write_text("{}", encoding="utf-8")
        super().announce()


@breaks("I2M-ENV-11.same")
class WritesTheSame(Connector):
    """It writes the instance file anew, as it was."""

    @classmethod
    def configuration(cls, file: Path) -> Instance:
        """Read, and write."""
        found = super().configuration(file)
        file.write_bytes(file.read_bytes())
        return found


@breaks("I2M-ENV-11.lock")
class LockFile(Connector):
    """It makes a file beside the instance files and removes it."""

    def announce(self) -> None:
        """Make and remove it."""
        lock = folder() / "instances" / ".lock"
        lock.touch()
        lock.unlink()
        super().announce()


@breaks("I2M-ENV-11.env")
class EnvOnlyForMe(Connector):
    """It makes .env readable for itself alone."""

    def announce(self) -> None:
        """Change its mode."""
        (folder() / ".env").chmod(0o600)
        super().announce()


@breaks("I2M-ENV-12")
class CapitalsOnly(Connector):
    """LOG_LEVEL=debug ends it with a traceback, as does any word that is no level."""

    @classmethod
    def log_from(cls, level: str) -> None:
        """Take the level as it is."""
        logging.basicConfig(level=level)


@breaks("I2M-ENV-12.nonsense")
class KnownLevelsOnly(Connector):
    """A level that is none ends it with a traceback."""

    @classmethod
    def log_from(cls, level: str) -> None:
        """Take the level in capitals."""
        logging.basicConfig(level=level.upper())


@breaks("I2M-ENV-12.ignored")
class OneLevel(Connector):
    """The level is always INFO."""

    @classmethod
    def log_from(cls, level: str) -> None:
        """Warn of what is no level, and leave it at that."""
        super().log_from("INFO")
        if level.upper() not in logging.getLevelNamesMapping():
            LOG.warning("LOG_LEVEL %r is no level", level)


@breaks("I2M-ENV-12.silent")
class SilentFallback(Connector):
    """What is no level is taken for INFO, and nobody is told."""

    @classmethod
    def log_from(cls, level: str) -> None:
        """Fall back without a word."""
        super().log_from(level if level.upper() in logging.getLevelNamesMapping() else "INFO")
