"""The values of form fields: what each of the nine types takes."""

import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from pydantic import JsonValue

from iot2mqtt_sdk.contract.setup import CheckboxField, FormField, NumberField, SelectField, TextField
from iot2mqtt_sdk.contract.templating import resolve

_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
_TRUE, _FALSE = {"y", "yes", "true"}, {"n", "no", "false"}


def accept(item: FormField, value: JsonValue) -> JsonValue:
    """Return a field's value, None for one left empty.

    Raises:
        ValueError: The field does not take it; the message continues a sentence that begins with the field.
    """
    if value is None or value == "":
        if item.required:
            raise ValueError("is required; give it a value")
        return None
    if isinstance(item, TextField):
        return _accept_text(item, value)
    if isinstance(item, NumberField):
        return _accept_number(item, value)
    if isinstance(item, CheckboxField):
        if not isinstance(value, bool):
            raise ValueError("must be true or false")  # noqa: TRY004 - what people typed is wrong, not the program
        return value
    return _accept_choice(item, value)


def parse(item: FormField, text: str) -> JsonValue:
    """Return the value of a field that somebody typed.

    Raises:
        ValueError: The field does not take it, as `accept` says.
    """
    typed = text if item.type == "password" else text.strip()
    if not typed or isinstance(item, TextField):
        return accept(item, typed)
    if isinstance(item, NumberField):
        return accept(item, _number(typed))
    if isinstance(item, CheckboxField):
        return accept(item, {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}.get(typed.lower(), typed))
    return item.options[chosen(typed, [option.label for option in item.options])].value


def chosen(text: str, labels: list[str]) -> int:
    """Return the index of the choice that somebody typed: its number, counted from 1, or its label.

    Raises:
        ValueError: There is no such choice.
    """
    if text.isdecimal() and 1 <= int(text) <= len(labels):
        return int(text) - 1
    if text in labels:
        return labels.index(text)
    raise ValueError(f"must be a number from 1 to {len(labels)}")


def default_of(item: FormField, context: Mapping[str, JsonValue]) -> JsonValue:
    """Return what a field holds unless somebody changes it; None for nothing."""
    value = resolve(item.default, context)
    return None if value == "" else value


def is_secret(item: FormField) -> bool:
    """Tell whether a field's value is kept apart from the instance file, and never shown."""
    return item.secret or item.type == "password"


def _accept_text(item: TextField, value: JsonValue) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text")  # noqa: TRY004 - what people typed is wrong, not the program
    if is_secret(item) and value.splitlines() != [value.strip()]:
        raise ValueError("must be one line without blanks around it, because it is a secret")
    if item.pattern is not None and not re.fullmatch(item.pattern, value):
        raise ValueError(f"must match {item.pattern}")
    check = _CHECKS.get(item.type)
    if check is not None:
        check(value)
    return value


def _check_ip(value: str) -> None:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise ValueError("must be an IP address such as 192.168.1.50") from None


def _check_url(value: str) -> None:
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = urlsplit("")
    if not parts.scheme or not parts.netloc or re.search(r"\s", value):
        raise ValueError("must be an address such as http://192.168.1.50/")


def _check_email(value: str) -> None:
    if not _EMAIL.fullmatch(value):
        raise ValueError("must be an e-mail address such as me@example.org")


_CHECKS: Final[dict[str, Callable[[str], None]]] = {"ip": _check_ip, "url": _check_url, "email": _check_email}


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise ValueError("must be a number") from None


def _accept_number(item: NumberField, value: JsonValue) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("must be a number")
    if item.min is not None and value < item.min:
        raise ValueError(f"must be at least {item.min}")
    if item.max is not None and value > item.max:
        raise ValueError(f"must be at most {item.max}")
    if item.step is not None:
        steps = (value - (item.min or 0)) / item.step
        # Steps such as 0.1 have no exact form in binary.
        if not math.isclose(steps, round(steps), abs_tol=1e-9):
            raise ValueError(f"must go in steps of {item.step} from {item.min or 0}")
    return value


def _accept_choice(item: SelectField, value: JsonValue) -> JsonValue:
    for option in item.options:
        if option.value == value and isinstance(option.value, bool) == isinstance(value, bool):
            return option.value
    values = ", ".join(repr(option.value) for option in item.options)
    raise ValueError(f"must be one of {values}")
