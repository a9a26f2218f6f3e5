"""What the nine types of form fields take."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from iot2mqtt_sdk.contract.setup import FormField
from iot2mqtt_sdk.setup_flow.fields import accept, parse

FIELD: TypeAdapter[Any] = TypeAdapter(FormField)
OPTIONS = [{"value": 80, "label": "Eighty"}, {"value": True, "label": "Yes"}, {"value": None, "label": "Nothing"}]


def field(kind: str, **more: Any) -> Any:
    return FIELD.validate_python({"type": kind, "name": "f", **more})


@pytest.mark.parametrize(
    ("item", "value"),
    [
        (field("text"), "any thing"),
        (field("text", pattern="[a-z]+"), "abc"),
        (field("password"), "correct horse"),
        (field("ip"), "192.0.2.1"),
        (field("ip"), "2001:db8::1"),
        (field("url"), "http://192.0.2.1:8080/a?b"),
        (field("email"), "me@localhost"),
        (field("textarea"), "two\nlines"),
        (field("number", min=1, max=2), 1.5),
        (field("number", step=0.1), 0.3),
        (field("number", min=1, step=2), 3),
        (field("checkbox"), False),
        (field("select", options=OPTIONS), 80),
        (field("text"), None),
    ],
)
def test_a_field_takes_a_value_as_it_is(item: Any, value: Any) -> None:
    taken = accept(item, value)
    assert taken == value
    assert type(taken) is type(value)


@pytest.mark.parametrize(
    ("item", "value", "complaint"),
    [
        (field("text", required=True), "", "is required"),
        (field("number", required=True), None, "is required"),
        (field("text"), 5, "must be a text"),
        (field("text", pattern="[a-z]+"), "abc1", "must match"),
        (field("password"), "two\nlines", "one line"),
        (field("text", secret=True), " blank", "without blanks"),
        (field("ip"), "192.0.2.256", "must be an IP address"),
        (field("url"), "192.0.2.1/path", "must be an address"),
        (field("url"), "http://[", "must be an address"),
        (field("url"), "http://a b/", "must be an address"),
        (field("email"), "me at home", "must be an e-mail address"),
        (field("number"), "80", "must be a number"),
        (field("number"), True, "must be a number"),
        (field("number"), float("nan"), "must be a number"),
        (field("number", min=1), 0, "must be at least 1"),
        (field("number", max=9), 10, "must be at most 9"),
        (field("number", min=1, step=2), 4, "must go in steps of 2 from 1"),
        (field("checkbox"), "yes", "must be true or false"),
        (field("select", options=OPTIONS), "80", "must be one of"),
        (field("select", options=OPTIONS), 1, "must be one of"),
    ],
)
def test_a_field_refuses_what_it_cannot_hold_and_says_why(item: Any, value: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        accept(item, value)


@pytest.mark.parametrize(
    ("item", "typed", "value"),
    [
        (field("text"), " name ", "name"),
        (field("number"), "80", 80),
        (field("number"), "0.5", 0.5),
        (field("checkbox"), "Yes", True),
        (field("checkbox"), "n", False),
        (field("select", options=OPTIONS), "1", 80),
        (field("select", options=OPTIONS), "Yes", True),
        (field("select", options=OPTIONS), "", None),
    ],
)
def test_what_is_typed_becomes_a_value_of_the_field_s_type(item: Any, typed: str, value: Any) -> None:
    read = parse(item, typed)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("item", "typed"),
    [
        (field("number"), "eighty"),
        (field("number"), "nan"),
        (field("checkbox"), "maybe"),
        (field("select", options=OPTIONS), "4"),
        (field("select", options=OPTIONS), "0"),
        (field("password"), " padded"),
    ],
)
def test_what_is_typed_wrongly_is_refused(item: Any, typed: str) -> None:
    with pytest.raises(ValueError, match=r"^must "):
        parse(item, typed)
