"""What a number of simulated controllers publish, and when."""

from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import NamedTuple

from iot2mqtt_pipeline.simulator.building import Building
from iot2mqtt_pipeline.simulator.installation import COMPONENTS, MESSAGES_PER_ROUND

_SPOILT = (
    b'{"timestamp": "yesterday", "status": true, "data": "0x12A"}',
    b'{"timestamp": "1970-01-01T00:00:07", "status": true, "data": "0x12A"}',
    b'{"timestamp": null, "status": "maybe", "data": {"value": null}}',
    b"\xff\xfe neither JSON nor UTF-8",
)
"""What no component of ours can be decoded from."""


class Planned(NamedTuple):
    """A message that is to be published.

    Attributes:
        due: When, in Unix seconds.
        topic: Where.
        payload: What.
        device_id: By whom.
        rows: How many rows it becomes; 0 means that it is malformed, and becomes one dead letter.
    """

    due: float
    topic: str
    payload: bytes
    device_id: str
    rows: int


class Fleet:
    """Controllers that each publish all their components once an interval, evenly spread over it.

    Args:
        devices: How many.
        interval: Seconds between two messages of one component.
        start: Unix seconds of the first message.
        seed: The same seed makes the same devices and, from the same start on, the same messages.
        malformed: The share of messages that cannot be decoded, from 0 to 1.
    """

    def __init__(self, *, devices: int, interval: float, start: float, seed: int = 0, malformed: float = 0.0) -> None:
        self._interval = interval
        self._start = start
        self._seed = seed
        self._malformed = malformed
        macs = Random(seed)
        self.device_ids = [f"f2-{macs.getrandbits(24):06x}{number:06x}" for number in range(devices)]

    def messages(self) -> Iterator[Planned]:
        """Yield the messages without end, in the order in which they are due."""
        buildings = [(device, Building(random=self._chance(device), start=self._start)) for device in self.device_ids]
        spoiling = self._chance("malformed")
        step = self._interval / (len(buildings) * MESSAGES_PER_ROUND)
        topics = {device: [f"cmnd/{device}/{part.place}" for part in COMPONENTS] for device in self.device_ids}
        number = 0
        while True:
            for device, building in buildings:
                building.advance(self._start + number * step)
                for topic, component in zip(topics[device], COMPONENTS, strict=True):
                    due = self._start + number * step
                    number += 1
                    payload = b'{"timestamp": "%b", %b}' % (_stamp(due), component.members(building).encode())
                    if self._malformed and spoiling.random() < self._malformed:
                        yield Planned(due, topic, spoiling.choice(_SPOILT), device, 0)
                    else:
                        yield Planned(due, topic, payload, device, component.rows)

    def _chance(self, name: str) -> Random:
        return Random(f"{self._seed}/{name}")


def _stamp(moment: float) -> bytes:
    """Return a time as controllers write it: in UTC, without saying so."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds")[:26].encode()
