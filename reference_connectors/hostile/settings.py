"""What the connector is told: environment variables, .env and the instance configuration."""

import json
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from devices import Device

NOT_IN_A_NAME = re.compile(r"[/+#\x00-\x1f\x7f-\x9f]")
REFERENCE = re.compile(r"\$\{secret:(\w+)\}")
HIGHEST_QOS = 2
TLS_PORT = "8883"

T = TypeVar("T")


class SettingsError(Exception):
    """What the connector was told cannot be used; the message says what, where, and what to do."""


def is_name(value: object) -> bool:
    """Whether a value can be one level of a topic (I2M-PUB-04)."""
    return isinstance(value, str) and value != "" and NOT_IN_A_NAME.search(value) is None


def folder() -> Path:
    """Return the folder that holds instances/ and .env."""
    return Path(os.environ.get("IOT2MQTT_PATH", "/app"))


def env_file(file: Path) -> dict[str, str]:
    """Return the KEY=VALUE lines of a .env file; none where it does not exist."""
    if not file.is_file():
        return {}
    lines = (line.strip().partition("=") for line in file.read_text(encoding="utf-8").splitlines())
    return {
        key.strip(): value.strip().strip("\"'") for key, equals, value in lines if equals and not key.startswith("#")
    }


def secret_lines(name: str) -> dict[str, str]:
    """Return the KEY=VALUE lines of a file in the folder of secrets; none where it does not exist (I2M-ENV-14)."""
    file = Path(os.environ.get("IOT2MQTT_SECRETS_DIR", "/run/secrets")) / name
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return {key.strip(): value for key, equals, value in (line.partition("=") for line in lines) if equals}


@dataclass(frozen=True, kw_only=True, slots=True)
class Tls:
    """How to speak TLS with the broker (I2M-ENV-16); None means the system's certificates, or none of our own."""

    ca_certs: str | None
    certfile: str | None
    keyfile: str | None

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Self | None:
        """Read the variables; None where no TLS is wanted."""
        if variables.get("MQTT_TLS", "").lower() != "true" and variables.get("MQTT_PORT") != TLS_PORT:
            return None
        names = ("MQTT_CA_CERTS", "MQTT_CERTFILE", "MQTT_KEYFILE")
        ca_certs, certfile, keyfile = (variables.get(name) or None for name in names)
        return cls(ca_certs=ca_certs, certfile=certfile, keyfile=keyfile)

    def context(self) -> ssl.SSLContext:
        """Return what verifies the broker and shows who we are.

        Raises:
            SettingsError: A file is missing or wrong.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_certs)
            if self.certfile is not None:
                context.load_cert_chain(self.certfile, self.keyfile)
        except (OSError, ValueError) as error:
            raise SettingsError(f"MQTT_CA_CERTS, MQTT_CERTFILE or MQTT_KEYFILE cannot be used: {error}") from None
        return context


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """The environment of I2M-ENV-01 to I2M-ENV-08; an empty user name or password is None."""

    instance_name: str
    connector_type: str
    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    base: str
    prefix: str
    qos: int
    retain: bool
    keepalive: int
    log_level: str
    tls: Tls | None

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Self:
        """Read the variables.

        Raises:
            SettingsError: One of them is missing or wrong.
        """
        if not is_name(variables.get("INSTANCE_NAME")):
            raise SettingsError("INSTANCE_NAME is not set to a name: give it the name of the instance to run")
        return cls(
            instance_name=variables["INSTANCE_NAME"],
            connector_type=variables.get("CONNECTOR_TYPE", "hostile"),
            host=variables.get("MQTT_HOST", "localhost"),
            port=_number(variables, "MQTT_PORT", 1883, 65_535),
            username=variables.get("MQTT_USERNAME") or None,
            password=variables.get("MQTT_PASSWORD") or None,
            base=variables.get("MQTT_BASE_TOPIC", "IoT2mqtt"),
            prefix=variables.get("MQTT_CLIENT_PREFIX", "iot2mqtt"),
            qos=_number(variables, "MQTT_QOS", 1, HIGHEST_QOS),
            retain=variables.get("MQTT_RETAIN", "true").lower() != "false",
            keepalive=_number(variables, "MQTT_KEEPALIVE", 60, 65_535),
            log_level=variables.get("LOG_LEVEL", "INFO"),
            tls=Tls.of(variables),
        )


def _number(variables: Mapping[str, str], name: str, default: int, highest: int) -> int:
    text = variables.get(name, str(default))
    if not text.isascii() or not text.isdigit() or int(text) > highest:
        raise SettingsError(f"{name} is {text!r}: set it to a number from 0 to {highest}")
    return int(text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """The instance configuration (I2M-ENV-09).

    Attributes:
        update_interval: Seconds between two polls.
        devices: All configured devices by id, the disabled ones too.
        groups: Device ids by group id, as configured: members may be disabled or unknown.
        port: Where stimulus.py can reach the lights, if anywhere.
        word: What the lights open to, as the configuration has it.
    """

    update_interval: float
    devices: dict[str, Device]
    groups: dict[str, list[str]]
    port: int | None = None
    word: str | None = None


def read_instance(file: Path, secrets: Mapping[str, str] | None = None) -> Instance:
    """Read an instance configuration.

    Args:
        file: Where it is.
        secrets: What belongs into it but stands elsewhere.

    Raises:
        SettingsError: It is missing or wrong; the message names the file and the fault (I2M-ENV-10).
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        return _instance(_with_secrets(document, secrets or {}))
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}; write the instance's configuration") from None
    except ValueError as error:
        raise SettingsError(f"{file} is no instance configuration: {error}; correct the file") from None


