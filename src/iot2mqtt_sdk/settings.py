"""Typed settings. The environment is read here and nowhere else.

Variables that the process environment lacks are read from ${IOT2MQTT_PATH:-/app}/.env (clause I2M-ENV-08).
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from iot2mqtt_sdk.errors import ConfigurationError

TLS_PORT = 8883
_TLS_FILES = ("MQTT_CA_CERTS", "MQTT_CERTFILE", "MQTT_KEYFILE")
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_TRUE, _FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says.

    Attributes:
        instance_name: INSTANCE_NAME.
        connector_type: CONNECTOR_TYPE.
        path: IOT2MQTT_PATH: the folder of instances/, shared/ and .env.
        secrets_dir: IOT2MQTT_SECRETS_DIR.
        host: MQTT_HOST.
        port: MQTT_PORT.
        username: MQTT_USERNAME; None where unset or empty (clause I2M-ENV-03).
        password: MQTT_PASSWORD; likewise.
        base_topic: MQTT_BASE_TOPIC.
        client_prefix: MQTT_CLIENT_PREFIX.
        qos: MQTT_QOS, of state (clause I2M-ENV-06).
        retain: MQTT_RETAIN, of state (clause I2M-ENV-07).
        keepalive: MQTT_KEEPALIVE, in seconds.
        tls: MQTT_TLS, or port 8883 (clause I2M-ENV-16), or a file for TLS is named.
        ca_certs: MQTT_CA_CERTS; None means the system's.
        certfile: MQTT_CERTFILE, the client's certificate.
        keyfile: MQTT_KEYFILE, its key.
        version: MQTT_VERSION: 3.1.1 or 5.
        mode: MODE: production or development.
        log_level: LOG_LEVEL as it was given (clause I2M-ENV-12).
        homeassistant_discovery: HOMEASSISTANT_DISCOVERY.
        homeassistant_prefix: HOMEASSISTANT_PREFIX: what its topics begin with.
        metrics_host: METRICS_HOST.
        metrics_port: METRICS_PORT; None means that there is no Prometheus endpoint.
    """

    instance_name: str | None = None
    connector_type: str = "connector"
    path: Path = Path("/app")
    secrets_dir: Path = Path("/run/secrets")
    host: str = "localhost"
    port: int = 1883
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    base_topic: str = "IoT2mqtt"
    client_prefix: str = "iot2mqtt"
    qos: int = 1
    retain: bool = True
    keepalive: int = 60
    tls: bool = False
    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    version: str = "3.1.1"
    mode: str = "production"
    log_level: str = "INFO"
    homeassistant_discovery: bool = False
    homeassistant_prefix: str = "homeassistant"
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Args:
        environment: The process environment by default.

    Raises:
        ConfigurationError: A variable has a value that it cannot have.
    """
    process = os.environ if environment is None else environment
    path = Path(process.get("IOT2MQTT_PATH") or "/app")
    values = {**_env_file(path / ".env"), **process}
    for name in ("INSTANCE_NAME", "CONNECTOR_TYPE", *(name for name in values if name.startswith("MQTT_"))):
        _check_text(name, values.get(name, ""))
    text = _Reader(values)
    port = text.number("MQTT_PORT", 1883, 1, 65535)
    return Settings(
        instance_name=values.get("INSTANCE_NAME") or None,
        connector_type=values.get("CONNECTOR_TYPE") or "connector",
        path=path,
        secrets_dir=Path(values.get("IOT2MQTT_SECRETS_DIR") or "/run/secrets"),
        host=values.get("MQTT_HOST") or "localhost",
        port=port,
        username=values.get("MQTT_USERNAME") or None,
        password=values.get("MQTT_PASSWORD") or None,
        base_topic=values.get("MQTT_BASE_TOPIC") or "IoT2mqtt",
        client_prefix=values.get("MQTT_CLIENT_PREFIX") or "iot2mqtt",
        qos=text.number("MQTT_QOS", 1, 0, 2),
        retain=text.flag("MQTT_RETAIN", default=True),
        keepalive=text.number("MQTT_KEEPALIVE", 60, 1, 65535),
        tls=_tls(text, values, port),
        ca_certs=values.get("MQTT_CA_CERTS") or None,
        certfile=values.get("MQTT_CERTFILE") or None,
        keyfile=values.get("MQTT_KEYFILE") or None,
        version=text.choice("MQTT_VERSION", ("3.1.1", "5"), "3.1.1"),
        mode=text.choice("MODE", ("production", "development"), "production"),
        log_level=values.get("LOG_LEVEL") or "INFO",
        homeassistant_discovery=text.flag("HOMEASSISTANT_DISCOVERY", default=False),
        homeassistant_prefix=values.get("HOMEASSISTANT_PREFIX") or "homeassistant",
        metrics_host=values.get("METRICS_HOST") or "127.0.0.1",
        metrics_port=text.number("METRICS_PORT", 0, 1, 65535) or None,
    )


def _tls(text: "_Reader", values: Mapping[str, str], port: int) -> bool:
    """Whoever names a file for TLS wants TLS: without it, his password would go over the wire in clear."""
    named = [name for name in _TLS_FILES if values.get(name)]
    tls = text.flag("MQTT_TLS", default=port == TLS_PORT or bool(named))
    if named and not tls:
        raise ConfigurationError(f"{named[0]} would be of no use with MQTT_TLS=false: unset either")
    if values.get("MQTT_KEYFILE") and not values.get("MQTT_CERTFILE"):
        raise ConfigurationError("MQTT_KEYFILE is the key of a certificate: set MQTT_CERTFILE as well")
    return tls


def _env_file(file: Path) -> dict[str, str]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigurationError(f"the file {file} cannot be read: {reason}") from None
    from dotenv import dotenv_values

    found = dotenv_values(stream=StringIO(text), interpolate=False)
    return {name: value for name, value in found.items() if value is not None}


def _check_text(name: str, value: str) -> None:
    """MQTT carries UTF-8 without control characters; the environment may hold any bytes."""
    if _NO_TEXT.search(value):
        raise ConfigurationError(f"{name} must be a UTF-8 text without control characters")


class _Reader:
    """Reads variables that are more than text, naming the variable in every error."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def number(self, name: str, default: int, least: int, most: int) -> int:
        text = self._values.get(name, "").strip()
        if not text:
            return default
        if not re.fullmatch(r"\d{1,9}", text) or not least <= int(text) <= most:
            raise ConfigurationError(f"{name}={text!r} must be a number from {least} to {most}")
        return int(text)

    def flag(self, name: str, *, default: bool) -> bool:
        text = self._values.get(name, "").strip().lower()
        if text and text not in _TRUE | _FALSE:
            raise ConfigurationError(f"{name}={text!r} must be true or false")
        return text in _TRUE if text else default

    def choice(self, name: str, known: tuple[str, ...], default: str) -> str:
        text = self._values.get(name, "").strip() or default
        if text not in known:
            raise ConfigurationError(f"{name}={text!r} must be one of {', '.join(known)}")
        return text
