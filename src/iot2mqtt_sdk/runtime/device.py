"""What is known of one device while the connector runs."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from iot2mqtt_sdk.properties import Property
from iot2mqtt_sdk.runtime.engine import Lane, Timer

OFFLINE_AFTER = 2
"""Failures in a row until a device counts as offline."""
LONGEST_BACKOFF = 8
"""Update intervals between two attempts to reach a failing device, at the most."""


def _nothing() -> None:
    """Do nothing: what the timer of a device does that was never scheduled."""


@dataclass(slots=True, eq=False)
class DeviceState:
    """One device.

    Attributes:
        id: Its device_id.
        config: What hooks are given as device_config.
        enabled: Whether it is polled and may be commanded.
        model: For devices_list.
        name: What people call it.
        properties: What its properties are, where that is described.
        online: Whether it could be reached the last time; unknown counts as not.
        lane: Keeps what is done with it in order.
        timer: The next poll.
        failures: Failed attempts in a row.
        said: The availability that was published on this connection.
        polling: Whether a poll is queued or runs.
        since: When that was queued, in monotonic seconds.
        hanging: Whether it has been for so long that the device counts as offline.
        news: How many states the connector has published by itself.
        telling: Held by whoever publishes a state, so that an older one never follows a newer one.
    """

    id: str
    config: Any
    enabled: bool
    model: str | None
    name: str | None = None
    properties: Mapping[str, Property] = field(default_factory=dict)
    lane: Lane = field(default_factory=Lane)
    timer: Timer = field(default_factory=lambda: Timer(_nothing))
    online: bool = False
    failures: int = 0
    said: str | None = None
    polling: bool = False
    since: float = 0.0
    hanging: bool = False
    news: int = 0
    telling: threading.Lock = field(default_factory=threading.Lock)

    @property
    def failed(self) -> bool:
        """Whether it has failed often enough to count as offline."""
        return self.hanging or self.failures >= OFFLINE_AFTER

    @contextmanager
    def present(self) -> Iterator[None]:
        """Count as online from before a state is published: who sees it may ask for the list of devices at once."""
        before, self.online = self.online, True
        try:
            yield
        except BaseException:
            self.online = before
            raise

    def backoff(self) -> int:
        """Return how many update intervals to wait after the last failure."""
        return min(1 << max(0, self.failures - 1), LONGEST_BACKOFF)
