"""What is known of instances and devices, from the messages that have come, and how it looks in a terminal."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import click

from iot2mqtt_sdk.cli._text import cells, cut, padded, pairs, printable
from iot2mqtt_sdk.contract.time import parse_timestamp
from iot2mqtt_sdk.jsontext import decode

Style = dict[str, Any]
Row = list[tuple[str, Style]]
"""Pieces of a line, each with what click.style takes."""

BOLD: Final[Style] = {"bold": True}
DIM: Final[Style] = {"dim": True}
WIDEST_NAME: Final = 24
DEVICE: Final = 3
"""Levels of devices/{device_id}/{what}."""
UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


@dataclass(slots=True)
class Device:
    """A device.

    Attributes:
        availability: `online` or `offline`; empty where the connector does not say.
        state: Its last whole state; None before the first.
        at: When that was read, in seconds since the epoch.
        error: What went wrong last, where no state has come since.
    """

    availability: str = ""
    state: dict[str, Any] | None = None
    at: float = 0.0
    error: str = ""


@dataclass(slots=True)
class Instance:
    """An instance, with its status and its devices by id."""

    status: str = ""
    devices: dict[str, Device] = field(default_factory=dict)


class Board:
    """All instances below a base topic."""

    def __init__(self, base: str) -> None:
        self._prefix = f"{base}/v1/instances/"
        self.instances: dict[str, Instance] = {}

    def take(self, topic: str, payload: bytes, at: float) -> None:
        """Take notice of a message; what the contract does not know is passed over."""
        name, _, suffix = topic.removeprefix(self._prefix).partition("/")
        levels = suffix.split("/")
        if suffix == "status":
            self._instance(name).status = printable(payload.decode(errors="replace"))
        elif levels[0] == "devices" and len(levels) == DEVICE and levels[2] in ("state", "availability", "error"):
            self._device(name, levels[1], levels[2], payload, at)

    def _instance(self, name: str) -> Instance:
        return self.instances.setdefault(name, Instance())

    def _device(self, name: str, device_id: str, what: str, payload: bytes, at: float) -> None:
        devices = self._instance(name).devices
        if not payload:
            # A retained message was taken back: the device is no longer configured.
            if what == "state":
                devices.pop(device_id, None)
            return
        try:
            said = decode(payload)
        except ValueError:
            said = None
        device = devices.setdefault(device_id, Device())
        if what == "availability":
            device.availability = said if said in ("online", "offline") else "?"
        elif what == "state" and isinstance(said, dict) and isinstance(said.get("state"), dict):
            device.state, device.at, device.error = said["state"], _moment(said, at), ""
        elif what == "error" and isinstance(said, dict):
            device.error = printable(f"{said.get('message', '')} ({said.get('error_code', 'error')})")
        else:
            device.error = f"its {what} is none that the contract knows"


def _moment(said: dict[str, Any], at: float) -> float:
    try:
        return parse_timestamp(str(said.get("timestamp"))).timestamp()
    except ValueError:
        return at


def lines(board: Board, *, width: int, height: int, now: float) -> list[str]:
    """Return the table at a moment in at most `height` lines of `width` columns, styled."""
    ids = [printable(device_id) for instance in board.instances.values() for device_id in instance.devices]
    column = min(max(map(cells, ids), default=0), WIDEST_NAME)
    rows = [row for name in sorted(board.instances) for row in _rows(name, board.instances[name], column, now)]
    if len(rows) > height:
        rest = len(rows) - height + 1
        rows = [*rows[: height - 1], [(f"… {rest} more lines: name an INSTANCE to see less", DIM)]]
    return [_fitted(row, width) for row in rows]


def _rows(name: str, instance: Instance, column: int, now: float) -> Iterator[Row]:
    count = len(instance.devices)
    status = instance.status or "status unknown"
    devices = "1 device" if count == 1 else f"{count} devices"
    yield [(printable(name), BOLD), ("  ", {}), (status, _colour(status)), (f"  {devices}", DIM)]
    for device_id, device in sorted(instance.devices.items()):
        available = device.availability or "-"
        yield [
            (f"  {padded(printable(device_id), column)}  ", {}),
            (f"{available:<7}", _colour(available)),
            (f"  {_age(now - device.at) if device.state is not None else '-':>4}  ", DIM),
            (pairs(device.state) if device.state is not None else "no state yet", {}),
        ]
        if device.error:
            yield [(f"    ! {device.error}", {"fg": "red"})]


def _fitted(row: Row, width: int) -> str:
    line, room = "", width
    for text, style in row:
        fitting = cut(text, room)
        room -= cells(fitting)
        line += click.style(fitting, **style) if fitting else ""
        if fitting != text:
            break
    return line


def _colour(word: str) -> Style:
    return {"fg": {"online": "green", "offline": "red"}.get(word, "yellow")}


def _age(seconds: float) -> str:
    for length, unit in UNITS:
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return "now"
