"""The instance configuration from disk (clauses I2M-ENV-09, I2M-ENV-10, I2M-ENV-14)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from iot2mqtt_sdk.contract.references import fill_secrets
from iot2mqtt_sdk.contract.topics import check_level
from iot2mqtt_sdk.errors import ConfigurationError
from iot2mqtt_sdk.jsontext import parse
from iot2mqtt_sdk.settings import Settings

DEFAULT_INTERVAL = 10.0
LONGEST_INTERVAL = 31_536_000
"""Seconds between two polls at the most: a year."""
LONGEST_NAME = 1000
"""Bytes of a device or group id at the most: its topics must not grow longer than MQTT allows."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The configuration of one instance.

    Attributes:
        document: The instance file, with the secrets of its `connection` merged in.
        settings: The environment, with the broker's credentials from the secrets file.
        secrets: What must not be logged or published.
    """

    document: dict[str, Any]
    settings: Settings
    secrets: frozenset[str]


def locate(settings: Settings, config_path: str | None, instance_name: str | None) -> tuple[Path, str]:
    """Return the file and the name of the instance that is meant.

    Args:
        settings: The environment, which says what is not given.
        config_path: The instance file.
        instance_name: The instance.

    Raises:
        ConfigurationError: Nothing names the instance.
    """
    name = instance_name or settings.instance_name or (Path(config_path).stem if config_path else None)
    if name is None:
        raise ConfigurationError("the instance has no name: set INSTANCE_NAME, or pass instance_name")
    return Path(config_path) if config_path else settings.path / "instances" / f"{name}.json", name


def load(file: Path, settings: Settings, name: str) -> Loaded:
    """Read an instance file and its secrets (clauses I2M-ENV-09, I2M-ENV-14).

    Args:
        file: The instance file.
        settings: The environment, which says where the secrets are.
        name: The instance.

    Raises:
        ConfigurationError: A file is missing or malformed; the message names it and the fault.
    """
    document = read(file)
    creds_file = settings.secrets_dir / f"{name}_creds"
    credentials = secrets(creds_file)
    used: set[str] = set()
    try:
        document = fill_secrets(document, credentials, used)
    except ValueError as error:
        raise ConfigurationError(f"the instance configuration {file}: {error} in {creds_file}") from None
    # What a ${secret:KEY} has put where it belongs is not merged as well: connection is often a call's arguments.
    rest = {key: value for key, value in credentials.items() if key not in used}
    if rest:
        document["connection"] = {**document.get("connection", {}), **rest}
    broker = secrets(settings.secrets_dir / f"{name}_mqtt")
    merged = replace(
        settings,
        username=broker.get("username") or settings.username,
        password=broker.get("password") or settings.password,
    )
    return Loaded(document, merged, frozenset({*credentials.values(), *broker.values()}))


def read(file: Path) -> dict[str, Any]:
    """Read an instance file.

    Raises:
        ConfigurationError: It is missing or malformed; the message names the file and the fault.
    """
    try:
        document = parse(file.read_bytes(), "it")
    except OSError as error:
        raise ConfigurationError(f"the instance configuration {file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(f"the instance configuration {file} is malformed: {error}") from None
    fault = _fault(document)
    if fault is not None:
        raise ConfigurationError(f"the instance configuration {file} is malformed: {fault}")
    return dict(document)


def _fault(document: Any) -> str | None:
    if not isinstance(document, dict):
        return "it must be a JSON object"
    for section in ("connection", "config"):
        if not isinstance(document.get(section, {}), dict):
            return f"{section} must be an object"
    return (
        _entries_fault(document, "devices", "device_id")
        or _entries_fault(document, "groups", "group_id")
        or _interval_fault(document.get("update_interval"))
    )


def _entries_fault(document: Mapping[str, Any], section: str, key: str) -> str | None:
    entries = document.get(section, [])
    if not isinstance(entries, list):
        return f"{section} must be a list of objects, and is a {type(entries).__name__}"
    seen: set[str] = set()
    for number, entry in enumerate(entries):
        fault = _entry_fault(entry, f"{section}[{number}]", key, seen)
        if fault is not None:
            return fault
    return None


def _entry_fault(entry: Any, place: str, key: str, seen: set[str]) -> str | None:
    if not isinstance(entry, dict):
        return f"{place} must be an object"
    try:
        name = _checked_name(entry.get(key), f"{place}.{key}")
    except ValueError as error:
        return str(error)
    if name in seen:
        return f"{place}.{key} {name!r} stands there twice"
    seen.add(name)
    if not isinstance(entry.get("enabled", True), bool):
        return f"{place}.enabled must be true or false"
    if not isinstance(entry.get("devices", []), list):
        return f"{place}.devices must be a list"
    return None


def _checked_name(value: Any, place: str) -> str:
    name = check_level(value, place)
    raw = name.encode("utf-8", "replace")
    if len(raw) > LONGEST_NAME or raw.decode() != name:
        raise ValueError(f"{place} must be a UTF-8 text of at most {LONGEST_NAME} bytes")
    return name


def _interval_fault(interval: Any) -> str | None:
    if interval is None:
        return None
    if isinstance(interval, bool) or not isinstance(interval, int | float) or not 0 < interval <= LONGEST_INTERVAL:
        return f"update_interval must be a number of seconds above 0, and {LONGEST_INTERVAL} at the most"
    return None


def secrets(file: Path) -> dict[str, str]:
    """Read the KEY=VALUE lines of a secrets file; {} where there is no such file (clause I2M-ENV-14).

    Empty lines and lines that begin with `#` are left out. A value is taken as it stands, up to the end of its line.

    Raises:
        ConfigurationError: The file cannot be read, or a line is no KEY=VALUE; the line's text is not repeated.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigurationError(f"the secrets file {file} cannot be read: {reason}") from None
    pairs = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, separator, value = line.partition("=")
        if not separator or not key.strip():
            raise ConfigurationError(f"line {number} of the secrets file {file} must be KEY=VALUE")
        pairs[key.strip()] = value.strip()
    return pairs
