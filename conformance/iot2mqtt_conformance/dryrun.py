"""Walks a flow of a setup.json with the declared answers, as far as the instance that it yields.

What the answers do not tell, such as the result of a tool that is not declared, is taken to be of a type that fits.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from iot2mqtt_conformance.setupfile import PLACEHOLDER, output_of, schema_faults, split

UNKNOWN = object()
"""What the declared answers do not tell."""
SAMPLE = "sample"
SAMPLES: Mapping[str, Any] = {
    "update_interval": 10,
    "enabled": True,
    "config": {},
    "devices": [{"device_id": SAMPLE}],
    "groups": [],
    "secrets": {},
}
"""What stands for the unknown at keys that take no text."""
TYPED: Mapping[str, Any] = {"number": 1, "checkbox": False, "ip": "127.0.0.1", "url": "http://127.0.0.1/"}
"""What is entered into a field without a default."""
OPTIONAL = ("friendly_name", "connector_type", "update_interval", "enabled", "config", "devices", "secrets")
"""Keys that are left out where their template yields nothing."""


@dataclass(slots=True)
class DryRun:
    """One flow, walked.

    Attributes:
        flow: The flow.
        inputs: By tool, inputs that are declared as good.
        results: By tool, the answer to them.
    """

    flow: Mapping[str, Any]
    inputs: Mapping[str, Mapping[str, Any]]
    results: Mapping[str, Mapping[str, Any]]
    context: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"form": {}, "tools": {}, "selection": {}, "oauth": {}}
    )

    def faults(self) -> Iterator[str]:
        """Yield why the flow does not yield a valid instance configuration."""
        for step in self.flow["steps"]:
            where = f"flow {self.flow['id']}, step {step['id']}"
            if step["type"] == "form":
                self.context["form"][step["id"]] = {
                    item["name"]: self._entered(step["id"], item) for item in step["schema"]["fields"]
                }
            elif step["type"] == "tool":
                self.context["tools"][output_of(step)] = self.results.get(step["tool"], UNKNOWN)
            elif step["type"] == "select":
                items = self._resolved(step["items"])
                if items is not UNKNOWN and not isinstance(items, list):
                    yield f"{where}: {step['items']} is no list, but {items!r}"
                self.context["selection"][output_of(step)] = self._chosen(step, items)
            elif step["type"] == "instance":
                yield from (f"{where}: {fault}" for fault in instance_faults(self._instance(step["instance"])))

    def _entered(self, form: str, item: Mapping[str, Any]) -> Any:
        """Return what is entered: the declared input of the tool that takes the field, or else what it offers."""
        for step in self.flow["steps"]:
            for name, template in (step.get("input") or {}).items() if step["type"] == "tool" else ():
                declared = self.inputs.get(step["tool"], {})
                if _sole(template) == f"form.{form}.{item['name']}" and name in declared:
                    return declared[name]
        default = self._resolved(item.get("default"))
        if default not in (None, "", UNKNOWN):
            return default
        if item["type"] == "select":
            return item["options"][0]["value"]
        least = item.get("min")
        return TYPED.get(item["type"], SAMPLE) if least is None else least

    def _chosen(self, step: Mapping[str, Any], items: Any) -> Any:
        first = items[0] if isinstance(items, list) and items else UNKNOWN
        if first is not UNKNOWN and step.get("item_value") is not None:
            first = self._resolved(step["item_value"], item=first)
        return [first] if step.get("multi_select") and first is not UNKNOWN else first

    def _instance(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        found = {key: self._known(key, self._resolved(value)) for key, value in payload.items()}
        return {key: value for key, value in found.items() if key not in OPTIONAL or value not in ("", None)}

    def _known(self, key: str, value: Any) -> Any:
        """Put samples in the place of what is not known."""
        if value is UNKNOWN:
            return SAMPLES.get(key, SAMPLE)
        if isinstance(value, dict):
            return {name: self._known(name, item) for name, item in value.items()}
        if isinstance(value, list):
            return [{"device_id": SAMPLE} if item is UNKNOWN else self._known(key, item) for item in value]
        return value

    def _resolved(self, value: Any, **more: Any) -> Any:
        if isinstance(value, list):
            return [self._resolved(item, **more) for item in value]
        if isinstance(value, dict):
            return {key: self._resolved(item, **more) for key, item in value.items()}
        if not isinstance(value, str):
            return value
        context = {**self.context, **more}
        alone = _sole(value)
        if alone is not None:
            found = _looked_up(context, alone)
            return "" if found is None else found
        return PLACEHOLDER.sub(lambda match: _text(_looked_up(context, match[1])), value)


def _sole(template: Any) -> str | None:
    alone = PLACEHOLDER.fullmatch(template) if isinstance(template, str) else None
    return ".".join(split(alone[1])) if alone else None


def _looked_up(context: Mapping[str, Any], path: str) -> Any:
    found: Any = context
    for number, segment in enumerate(split(path)):
        if found is UNKNOWN or (number == 0 and segment not in context):
            return UNKNOWN
        if isinstance(found, Mapping):
            found = found.get(segment)
        elif isinstance(found, list) and segment.isdecimal() and int(segment) < len(found):
            found = found[int(segment)]
        else:
            return None
    return found


def _text(value: Any) -> str:
    return SAMPLE if value is UNKNOWN else "" if value is None else str(value)


def instance_faults(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield why a document is no instance configuration, once secrets are kept apart and lists are flat."""
    plain = {key: value for key, value in document.items() if key != "secrets"}
    if plain.get("instance_id") == "" and plain.get("friendly_name"):
        del plain["instance_id"]
    devices = plain.get("devices")
    if isinstance(devices, list):
        plain["devices"] = [_with_id(device) for device in _flat(devices)]
    faults = schema_faults("instance", plain)
    yield from (f"the instance would not be valid: {fault}" for fault in faults)
    ids = [device["device_id"] for device in plain.get("devices", [])] if not faults else []
    if len(ids) > len(set(ids)):
        yield "the instance would have two devices of one id"


def _flat(devices: Sequence[Any]) -> Iterator[Any]:
    for device in devices:
        if isinstance(device, list):
            yield from _flat(device)
        else:
            yield device


def _with_id(device: Any) -> Any:
    """Give a device without an id one of its name, as a host does."""
    if not isinstance(device, dict) or device.get("device_id"):
        return device
    name = device.get("friendly_name") or device.get("name")
    return {**device, "device_id": name} if name else device
