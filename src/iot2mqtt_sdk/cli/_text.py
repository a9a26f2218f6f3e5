"""Text from the wire on a terminal."""

import json
import unicodedata
from collections.abc import Mapping
from typing import Any


def printable(text: str) -> str:
    """Return a text without control characters, which could rewrite the terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def pairs(values: Mapping[str, Any]) -> str:
    """Return values as they are typed for `iot2mqtt send`: power=true brightness=40."""
    return " ".join(printable(f"{name}={_value(value)}") for name, value in values.items())


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(_cells(letter) for letter in text)


def cut(text: str, width: int) -> str:
    """Return as much of a text as fits into so many columns, with an ellipsis where something is missing."""
    if cells(text) <= width:
        return text
    if width <= 0:
        return ""
    kept, taken = "", 0
    for letter in text:
        taken += _cells(letter)
        if taken > width - 1:
            break
        kept += letter
    return f"{kept}…"


def padded(text: str, width: int) -> str:
    """Return a text of exactly so many columns."""
    fitting = cut(text, width)
    return fitting + " " * (width - cells(fitting))


def _cells(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