def _with_secrets(document: Any, secrets: Mapping[str, str]) -> Any:
    """Return a document with its references replaced, and with all other secrets in its connection (I2M-ENV-14)."""
    used = set(REFERENCE.findall(json.dumps(document)))
    filled = _filled(document, secrets)
    rest = {key: value for key, value in secrets.items() if key not in used}
    if rest and isinstance(filled, dict):
        filled["connection"] = {**filled.get("connection", {}), **rest}
    return filled


def _filled(value: Any, secrets: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, secrets) for item in value]
    found = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return secrets.get(found[1], value) if found else value


def _instance(document: Any) -> Instance:
    if not isinstance(document, dict):
        raise ValueError("it must be a JSON object")  # noqa: TRY004 - told as a fault of the file, like all others
    interval = document.get("update_interval", 10)
    if isinstance(interval, bool) or not isinstance(interval, int | float) or interval <= 0:
        raise ValueError("update_interval must be a number of seconds above 0")
    devices = _by_name(document, "devices", "device_id")
    groups = _by_name(document, "groups", "group_id")
    if not all(isinstance(group.get("devices"), list) for group in groups.values()):
        raise ValueError("each of the groups must have devices, a list of device ids")
    return Instance(
        update_interval=interval,
        devices={
            name: Device(
                name,
                model=str(entry.get("model", "light in memory")),
                enabled=entry.get("enabled") is not False,
                kept=entry.get("keeper") is True,
            )
            for name, entry in devices.items()
        },
        groups={name: [str(member) for member in entry["devices"]] for name, entry in groups.items()},
        port=_of_connection(document, "port", int),
        word=_of_connection(document, "word", str),
    )


def _of_connection(document: dict[str, Any], key: str, kind: type[T]) -> T | None:
    connection = document.get("connection")
    value = connection.get(key) if isinstance(connection, dict) else None
    return value if isinstance(value, kind) else None


def _by_name(document: dict[str, Any], section: str, key: str) -> dict[str, dict[str, Any]]:
    entries = document.get(section, [])
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and is_name(entry.get(key)) for entry in entries
    ):
        raise ValueError(f"{section} must be a list of objects, each with a {key} that is one topic level")
    found = {entry[key]: entry for entry in entries}
    if len(found) < len(entries):
        raise ValueError(f"two of the {section} share a {key}")
    return found
