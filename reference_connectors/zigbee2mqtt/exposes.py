"""What a Zigbee device exposes, as Zigbee2MQTT describes it, and how its values are said on either side.

On the contract's side a value is what JSON has a type for: `true` for ON or LOCK, a number, a text, or an object of
parts where it is composite, such as a colour. Names stay those of Zigbee2MQTT.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from iot2mqtt_sdk import CommandError, ConfigurationError, Property

STATE, SET, GET = 1, 2, 4
"""The bits of `access`: what is published, can be set, and can be asked for."""
EVENTS = {"action"}
"""Properties that tell of a moment: they become events, and no part of the state."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One property of a device.

    Attributes:
        name: The property.
        access: STATE, SET and GET, as far as they apply.
        described: How the SDK checks its values; None for those of an enum, a list or a composite.
        on: What Zigbee2MQTT says for true, of a binary.
        off: What it says for false.
        values: All values of an enum.
        parts: The features of a composite, by name.
    """

    name: str
    access: int
    described: Property | None = None
    on: Any = None
    off: Any = None
    values: tuple[Any, ...] = ()
    parts: Mapping[str, "Feature"] | None = None

    def to_contract(self, value: Any) -> Any:
        """Return a value of Zigbee2MQTT as the contract says it; None where it is unknown."""
        if self.on is not None:
            return None if value not in (self.on, self.off) else value == self.on
        if self.parts is not None and isinstance(value, dict):
            return {name: self.parts[name].to_contract(part) for name, part in value.items() if name in self.parts}
        return value

    def to_zigbee(self, value: Any) -> Any:
        """Return a commanded value as Zigbee2MQTT takes it.

        Raises:
            CommandError: It cannot be set, or not to that.
        """
        if not self.access & SET:
            raise CommandError("unsupported_property", f"{self.name!r} cannot be set: it is only read")
        if self.parts is not None:
            return self._parts_to_zigbee(self.parts, value)
        if self.values and not any(value == known and type(value) is type(known) for known in self.values):
            raise CommandError("invalid_value", f"{self.name!r} must be one of {', '.join(map(str, self.values))}")
        if self.described is not None:
            value = self.described.checked(self.name, value)
        if self.on is not None:
            return self.on if value else self.off
        return value

    def question(self) -> Any:
        """Return what asks for it in a message to `…/get`."""
        return "" if self.parts is None else {name: part.question() for name, part in self.parts.items()}

    def _parts_to_zigbee(self, parts: Mapping[str, "Feature"], value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or not value:
            raise CommandError("invalid_value", f"{self.name!r} must be an object of {', '.join(parts)}")
        unknown = next((name for name in value if name not in parts), None)
        if unknown is not None:
            raise CommandError("invalid_value", f"{self.name!r} has no part {unknown!r}; there are {', '.join(parts)}")
        return {name: parts[name].to_zigbee(part) for name, part in value.items()}


def features(exposes: Any) -> dict[str, Feature]:
    """Return the properties of a device by name; what is not understood is left out."""
    found: dict[str, Feature] = {}
    for feature in _read(exposes):
        known = found.get(feature.name)
        found[feature.name] = feature if known is None else _joined(known, feature)
    return found


def _joined(one: Feature, other: Feature) -> Feature:
    """Join what is exposed twice: a lamp says `color` as x and y, and again as hue and saturation."""
    if one.parts is None or other.parts is None:
        return other
    return replace(one, access=one.access | other.access, parts={**one.parts, **other.parts})


def _read(exposes: Any) -> Iterator[Feature]:
    for entry in exposes if isinstance(exposes, list) else ():
        if not isinstance(entry, dict):
            continue
        name = entry.get("property")
        if isinstance(name, str) and name:
            yield _feature(name, entry)
        else:
            # A light or a switch: what counts are its features.
            yield from _read(entry.get("features"))


def _feature(name: str, entry: Mapping[str, Any]) -> Feature:
    access = entry["access"] if type(entry.get("access")) is int else STATE
    writable = bool(access & SET)
    kind = entry.get("type")
    if kind == "composite":
        parts = features(entry.get("features"))
        for part in parts.values():
            access |= part.access
        return Feature(name, access, parts=parts)
    if kind == "binary" and "value_on" in entry and "value_off" in entry:
        described = Property(bool, writable=writable)
        return Feature(name, access, described, on=entry["value_on"], off=entry["value_off"])
    if kind == "enum" and isinstance(entry.get("values"), list):
        return Feature(name, access, values=tuple(entry["values"]))
    if kind == "numeric":
        return Feature(name, access, _number(entry, writable=writable))
    return Feature(name, access, Property(str, writable=writable) if kind == "text" else None)


def _number(entry: Mapping[str, Any], *, writable: bool) -> Property:
    try:
        return Property(float, writable, entry.get("value_min"), entry.get("value_max"))
    except ConfigurationError:
        return Property(float, writable=writable)
