"""A sink in a test: records from memory, the real store, dead letters in a list."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from iot2mqtt_pipeline.adapters.timescale import TimescaleStore
from iot2mqtt_pipeline.record import Measurement
from iot2mqtt_pipeline.sink import Sink
from iot2mqtt_pipeline.stage import DeadLetter, NoFigures, Partition, Record

TOPIC = "decoded_iot_data"


def measurement(number: int = 0, **changes: Any) -> Measurement:
    """Return one of the documents' temperature sensors; each number has a time of its own, within the last hours."""
    base = Measurement(
        timestamp=round(time.time()) - 3600 + number / 1000,
        device_id="f2-e4fd45f654be",
        connector_mode="sensor-mode",
        connector="J3",
        component_type="sensor",
        component_id="3",
        value=29.8,
        unit="celsius",
        original_topic="cmnd/f2-e4fd45f654be/sensor-mode/J3/sensor-3",
        raw_data=b'{"data": "0x12A"}',
        decoder="hex_to_float",
        parameters_version=1,
    )
    return base._replace(**changes)


def records(values: Iterable[bytes], *, partitions: int = 1, start: int = 0) -> list[Record]:
    """Return values as records of a topic, dealt out to its partitions."""
    return [
        Record(TOPIC, number % partitions, start + number // partitions, b"key", value)
        for number, value in enumerate(values)
    ]


class MemorySource:
    """A Kafka topic in memory. Like a group that has confirmed nothing, it begins with the first record."""

    def __init__(self, held: Sequence[Record]) -> None:
        self._held = held
        self._at: dict[Partition, int] = {}
        self.idled = 0

    def poll(self, limit: int, timeout: float) -> Sequence[Record]:
        due = [one for one in self._held if one.offset >= self._at.get((one.topic, one.partition), 0)][:limit]
        for one in due:
            self._at[one.topic, one.partition] = one.offset + 1
        if not due:
            time.sleep(min(timeout, 0.01))
        return due

    def seek(self, positions: Mapping[Partition, int]) -> None:
        self._at |= positions

    def rewind(self) -> None:
        self._at.clear()

    def idle(self, seconds: float) -> None:
        self.idled += 1
        time.sleep(seconds)

    def lag(self) -> Mapping[Partition, int]:
        return {}

    def close(self) -> None:
        pass


class Letters:
    """Keeps dead letters, with what was stored when they were written."""

    def __init__(self) -> None:
        self.written: list[DeadLetter] = []

    def write(self, letters: Sequence[DeadLetter]) -> None:
        self.written += letters


class Counts(NoFigures):
    """Counts what a sink tells."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    def forwarded(self, count: int) -> None:
        self.of["forwarded"] += count

    def duplicates(self, count: int) -> None:
        self.of["duplicates"] += count

    def trouble(self, what: str) -> None:
        self.of[what] += 1


class Bench:
    """A sink with its parts.

    Args:
        parameters: The database.
        held: What the topic holds.
        batch_size: Records of one transaction.
        retention_days: As of the store.
    """

    def __init__(
        self,
        parameters: Mapping[str, str | int],
        held: Sequence[Record],
        *,
        batch_size: int = 5000,
        retention_days: int | None = None,
    ) -> None:
        self.held = held
        self.source = MemorySource(held)
        self.store = TimescaleStore(parameters=parameters, retention_days=retention_days)
        self.letters = Letters()
        self.counts = Counts()
        self.sink = Sink(
            source=self.source,
            store=self.store,
            dead_letters=self.letters,
            batch_size=batch_size,
            batch_timeout=0.05,
            figures=self.counts,
        )

    def run(self, seconds: float = 60.0) -> "Bench":
        """Run until everything that the topic holds is stored or set aside."""
        ends = {(one.topic, one.partition): one.offset + 1 for one in self.held}
        deadline = time.monotonic() + seconds

        def done() -> bool:
            assert time.monotonic() < deadline, "the sink did not come to the end of its topic"
            return self.sink._flight is None and self.sink._next.items() >= ends.items()

        self.sink.run(done)
        return self

    def step(self) -> None:
        """Run for one round."""
        rounds = 0

        def done() -> bool:
            nonlocal rounds
            rounds += 1
            return rounds > 1

        self.sink.run(done)


def stamp(when: datetime) -> float:
    """Return Unix seconds."""
    return when.astimezone(UTC).timestamp()
