"""What a device's properties are: type, range, unit, whether they can be set. Commands are checked by it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from iot2mqtt_sdk.contract.topics import check_level
from iot2mqtt_sdk.errors import CommandError, ConfigurationError

_TYPES: Final = {bool: "boolean", int: "integer", float: "number", str: "string"}
_NUMBERS: Final = ("integer", "number")
_SHORTEST_STEP: Final = 0.001


@dataclass(frozen=True, slots=True)
class Property:
    """One property of a device.

    Attributes:
        type: `bool`, `int`, `float` or `str`; in a file `boolean`, `integer`, `number` or `string`.
        writable: Whether commands may set it.
        minimum: The least value, of a number.
        maximum: The greatest value, of a number.
        step: How finely a number can be set, where somebody offers it to be set; 1 for integers and 0.1 for others by
            default.
        unit: The unit of a number, such as `%` or `°C`.
        options: The texts that there are, of a string; any where there are none.
        name: What people call it; made of the property's own name by default.
        device_class: What kind of quantity it is, as Home Assistant calls it, such as `temperature`.
        state_class: How a number is to be summed up over time, as Home Assistant calls it, such as `measurement`.

    Raises:
        ConfigurationError: The description contradicts itself.
    """

    type: Any
    writable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    unit: str | None = None
    options: tuple[str, ...] = ()
    name: str | None = None
    device_class: str | None = None
    state_class: str | None = None

    def __post_init__(self) -> None:
        kind = _TYPES.get(self.type, self.type) if isinstance(self.type, type) else self.type
        object.__setattr__(self, "type", kind)
        if isinstance(self.options, list):
            object.__setattr__(self, "options", tuple(self.options))
        fault = self._fault()
        if fault is not None:
            raise ConfigurationError(fault)

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers."""
        return self.type in _NUMBERS

    def checked(self, name: str, value: Any) -> Any:
        """Return a value as the hook is to be given it: an integer is no float.

        Args:
            name: The property's name, for the error.
            value: What a command wants it to be.

        Raises:
            CommandError: It cannot be that (clauses I2M-CMD-05, I2M-CMD-09).
        """
        if not self.writable:
            raise CommandError("unsupported_property", f"{name!r} cannot be set: it is only read")
        if not self._has_type(value):
            raise CommandError("invalid_value", f"{name!r} must be of the type {self.type}")
        if self.options and value not in self.options:
            raise CommandError("invalid_value", f"{name!r} must be one of {', '.join(self.options)}")
        if self.is_number and not self._is_in_range(value):
            raise CommandError("invalid_value", f"{name!r} must be {self._range()}")
        return int(value) if self.type == "integer" else value

    def _has_type(self, value: Any) -> bool:
        if self.type == "boolean":
            return isinstance(value, bool)
        if self.type == "string":
            return isinstance(value, str)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.type == "number" or value == int(value)

    def _is_in_range(self, value: float) -> bool:
        low = self.minimum is None or value >= self.minimum
        return low and (self.maximum is None or value <= self.maximum)

    def _range(self) -> str:
        if self.minimum is None:
            return f"at most {self.maximum}"
        return f"at least {self.minimum}" if self.maximum is None else f"from {self.minimum} to {self.maximum}"

    def _fault(self) -> str | None:
        if self.type not in _TYPES.values():
            return "type must be boolean, integer, number or string (in Python: bool, int, float or str)"
        if not isinstance(self.writable, bool):
            return "writable must be true or false"
        return self._number_fault() or self._text_fault()

    def _number_fault(self) -> str | None:
        limits = {"minimum": self.minimum, "maximum": self.maximum, "step": self.step}
        for key, limit in limits.items():
            if limit is None:
                continue
            if isinstance(limit, bool) or not isinstance(limit, int | float):
                return f"{key} must be a number"
            if not self.is_number:
                return f"{key} is for numbers, and the type is {self.type}"
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            return f"minimum {self.minimum} is above maximum {self.maximum}"
        if self.step is not None and self.step < _SHORTEST_STEP:
            return f"step must be at least {_SHORTEST_STEP}"
        return None

    def _text_fault(self) -> str | None:
        if not isinstance(self.options, tuple) or not all(
            isinstance(option, str) and option for option in self.options
        ):
            return "options must be a list of texts that are not empty"
        if self.options and self.type != "string":
            return f"options are for strings, and the type is {self.type}"
        for key in ("unit", "name", "device_class", "state_class"):
            if not isinstance(getattr(self, key), str | None):
                return f"{key} must be a text"
        return None


_KEYS: Final = tuple(field.name for field in fields(Property))


def described(entry: Mapping[str, Any], common: Mapping[str, Property], place: str) -> Mapping[str, Property]:
    """Return the properties of a device: those of its entry in the instance file, or else those of the class.

    Args:
        entry: The device's entry.
        common: What the connector's class says of all its devices.
        place: Where the entry stands, for the error.

    Raises:
        ConfigurationError: They are malformed; the message names the place and the fault.
    """
    document = entry.get("properties")
    if document is None:
        return common
    if not isinstance(document, Mapping):
        raise ConfigurationError(f"{place}.properties must be an object of property name to description")
    return {name: _read(name, body, f"{place}.properties.{name}") for name, body in document.items()}


def _read(name: str, body: Any, place: str) -> Property:
    if not isinstance(body, Mapping) or "type" not in body:
        raise ConfigurationError(f"{place} must be an object with a type: boolean, integer, number or string")
    unknown = next((key for key in body if key not in _KEYS), None)
    if unknown is not None:
        raise ConfigurationError(f"{place}.{unknown} is unknown; known are {', '.join(_KEYS)}")
    try:
        check_level(name, "the property's name")
        return Property(**body)
    except (ConfigurationError, ValueError) as error:
        raise ConfigurationError(f"{place} is malformed: {error}") from None


def checked(properties: Mapping[str, Property], values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a command's values as set_device_state is to be given them.

    Args:
        properties: The device's properties; where none are described, the hook itself judges the values.
        values: Wanted value by property name.

    Raises:
        CommandError: The device has no such property, or it cannot take the value (clauses I2M-CMD-05, I2M-CMD-09).
    """
    if not properties:
        return values
    unknown = next((name for name in values if name not in properties), None)
    if unknown is not None:
        known = ", ".join(name for name, described in properties.items() if described.writable) or "none"
        raise CommandError("unsupported_property", f"there is no property {unknown!r}; those that can be set: {known}")
    return {name: properties[name].checked(name, value) for name, value in values.items()}
