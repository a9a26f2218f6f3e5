"""I2M-ENV: secrets, and the broker that may hear them."""

import os
import ssl
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from connector import Connector
from devices import Device
from session import LOG
from settings import Tls, env_file, folder

from broken.registry import breaks


@breaks("I2M-ENV-13")
class LogsThePassword(Connector):
    """The password is in the line that tells how it connects."""

    def connect(self) -> None:
        """Tell it."""
        LOG.info("connecting as %s:%s", *self.credentials())
        super().connect()


@breaks("I2M-ENV-13.debug")
class DumpsTheEnvironment(Connector):
    """With LOG_LEVEL=debug it prints the whole environment."""

    def connect(self) -> None:
        """Print it."""
        LOG.debug("environment: %s", dict(os.environ))
        super().connect()


@breaks("I2M-ENV-13.message")
class PublishesThePassword(Connector):
    """A telemetry message carries the address of the broker, password included."""

    def publish_polled(self, device: Device) -> None:
        """Publish that too."""
        super().publish_polled(device)
        username, password = self.credentials()
        broker = f"mqtt://{username}:{password}@{self.environment.host}"
        self.publish(f"devices/{device.device_id}/telemetry", {"timestamp": self.timestamp(), "broker": broker})


@breaks("I2M-ENV-13.secret")
class PrintsSecrets(Connector):
    """It prints the secrets of the instance when it reads them."""

    @classmethod
    def secrets(cls, file: Path) -> Mapping[str, str]:
        """Return and print them."""
        found = super().secrets(file)
        print("secrets:", dict(found))
        return found


@breaks("I2M-ENV-14")
class EnvironmentBeatsSecrets(Connector):
    """The broker's credentials of the environment win over those in the file."""

    @classmethod
    def variables(cls) -> Mapping[str, str]:
        """Return them the wrong way round."""
        return {**cls.credentials_in_file(), **env_file(folder() / ".env"), **os.environ}


@breaks("I2M-ENV-14.no_file")
class NoSecrets(Connector):
    """It does not read the secrets of the instance."""

    @classmethod
    def secrets(cls, _file: Path) -> Mapping[str, str]:
        """Return none."""
        return {}


@breaks("I2M-ENV-14.references")
class NoReferences(Connector):
    """It merges secrets, but a text that refers to one stays as it is."""

    @classmethod
    def secrets(cls, file: Path) -> Mapping[str, str]:
        """Return those that nothing refers to."""
        text = file.read_text(encoding="utf-8")
        return {key: value for key, value in super().secrets(file).items() if f"${{secret:{key}}}" not in text}


@breaks("I2M-ENV-14.merged")
class ReferencesOnly(Connector):
    """A secret that nothing refers to is left out."""

    @classmethod
    def secrets(cls, file: Path) -> Mapping[str, str]:
        """Return those that something refers to."""
        text = file.read_text(encoding="utf-8")
        return {key: value for key, value in super().secrets(file).items() if f"${{secret:{key}}}" in text}


@breaks("I2M-ENV-16")
class TrustsEverybody(Connector):
    """It speaks TLS with whoever answers."""

    def tls_context(self, tls: Tls) -> ssl.SSLContext:
        """Switch verification off."""
        context = super().tls_context(tls)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context


@breaks("I2M-ENV-16.anonymous")
class NoCertificate(Connector):
    """It does not present its own certificate."""

    def tls_context(self, tls: Tls) -> ssl.SSLContext:
        """Leave it out."""
        return super().tls_context(replace(tls, certfile=None, keyfile=None))


@breaks("I2M-ENV-16.system")
class SystemsAuthorities(Connector):
    """It knows the authorities of the system only, and so refuses the right broker too."""

    def tls_context(self, tls: Tls) -> ssl.SSLContext:
        """Leave MQTT_CA_CERTS out."""
        return super().tls_context(replace(tls, ca_certs=None))


@breaks("I2M-ENV-16.plain")
class NoTls(Connector):
    """It does not know TLS."""

    @classmethod
    def variables(cls) -> Mapping[str, str]:
        """Return the environment without it."""
        return {**super().variables(), "MQTT_TLS": "false"}
