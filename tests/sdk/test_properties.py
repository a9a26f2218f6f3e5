"""What a description of properties refuses, in commands and in itself."""

from typing import Any

import pytest

from iot2mqtt_sdk.errors import CommandError, ConfigurationError
from iot2mqtt_sdk.properties import Property, checked, described

LAMP = {
    "power": Property(bool, writable=True),
    "brightness": Property(int, writable=True, minimum=0, maximum=100, unit="%"),
    "target": Property(float, writable=True, minimum=5.5),
    "mode": Property(str, writable=True, options=("cosy", "bright")),
    "label": Property(str, writable=True),
    "temperature": Property(float, unit="°C"),
}


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("colour", "red", "unsupported_property"),
        ("temperature", 20.0, "unsupported_property"),
        ("power", 1, "invalid_value"),
        ("power", "true", "invalid_value"),
        ("power", None, "invalid_value"),
        ("brightness", True, "invalid_value"),
        ("brightness", "80", "invalid_value"),
        ("brightness", 10.5, "invalid_value"),
        ("brightness", -1, "invalid_value"),
        ("brightness", 101, "invalid_value"),
        ("target", 5, "invalid_value"),
        ("mode", "dark", "invalid_value"),
        ("label", 5, "invalid_value"),
        ("label", ["x"], "invalid_value"),
    ],
)
def test_what_a_device_cannot_take_is_refused_and_named(name: str, value: Any, code: str) -> None:
    with pytest.raises(CommandError, match=name) as refused:
        checked(LAMP, {"power": True, name: value})
    assert refused.value.code == code
    assert not refused.value.retriable


def test_what_it_can_take_is_passed_on() -> None:
    values = {"power": False, "brightness": 100, "target": 5.5, "mode": "cosy", "label": ""}
    assert checked(LAMP, values) == values


def test_an_integer_that_is_written_as_a_float_reaches_the_hook_as_an_integer() -> None:
    assert isinstance(checked(LAMP, {"brightness": 80.0})["brightness"], int)


def test_a_device_without_description_takes_what_its_hook_takes() -> None:
    assert checked({}, {"anything": [1]}) == {"anything": [1]}


def test_the_instance_file_describes_a_device_instead_of_its_class() -> None:
    entry = {"properties": {"open": {"type": "boolean", "device_class": "door"}}}
    assert described(entry, LAMP, "devices[0]") == {"open": Property(bool, device_class="door")}
    assert described({}, LAMP, "devices[0]") == LAMP


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        (["power"], r"devices\[0\]\.properties must be an object"),
        ({"power": True}, r"devices\[0\]\.properties\.power must be an object with a type"),
        ({"power": {}}, "with a type"),
        ({"power": {"type": "bool"}}, "power is malformed: type must be boolean, integer, number or string"),
        ({"power": {"type": []}}, "power is malformed: type must be"),
        ({"power": {"type": "boolean", "writeable": True}}, r"power\.writeable is unknown; known are type, writable"),
        ({"power": {"type": "boolean", "writable": "yes"}}, "writable must be true or false"),
        ({"power": {"type": "boolean", "minimum": 0}}, "minimum is for numbers"),
        ({"level": {"type": "number", "minimum": "0"}}, "minimum must be a number"),
        ({"level": {"type": "number", "minimum": 2, "maximum": 1}}, "minimum 2 is above maximum 1"),
        ({"level": {"type": "number", "step": 0}}, "step must be at least"),
        ({"mode": {"type": "string", "options": "cosy"}}, "options must be a list of texts"),
        ({"mode": {"type": "string", "options": [1]}}, "options must be a list of texts"),
        ({"mode": {"type": "integer", "options": ["a"]}}, "options are for strings"),
        ({"level": {"type": "number", "unit": 5}}, "unit must be a text"),
        ({"a/b": {"type": "number"}}, "cannot be a topic level"),
    ],
)
def test_a_faulty_description_is_named_with_its_place(properties: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        described({"properties": properties}, {}, "devices[0]")
