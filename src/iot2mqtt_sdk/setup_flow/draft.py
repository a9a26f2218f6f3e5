"""Makes the instance document of what a flow has collected (clauses I2M-FILE-02 and I2M-ENV-09)."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import JsonValue

from iot2mqtt_sdk.contract.instance import InstanceConfig
from iot2mqtt_sdk.contract.manifest import ID_PATTERN
from iot2mqtt_sdk.contract.setup import InstancePayload
from iot2mqtt_sdk.contract.templating import Secret, resolve
from iot2mqtt_sdk.setup_flow.errors import SetupError
from iot2mqtt_sdk.setup_flow.hiding import take_secrets
from iot2mqtt_sdk.setup_flow.names import device_id, instance_id

_OPTIONAL: Final = ("friendly_name", "connector_type", "update_interval", "enabled", "config", "secrets")
"""Keys that are left out where their template yields nothing, so that readers take their defaults."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An instance that is ready to be written.

    Attributes:
        instance_id: Its id.
        connector: The connector it belongs to.
        document: Its file, with references for secrets.
        secrets: The secrets by key.
        notes: What was changed on the way, for the user.
    """

    instance_id: str
    connector: str
    document: dict[str, JsonValue]
    secrets: dict[str, str]
    notes: tuple[str, ...]


def make(
    payload: InstancePayload,
    context: Mapping[str, JsonValue],
    devices: Sequence[Mapping[str, JsonValue]],
    *,
    connector: str,
    secret_names: Collection[str],
) -> Draft:
    """Return the instance that an instance step describes.

    Args:
        payload: The step's instance.
        context: The namespaces for its templates.
        devices: The devices, as `collect_devices` returns them.
        connector: The connector, where the payload names none.
        secret_names: Keys whose values are secrets, wherever they stand.

    Raises:
        SetupError: It would be no valid instance configuration.
    """
    parts = payload.model_dump(mode="json", exclude_unset=True, exclude={"devices"})
    document: dict[str, Any] = {key: resolve(part, context) for key, part in parts.items()}
    for key in _OPTIONAL:
        if document.get(key) in ("", None):
            document.pop(key, None)
    given = document["instance_id"]
    document["instance_id"] = instance_id(given, document.get("friendly_name"))
    document.setdefault("connector_type", connector)
    document["devices"] = [dict(device) for device in devices]
    _move_secrets(document)
    notes = (_note("instance_id", given, document["instance_id"]),) if given else ()
    plain, secrets = take_secrets(document, secret_names)
    _check(plain)
    return Draft(
        instance_id=document["instance_id"],
        connector=str(document["connector_type"]),
        document=plain,
        secrets=secrets,
        notes=tuple(filter(None, notes)),
    )


def collect_devices(
    payload: InstancePayload, context: Mapping[str, JsonValue], forms: Mapping[str, JsonValue]
) -> list[dict[str, JsonValue]]:
    """Return the devices that an instance step describes, each with an id that can stand in a topic.

    Args:
        payload: The step's instance.
        context: The namespaces for its templates.
        forms: The fields that make a device where the step describes none; empty where there is no loop.

    Raises:
        SetupError: A device is none, or has no id.
    """
    described = resolve(payload.model_dump(mode="json", include={"devices"})["devices"], context)
    entries = _flat(described)
    if not entries and forms:
        entries = [{key: value for key, value in forms.items() if value is not None}]
    return [_device(entry, f"devices[{number}]") for number, entry in enumerate(entries)]


def repeated(devices: Sequence[Mapping[str, JsonValue]]) -> str | None:
    """Return a device_id that two devices share, None where each has its own."""
    seen: set[JsonValue] = set()
    for device in devices:
        if device["device_id"] in seen:
            return str(device["device_id"])
        seen.add(device["device_id"])
    return None


def _flat(described: JsonValue) -> list[JsonValue]:
    """Return the entries of a list, of lists in it, and nothing for templates that yield nothing."""
    if described in ("", None):
        return []
    if not isinstance(described, list):
        return [described]
    return [entry for item in described for entry in _flat(item)]


def _device(entry: JsonValue, where: str) -> dict[str, JsonValue]:
    if not isinstance(entry, dict):
        raise SetupError(f"{where} must be an object, and is {entry!r}; mend the instance step's devices")
    name = entry.get("friendly_name") or entry.get("name")
    found = device_id(entry.get("device_id"), name, f"{where}.device_id")
    given = entry.get("device_id")
    if given and given != found and not entry.get("friendly_name"):
        # What people called the device is not lost with the id that cannot hold it.
        return {**entry, "device_id": found, "friendly_name": str(given)}
    return {**entry, "device_id": found}


def _move_secrets(document: dict[str, Any]) -> None:
    """Put the values of `secrets` where readers find them: they merge the secrets file into `connection`."""
    secrets = document.pop("secrets", None)
    if not secrets:
        return
    connection = document.get("connection") or {}
    if not isinstance(secrets, dict) or not isinstance(connection, dict):
        raise SetupError("secrets and connection of an instance must be objects; mend the instance step")
    document["connection"] = {**connection, **{key: _hidden(item) for key, item in secrets.items()}}


def _hidden(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: _hidden(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_hidden(item) for item in value]
    return value if value is None or isinstance(value, bool) else Secret(value)


def _note(where: str, given: JsonValue, found: str) -> str | None:
    return f"{where} {given!r} became {found!r}" if given not in (found, "auto") else None


def _check(document: dict[str, JsonValue]) -> None:
    connector = document["connector_type"]
    if not isinstance(connector, str) or not re.match(ID_PATTERN, connector):
        raise SetupError(f"connector_type {connector!r} names no folder; use letters, digits, _ and -")
    try:
        InstanceConfig.from_document(document)
    except ValueError as error:
        raise SetupError(f"the flow yields no valid instance: {error}; mend the instance step") from None
