"""Publishing messages when they are due, and keeping count."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from iot2mqtt_pipeline.simulator.fleet import Planned
from iot2mqtt_sdk.clock import Clock


@dataclass(frozen=True, slots=True)
class Tally:
    """What was published, by device.

    Attributes:
        messages: Messages that can be decoded.
        rows: The rows that those become.
        malformed: Messages that become dead letters.
    """

    messages: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    malformed: Counter[str] = field(default_factory=Counter)

    def add(self, message: Planned) -> None:
        """Count a message that was published."""
        if message.rows:
            self.messages[message.device_id] += 1
            self.rows[message.device_id] += message.rows
        else:
            self.malformed[message.device_id] += 1

    def published(self) -> Counter[str]:
        """Return what the ledger calls published: rows, and one for each malformed message."""
        return self.rows + self.malformed


def play(
    messages: Iterable[Planned],
    *,
    publish: Callable[[str, bytes], None],
    wait: Callable[[float], bool],
    clock: Clock,
    tally: Tally,
) -> None:
    """Publish messages, each when it is due.

    Every time is reckoned from the first message's, so that no delay adds up: what is late goes out at once.

    Args:
        messages: In the order in which they are due.
        publish: Hands a topic and a payload to MQTT; it may block while too much is in flight.
        wait: Waits so many seconds, or until it is time to stop, and says whether it is: `wait` of a threading.Event.
        clock: What the seconds are told by.
        tally: Counts what was published.
    """
    begun = clock.monotonic()
    first = None
    for message in messages:
        first = message.due if first is None else first
        if wait(max(0.0, begun + (message.due - first) - clock.monotonic())):
            return
        publish(message.topic, message.payload)
        tally.add(message)
