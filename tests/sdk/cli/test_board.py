"""The table of `iot2mqtt watch`, line by line."""

import json

import click
import pytest

from iot2mqtt_sdk.cli._board import Board, lines
from iot2mqtt_sdk.cli._text import cells, cut, pairs, printable

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def board(**messages: object) -> Board:
    made = Board("home/a")
    for suffix, payload in messages.items():
        take(made, suffix.replace("__", "/"), payload)
    return made


def take(made: Board, suffix: str, payload: object, at: float = NOW) -> None:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    made.take(f"home/a/v1/instances/kitchen/{suffix}", raw, at)


def drawn(made: Board, width: int = 60, height: int = 20) -> list[str]:
    return [click.unstyle(line) for line in lines(made, width=width, height=height, now=NOW)]


def state(seconds_ago: int, **values: object) -> dict[str, object]:
    return {"timestamp": f"2025-12-31T23:59:{60 - seconds_ago:02d}.000Z", "device_id": "d", "state": values}


def test_the_age_is_that_of_the_reading_and_not_of_its_arrival() -> None:
    made = board(devices__lamp__state=state(42, power=True))
    assert drawn(made)[1] == "  lamp  -         42s  power=true"


def test_a_state_ends_the_error_before_it() -> None:
    made = board(devices__lamp__state=state(2, power=True))
    take(made, "devices/lamp/error", {"error_code": "device_error", "message": "dark"})
    assert drawn(made)[-1] == "    ! dark (device_error)"
    take(made, "devices/lamp/state", state(1, power=True))
    assert len(drawn(made)) == 2


def test_a_device_whose_kept_state_is_cleared_is_gone() -> None:
    made = board(devices__lamp__state=state(2, power=True))
    take(made, "devices/lamp/state", b"")
    assert drawn(made) == ["kitchen  status unknown  0 devices"]


@pytest.mark.parametrize("payload", [b"\xff", b"[]", b"7", b'{"state": 5}'])
def test_a_state_that_is_none_is_told(payload: bytes) -> None:
    made = board()
    take(made, "devices/lamp/state", payload)
    assert drawn(made)[-1] == "    ! its state is none that the contract knows"


@pytest.mark.parametrize("width", [1, 10, 20, 40, 60])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    made = board(devices__lamp__state=state(2, text="電" * 50), status=b"online" * 9)
    take(made, "devices/a_device_with_quite_a_long_name/error", {"message": "e\u0301" * 90})
    assert [line for line in drawn(made, width) if cells(line) > width] == []


def test_what_has_no_room_is_counted() -> None:
    made = board()
    for number in range(30):
        take(made, f"devices/lamp{number:02d}/state", state(1, power=True))
    found = drawn(made, height=10)
    assert len(found) == 10
    assert found[-1] == "… 22 more lines: name an INSTANCE to see less"


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "\x9b31m", "\u202eevil", "\ud800"])
def test_nothing_from_the_wire_can_steer_the_terminal(text: str) -> None:
    assert printable(text).isprintable()
    assert pairs({text: text}).isprintable()


def test_a_wide_letter_is_not_cut_in_half() -> None:
    assert cut("電電電", 4) == "電…"
