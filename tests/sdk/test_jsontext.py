"""Strict JSON, out and in."""

import json
import math
import threading
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import Enum, IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import pytest

from iot2mqtt_sdk import PayloadError
from iot2mqtt_sdk.jsontext import LARGEST, decode, encode, parse, plain


class Mode(Enum):
    AUTO = "auto"


class Level(IntEnum):
    HIGH = 3


class Word(StrEnum):
    ON = "on"


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.nan, "null"),
        (math.inf, "null"),
        ({"a": [-math.inf]}, '{"a":[null]}'),
        (datetime(2025, 1, 2, 3, 4, 5, 678999, UTC), '"2025-01-02T03:04:05.678Z"'),
        (datetime(2025, 1, 2, 3, tzinfo=timezone(timedelta(hours=9))), '"2025-01-01T18:00:00.000Z"'),
        (datetime(2025, 1, 2, 3, 4), '"2025-01-02T03:04:00"'),  # noqa: DTZ001 - an author's own naive time
        (date(2025, 1, 2), '"2025-01-02"'),
        (time(3, 4), '"03:04:00"'),
        ((1, "ü"), '[1,"ü"]'),
        ({3, 1, 2}, "[1,2,3]"),
        (Mode.AUTO, '"auto"'),
        (Level.HIGH, "3"),
        (Word.ON, '"on"'),
        ({Word.ON: 1, 2: 3, True: 4}, '{"on":1,"2":3,"true":4}'),
        (MappingProxyType({"a": OrderedDict(b=1)}), '{"a":{"b":1}}'),
        ("\ud800", '"?"'),
        ("\x00", '"\\u0000"'),
        (-0.0, "-0.0"),
        (10**30, "1" + "0" * 30),
    ],
)
def test_a_value_becomes_json_of_one_meaning(value: Any, text: str) -> None:
    assert encode(value).decode() == text


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\x00", "type bytes"),
        ({"a": object()}, "type object"),
        (lambda: 1, "type function"),
        (1j, "type complex"),
        ({(1, 2): 3}, "key of the type tuple"),
        ({None: 3}, "key of the type NoneType"),
        (nested(65), "64 levels"),
        pytest.param(10**5000, "thousands of digits", id="huge"),
        pytest.param("x" * LARGEST, "bytes of JSON", id="large"),
    ],
)
def test_what_json_has_no_form_for_is_refused_in_a_sentence(value: Any, reason: str) -> None:
    with pytest.raises(PayloadError, match=reason):
        encode(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(PayloadError, match="64 levels"):
        encode(loop)


def test_64_levels_are_published() -> None:
    assert json.loads(encode(nested(64))) == nested(64)


def test_a_mapping_may_change_while_it_is_read() -> None:
    shared = {str(number): number for number in range(1000)}
    stop = threading.Event()

    def change() -> None:
        number = 1000
        while not stop.is_set():
            number += 1
            shared[str(number)] = number
            del shared[str(number)]

    thread = threading.Thread(target=change)
    thread.start()
    try:
        assert all(len(plain(shared)) >= 1000 for _ in range(100))
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "no JSON"),
        (b"True", "no JSON"),
        (b'{"a": NaN}', "NaN is no JSON"),
        (b"[-Infinity]", "-Infinity is no JSON"),
        (b"[1e400]", "beyond what a double holds"),
        (b"\xff", "no JSON"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"{} {}", "Extra data"),
        pytest.param(b"[" * 100_000, "nests too deeply", id="deep"),
        pytest.param(b"1" * 5000, "no JSON", id="digits"),
        pytest.param(b" " * (LARGEST + 1), "larger than", id="large"),
    ],
)
def test_a_received_text_that_is_no_json_is_refused_in_a_sentence(raw: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        decode(raw)
    assert str(caught.value).startswith("the payload")


def test_a_file_may_be_larger_than_a_payload() -> None:
    assert len(parse(json.dumps(["x" * 100] * 50_000).encode(), "it")) == 50_000
