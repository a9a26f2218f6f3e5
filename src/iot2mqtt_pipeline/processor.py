"""The processor: raw records become decoded measurements, exactly once.

Each batch is one transaction of its measurements, its dead letters, and the positions that it was read from.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Literal

from iot2mqtt_pipeline import letters
from iot2mqtt_pipeline.decoding import Decoder
from iot2mqtt_pipeline.errors import PermanentError, RefusedError, TransientError
from iot2mqtt_pipeline.parameters import ParameterTable
from iot2mqtt_pipeline.patience import delay_after
from iot2mqtt_pipeline.record import read_raw
from iot2mqtt_pipeline.stage import (
    DeadLetter,
    Figures,
    NoFigures,
    Outgoing,
    Partition,
    Record,
    Source,
    Stopped,
    Transaction,
)

_log = logging.getLogger("iot2mqtt.pipeline.processor")

BATCH = 5000
"""Records of one transaction at the most."""
_QUIET = 0.5
_TICK = 0.25
_LAG_EVERY = 1.0


class Processor:
    """Decodes batches.

    Args:
        source: Where raw records come from.
        transaction: Where measurements and positions go together.
        parameters: Returns the parameters as they are now; asked once a batch.
        unknown: What becomes of a component without parameters: `pass` or `deadletter`.
        raw_topic: Whose dead letters are written.
        decoded_topic: Where measurements go.
        figures: Counts what happens.
        batch: Records of one transaction at the most.
    """

    def __init__(
        self,
        *,
        source: Source,
        transaction: Transaction,
        parameters: Callable[[], ParameterTable],
        unknown: Literal["pass", "deadletter"],
        raw_topic: str,
        decoded_topic: str,
        figures: Figures | None = None,
        batch: int = BATCH,
    ) -> None:
        self._source = source
        self._transaction = transaction
        self._parameters = parameters
        self._unknown: Literal["pass", "deadletter"] = unknown
        self._raw_topic = raw_topic
        self._decoded_topic = decoded_topic
        self._figures = figures or NoFigures()
        self._batch = batch
        self._lag_at = 0.0

    def run(self, stopped: Stopped) -> None:
        """Decode batches until told to stop.

        Raises:
            FencedError: Another process has taken this one's place.
        """
        failures = 0
        try:
            while not stopped():
                try:
                    self._transaction.open()
                    self._round()
                    failures = 0
                except TransientError as error:
                    failures += 1
                    self._pause(error, failures, stopped)
        finally:
            self._source.close()
            self._transaction.close()

    def _round(self) -> None:
        # Until they have been read there is nothing to be decoded, and nothing to be given back.
        self._parameters()
        records = self._source.poll(self._batch, _QUIET)
        now = time.monotonic()
        if records:
            self._figures.received(len(records))
            try:
                self._carry(records)
            except TransientError:
                self._source.rewind()
                raise
            self._figures.batch(len(records), time.monotonic() - now)
        if now - self._lag_at > _LAG_EVERY:
            self._lag_at = now
            self._figures.lag(self._source.lag())

    def _pause(self, error: TransientError, failures: int, stopped: Stopped) -> None:
        """Wait before the same records are tried again."""
        delay = delay_after(failures)
        _log.warning("%s; trying again in %.1f s", error, delay)
        self._figures.trouble(error.server)
        end = time.monotonic() + delay
        while not stopped() and time.monotonic() < end:
            self._source.idle(min(delay, _TICK))

    # ------------------------------------------------------------------ one batch
    def _carry(self, records: Sequence[Record]) -> None:
        decoder = Decoder(self._parameters(), self._unknown, time.time())
        made: list[list[Outgoing]] = []
        faults: dict[int, PermanentError] = {}
        for at, record in enumerate(records):
            try:
                made.append(self._decode(decoder, record))
            except PermanentError as fault:
                faults[at] = fault
                made.append([self._dead_letter(record, fault)])
        positions: dict[Partition, int] = {(one.topic, one.partition): one.offset + 1 for one in records}
        self._commit(records, made, faults, positions)
        self._figures.forwarded(sum(map(len, made)))
        for cost in faults.values():
            self._figures.dead_letter(cost.reason)

    def _commit(
        self,
        records: Sequence[Record],
        made: list[list[Outgoing]],
        faults: dict[int, PermanentError],
        positions: dict[Partition, int],
    ) -> None:
        """Commit, with a dead letter in place of what Kafka refuses; of one that is refused too, only the headers."""
        stubs: set[int] = set()
        while True:
            try:
                self._transaction.commit([outgoing for some in made for outgoing in some], positions)
            except RefusedError as refusal:
                at = _whose(made, refusal.index)
                if at in stubs:
                    raise
                if at in faults:
                    stubs.add(at)
                fault = faults.setdefault(at, refusal)
                made[at] = [self._dead_letter(records[at], fault, stub=at in stubs)]
            else:
                return

    def _decode(self, decoder: Decoder, record: Record) -> list[Outgoing]:
        try:
            found = decoder.measurements(read_raw(record.value))
            return [Outgoing(self._decoded_topic, one.device_id.encode(), one.encode()) for one in found]
        except PermanentError:
            raise
        except Exception as error:  # a fault of ours in one decoder must not hold up every device for ever
            _log.exception("%s/%d@%d could not be decoded", record.topic, record.partition, record.offset)
            raise PermanentError("defect", f"{type(error).__name__}: {error}") from error

    def _dead_letter(self, record: Record, fault: PermanentError, *, stub: bool = False) -> Outgoing:
        letter = DeadLetter(*record, stage="processor", reason=fault.reason, error=fault.message)
        return letters.outgoing(letter, self._raw_topic, stub=stub)


def _whose(made: Sequence[Sequence[Outgoing]], index: int) -> int:
    """Return which input an output belongs to."""
    for at, some in enumerate(made):
        index -= len(some)
        if index < 0:
            return at
    raise IndexError(index)
