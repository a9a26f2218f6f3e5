"""What is heard of a connector after one of its processes has died; scenario and judge listen alike.

It is heard at the broker, because a connector of several processes speaks over several connections, and of what a dead
process leaves behind, its last will, only the broker tells.
"""

from collections.abc import Collection

from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.view import strict_json

REPORTED_WITHIN = 10.0
"""Seconds from the death of a process to its report (I2M-LIFE-10)."""
RETURNS_WITHIN = 20.0
"""Seconds from there to the return of what was reported, where no later attempt is announced."""
HEARD = ("devices/+/error", "devices/+/state", "devices/+/availability")
"""Topics below the instance that are listened to, beside its status."""

_DEVICE_LEVELS = 3


class Aftermath:
    """Takes records in their order, from a death on.

    Args:
        root: What the instance's topics begin with.
        devices: Ids of the enabled devices.

    Attributes:
        report: The first record that reports the death.
        lost: By device, the record that tells that something is wrong with it.
        back: By device, the first state after that which does not say the opposite.
    """

    def __init__(self, root: str, devices: Collection[str]) -> None:
        self._root = f"{root}/"
        self._devices = devices
        self._down = False
        self.report: Record | None = None
        self.lost: dict[str, Record] = {}
        self.back: dict[str, Record] = {}

    @property
    def settled(self) -> bool:
        """Whether there was a report, and everything reported has returned."""
        return self.report is not None and not self._down and self.lost.keys() <= self.back.keys()

    @property
    def missing(self) -> list[str]:
        """What was reported and has not returned: devices, or the instance's status."""
        return [*(["the status online"] if self._down else []), *sorted(self.lost.keys() - self.back.keys())]

    def hear(self, record: Record) -> None:
        """Take one record."""
        if record.kind != "seen" or record.data["retained"] or not record.data["topic"].startswith(self._root):
            return
        levels = record.data["topic"].removeprefix(self._root).split("/")
        if levels == ["status"]:
            self._take_status(record)
        elif len(levels) == _DEVICE_LEVELS and levels[0] == "devices" and levels[1] in self._devices:
            self._take_device(levels[1], levels[2], record)

    def _take_status(self, record: Record) -> None:
        self._down = record.data["payload"] == "offline"
        if self._down:
            for device in self._devices:
                self._lose(device, record)

    def _take_device(self, device: str, kind: str, record: Record) -> None:
        if kind == "error":
            # It may be told after the device has returned, and takes nothing back.
            self.report = self.report or record
            self.lost.setdefault(device, record)
        elif says_offline(record):
            self._lose(device, record)
        elif kind == "state" and device in self.lost:
            self.back.setdefault(device, record)

    def _lose(self, device: str, record: Record) -> None:
        self.report = self.report or record
        self.lost[device] = record
        self.back.pop(device, None)


def says_offline(record: Record) -> bool:
    """Whether a message that was heard says that its device is offline."""
    text = record.data["payload"]
    value = strict_json(text)
    if record.data["topic"].endswith("/availability"):
        return "offline" in (text, value)
    state = value.get("state") if isinstance(value, dict) else None
    return isinstance(state, dict) and state.get("online") is False
