"""What a command says, and why it is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from iot2mqtt_sdk import CommandError
from iot2mqtt_sdk.runtime.command import IDS, REMEMBERED, SeenIds, command_id, parse, read, rescued_id

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)


def stamp(age: float) -> str:
    return (NOW - timedelta(seconds=age)).isoformat()


@pytest.mark.parametrize("age", [-3600, 0, 25, 29.9, 30])
def test_a_command_of_up_to_30_seconds_is_taken(age: float) -> None:
    assert read({"values": {}, "timestamp": stamp(age)}, NOW).values == {}


@pytest.mark.parametrize("age", [30.1, 31, 600, 10**9])
def test_an_older_command_is_stale(age: float) -> None:
    with pytest.raises(CommandError) as caught:
        read({"values": {}, "timestamp": stamp(age)}, NOW)
    assert caught.value.code == "stale_command"


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "on",
        {},
        {"values": None},
        {"values": []},
        {"values": {}, "id": 7},
        {"values": {}, "id": ""},
        {"values": {}, "timestamp": "yesterday"},
        {"values": {}, "timestamp": 1},
        {"values": {}, "timestamp": "0001-01-01T00:00:00+14:00"},
        {"values": {}, "timeout": "soon"},
        {"values": {}, "timeout": 0},
        {"values": {}, "timeout": -1},
        {"values": {}, "timeout": True},
        {"values": {}, "timeout": 10**10},
        pytest.param({"values": parse(b'{"a":' + b"[" * 100 + b"]" * 100 + b"}")}, id="deep"),
    ],
)
def test_a_malformed_command_is_invalid(document: Any) -> None:
    with pytest.raises(CommandError) as caught:
        read(document, NOW)
    assert caught.value.code == "invalid_command"


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", pytest.param(b"[" * 100_000, id="deep"), b"{}{}", b"nan"])
def test_what_is_no_json_is_an_invalid_command(raw: bytes) -> None:
    with pytest.raises(CommandError) as caught:
        parse(raw)
    assert caught.value.code == "invalid_command"


def test_the_timeout_is_in_milliseconds() -> None:
    assert read({"values": {}, "timeout": 1500}, NOW).seconds == 1.5
    assert read({"values": {}}, NOW).seconds == 5.0


@pytest.mark.parametrize(("document", "identity"), [({"id": "a"}, "a"), ({"id": 1}, None), ([], None), (None, None)])
def test_the_id_is_found_wherever_there_is_one(document: Any, identity: str | None) -> None:
    assert command_id(document) == identity


def test_an_id_is_known_for_five_minutes_and_for_its_target_only() -> None:
    seen = SeenIds()
    assert not seen.again("lamp", "a", 0.0)
    assert seen.again("lamp", "a", REMEMBERED)
    assert not seen.again("fan", "a", 1.0)
    assert not seen.again("lamp", "a", REMEMBERED + 1.1)


def test_invented_ids_fill_no_memory() -> None:
    seen = SeenIds()
    for number in range(IDS + 50):
        seen.again("lamp", f"{number}" * 50, 0.0)
    assert len(seen._seen) == IDS
    assert {type(key) for key in seen._seen} == {int}


@pytest.mark.parametrize(
    ("raw", "identity"),
    [
        (b'{"id": "a", "timestamp": 1e400}', "a"),
        (b'{"id": "a", "values": {"n": NaN}}', "a"),
        (b'{"id": 7, "values": NaN}', None),
        (b'{"id": "a"', None),
        (b"\xff", None),
        pytest.param(b"[" * 100_000, None, id="deep"),
    ],
)
def test_a_command_with_a_number_that_is_none_can_be_answered(raw: bytes, identity: str | None) -> None:
    assert rescued_id(raw) == identity
