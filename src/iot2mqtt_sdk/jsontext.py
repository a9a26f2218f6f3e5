"""Strict JSON: what leaves is RFC 8259 in UTF-8, what comes in is read no more kindly (clause I2M-PUB-02)."""

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from enum import Enum
from typing import Any, NoReturn

from iot2mqtt_sdk.contract.time import format_timestamp
from iot2mqtt_sdk.errors import PayloadError

DEEPEST = 64
"""Levels of nesting that a published value may have."""
LARGEST = 4 * 1024 * 1024
"""Bytes of a payload: larger ones are neither looked at nor published."""


def encode(value: Any) -> bytes:
    """Return a value as JSON text.

    NaN and infinities become null, a datetime ISO 8601, an enum its value, a set or tuple a list.

    Raises:
        PayloadError: The value holds what JSON has no form for, such as bytes, nests too deeply or is too large.
    """
    return dump(plain(value))


def dump(value: Any) -> bytes:
    """Return what `plain` has returned as JSON text.

    Raises:
        PayloadError: It is too large, or an integer in it has thousands of digits.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        raise PayloadError("an integer of thousands of digits cannot be published: turn it into a text") from None
    raw = text.encode("utf-8", "replace")
    if len(raw) > LARGEST:
        raise PayloadError(f"a value of {len(raw)} bytes of JSON cannot be published: {LARGEST} are the most")
    return raw


def plain(value: Any, depth: int = 0) -> Any:
    """Return a value made of nothing but dict, list, str, int, finite float, bool and None.

    Raises:
        PayloadError: It holds what JSON has no form for, or nests too deeply.
    """
    if value is None or (isinstance(value, bool | int | str) and not isinstance(value, Enum)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth >= DEEPEST:
        raise PayloadError(f"a value that nests more than {DEEPEST} levels deep cannot be published")
    if isinstance(value, Mapping):
        # Copied at one go, because another thread may change it meanwhile.
        return {_key(key): plain(item, depth + 1) for key, item in list(value.items())}
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1) for item in list(value)]
    if isinstance(value, set | frozenset):
        return [plain(item, depth + 1) for item in sorted(list(value), key=str)]  # noqa: C414 - likewise
    return _scalar(value, depth)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool | int | float):
        return str(key).lower() if isinstance(key, bool) else str(key)
    raise PayloadError(f"a key of the type {type(key).__name__} cannot be published: use texts")


def _scalar(value: Any, depth: int) -> Any:
    if isinstance(value, datetime):
        return format_timestamp(value) if value.tzinfo else value.isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Enum):
        return plain(value.value, depth + 1)
    raise PayloadError(f"a value of the type {type(value).__name__} cannot be published: turn it into a text or number")


def decode(raw: bytes) -> Any:
    """Return the value of a received JSON text.

    Raises:
        ValueError: It is no JSON in UTF-8, holds NaN or Infinity, nests too deeply or is too large; the message is a
            sentence.
    """
    if len(raw) > LARGEST:
        raise ValueError(f"the payload of {len(raw)} bytes is larger than {LARGEST}")
    return parse(raw, "the payload")


def parse(raw: bytes, what: str) -> Any:
    """Return the value of a JSON text of any size.

    Args:
        raw: The text.
        what: What it is, for the error.

    Raises:
        ValueError: It is no JSON in UTF-8, holds NaN or Infinity or nests too deeply; the message is a sentence.
    """
    try:
        return json.loads(raw.decode("utf-8"), parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError(f"{what} nests too deeply") from None
    except ValueError as error:
        raise ValueError(f"{what} is no JSON: {error}") from None


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("a number is beyond what a double holds")
    return number
