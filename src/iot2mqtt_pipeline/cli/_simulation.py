"""Simulated devices: how they publish, and for how long."""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from iot2mqtt_pipeline.adapters.mqtt_out import EndedError, MqttPublisher
from iot2mqtt_pipeline.adapters.templates import put_template
from iot2mqtt_pipeline.settings import Database, Mqtt
from iot2mqtt_pipeline.simulator import MESSAGES_PER_ROUND, Fleet, Planned, Tally, parameter_rows, play
from iot2mqtt_sdk.clock import Clock

TEMPLATE = "f2-simulated"
"""The template that simulated devices follow."""
PATIENCE = 10.0
"""Seconds for the broker to acknowledge the last messages."""


@dataclass(slots=True)
class Simulation:
    """Devices that publish until something ends them.

    Attributes:
        broker: Where they publish.
        fleet: The devices.
        ending: Set when it is time to stop.
        duration: Seconds after which they stop on their own.
        count: Messages after which they stop on their own.
        tally: What was published.
        unsafe: How many messages the broker has not acknowledged in the end.
    """

    broker: Mqtt
    fleet: Fleet
    ending: threading.Event
    duration: float | None = None
    count: int | None = None
    tally: Tally = field(default_factory=Tally)
    unsafe: int = 0
    _deadline: float = float("inf")

    def run(self) -> None:
        """Publish.

        Raises:
            TransientError: The broker cannot be reached at the start.
            ConfigurationError: The broker refuses us.
        """
        publisher = MqttPublisher(settings=self.broker, stopped=self._over)
        publisher.start()
        if self.duration is not None:
            self._deadline = time.monotonic() + self.duration
        messages: Iterable[Planned] = self.fleet.messages()
        if self.count is not None:
            messages = islice(messages, self.count)
        try:
            play(messages, publish=publisher.publish, wait=self._wait, clock=Clock(), tally=self.tally)
        except EndedError:
            pass
        finally:
            self.unsafe = publisher.stop(PATIENCE)

    def published(self) -> int:
        """Return how many messages there were, malformed ones too."""
        return self.tally.messages.total() + self.tally.malformed.total()

    def summary(self) -> dict[str, int]:
        """Return what was published, in numbers."""
        tally = self.tally
        return {
            "devices": len(self.fleet.device_ids),
            "messages": tally.messages.total(),
            "rows": tally.rows.total(),
            "malformed": tally.malformed.total(),
            "unacknowledged": self.unsafe,
        }

    def _over(self) -> bool:
        return self.ending.is_set() or time.monotonic() >= self._deadline

    def _wait(self, seconds: float) -> bool:
        self.ending.wait(max(0.0, min(seconds, self._deadline - time.monotonic())))
        return self._over()


def fleet(*, devices: int, rate: float | None, interval: float, seed: int, malformed: float) -> Fleet:
    """Return devices that publish from now on.

    Args:
        devices: How many.
        rate: Messages a second of all together; where it is None, each component publishes once an interval.
        interval: In seconds.
        seed: The same seed makes the same devices.
        malformed: The share of messages that cannot be decoded.
    """
    every = interval if rate is None else devices * MESSAGES_PER_ROUND / rate
    return Fleet(devices=devices, interval=every, start=time.time(), seed=seed, malformed=malformed)


def set_parameters(database: Database, devices: Fleet) -> None:
    """Have all devices follow the template that decodes what they send.

    Raises:
        TransientError: The database is away.
        ConfigurationError: The tables are missing.
    """
    put_template(database.connection(), TEMPLATE, parameter_rows(TEMPLATE), devices.device_ids)
