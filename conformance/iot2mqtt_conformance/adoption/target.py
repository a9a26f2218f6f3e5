"""The broker of a connector that runs already, as its URL names it."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiomqtt

from iot2mqtt_conformance.services.base import Broker, ServiceError

PORTS = {"mqtt": 1883, "mqtts": 8883}
EXAMPLE = "mqtt://user:password@host:1883"


class TargetError(Exception):
    """The URL names no broker; the message says what is wrong, without the credentials in it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A broker, and how to speak with it.

    Attributes:
        host: Its name or address.
        port: Its port.
        username: The user; None for nobody.
        password: The password.
        tls: How its certificate is verified; None without TLS.
    """

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Return the URL without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    @property
    def options(self) -> dict[str, Any]:
        """What a client is given beside host and port: retained flags are told by MQTT 5 only."""
        return {
            "username": self.username,
            "password": self.password,
            "tls_context": self.tls,
            "protocol": aiomqtt.ProtocolVersion.V5,
        }


def parse_target(url: str, ca: str | None = None) -> Target:
    """Return the broker that a URL names.

    Args:
        url: Such as `mqtts://user:password@host:8883`.
        ca: A file of certificates that are trusted instead of the system's.

    Raises:
        TargetError: It names none, or the file cannot be read.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise TargetError(f"the URL of the broker has no valid host and port: write it as {EXAMPLE}") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise TargetError(f"the URL of the broker must begin with mqtt:// or mqtts:// and name a host: {EXAMPLE}")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise TargetError(
            "the URL of the broker has more than a host and a port; a / ? or # of a password is written as %2F %3F %23"
        )
    if ca is not None and parts.scheme != "mqtts":
        raise TargetError("--iot2mqtt-ca is for mqtts:// only: write the URL of the broker so")
    return Target(
        host=parts.hostname,
        port=port or PORTS[parts.scheme],
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        tls=_context(ca) if parts.scheme == "mqtts" else None,
    )


def _context(ca: str | None) -> ssl.SSLContext:
    if ca is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=Path(ca))
    except OSError as error:
        raise TargetError(f"--iot2mqtt-ca: {ca} holds no certificates that can be read: {error.strerror}") from None


class TheirBroker(Broker):
    """The broker of a running connector: neither started nor stopped here."""

    def __init__(self, target: Target) -> None:
        super().__init__(f"of the connector, {target}", [], port=target.port)
        self.host = target.host
        self._target = target

    async def start(self) -> None:
        """Make sure that it is there, and speaks MQTT 5.

        Raises:
            ServiceError: It is not, or it does not let us in.
        """
        try:
            async with aiomqtt.Client(self._target.host, self._target.port, **self._target.options):
                pass
        except (aiomqtt.MqttError, OSError) as error:
            raise ServiceError(
                f"the broker {self._target} cannot be used: {error}; it must be there, let the user of the URL in, and"
                " speak MQTT 5"
            ) from None

    async def stop(self) -> None:
        """Leave it alone."""
