"""The instance configuration from disk (clauses I2M-ENV-09, I2M-ENV-10, I2M-ENV-14)."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iot2mqtt_sdk.contract.topics import check_level
from iot2mqtt_sdk.errors import ConfigurationError
from iot2mqtt_sdk.jsontext import decode

DEFAULT_INTERVAL = 10.0


def load(file: Path) -> dict[str, Any]:
    """Read an instance file.

    Raises:
        ConfigurationError: It is missing or malformed; the message names the file and the fault.
    """
    try:
        document = decode(file.read_bytes())
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
        name = check_level(entry.get(key), f"{place}.{key}")
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


def _interval_fault(interval: Any) -> str | None:
    if interval is None:
        return None
    if isinstance(interval, bool) or not isinstance(interval, int | float) or not interval > 0 or math.isinf(interval):
        return "update_interval must be a number of seconds above 0"
    return None


def secrets(file: Path) -> dict[str, str]:
    """Read the KEY=VALUE lines of a secrets file; empty where there is none.

    Raises:
        ConfigurationError: It cannot be read.
    """
    if not file.exists():
        return {}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the secrets file {file} cannot be read: {error}") from None
    pairs = (line.partition("=") for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}
