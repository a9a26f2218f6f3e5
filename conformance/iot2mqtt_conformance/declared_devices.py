"""The instance file of a declaration, and [[devices]]: what the suite may command."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Device:
    """A device that the suite may command."""

    id: str
    writable: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    rejects: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


def switch_of(device: Device) -> tuple[str, Any, Any] | None:
    """Return a writable property of a device with two different values of it."""
    for name, values in device.writable.items():
        other = next((value for value in values if value != values[0]), None)
        if other is not None:
            return name, values[0], other
    return None


def enabled(instance: Mapping[str, Any]) -> list[str]:
    """Return the ids of the devices that are not disabled in an instance configuration."""
    return [device["device_id"] for device in instance["devices"] if device.get("enabled", True)]


def read_instance(file: Path, fault: Callable[[str], Exception]) -> dict[str, Any]:
    """Return the instance configuration that the suite starts from.

    Args:
        file: The file.
        fault: Makes the error of a sentence.

    Raises:
        DeclarationError: It is missing, or has no device that could be judged.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise fault(f"[connector] instance: {file} does not exist") from None
    except OSError as error:
        raise fault(f"[connector] instance: {file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise fault(f"[connector] instance: {file} is not JSON: {error}") from None
    devices = document.get("devices") if isinstance(document, dict) else None
    ids = [d.get("device_id") if isinstance(d, dict) else None for d in devices] if isinstance(devices, list) else []
    if not ids or not all(isinstance(device_id, str) and device_id for device_id in ids):
        raise fault(f"[connector] instance: {file} must have `devices`, a list of objects with a `device_id`")
    if not any(device.get("enabled", True) for device in document["devices"]):
        raise fault(f"[connector] instance: {file} has no enabled device, so nothing could be judged")
    groups = document.get("groups", [])
    if not isinstance(groups, list) or not all(
        isinstance(group, dict) and isinstance(group.get("group_id"), str) for group in groups
    ):
        raise fault(f"[connector] instance: {file} must have no `groups`, or a list of objects with a `group_id`")
    return dict(document)


def read(
    tables: Iterable[Mapping[str, Any]], instance: Mapping[str, Any], fault: Callable[[str], Exception]
) -> tuple[Device, ...]:
    """Return the devices that the suite may command.

    Args:
        tables: The tables [[devices]], with known keys.
        instance: The instance configuration.
        fault: Makes the error of a sentence.

    Raises:
        DeclarationError: One of them is no enabled device.
    """
    found: dict[str, Device] = {}
    for entry in tables:
        name = entry.get("id")
        if name not in enabled(instance):
            raise fault(f"[[devices]] id `{name}` is not an enabled device of the instance file")
        if name in found:
            raise fault(f"[[devices]] id `{name}` stands there twice: put all that may be commanded below one")
        found[name] = Device(name, *(_values(key, entry, fault) for key in ("writable", "rejects")))
    return tuple(found.values())


def _values(key: str, entry: Mapping[str, Any], fault: Callable[[str], Exception]) -> dict[str, tuple[Any, ...]]:
    """Return the values of each property."""
    for name, options in entry.get(key, {}).items():
        if not isinstance(options, list) or not options:
            raise fault(f"[[devices]] {entry['id']}: {key} must have a list of values of {name}, and has {options!r}")
    return {name: tuple(options) for name, options in entry.get(key, {}).items()}
