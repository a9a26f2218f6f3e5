"""The sink: measurements become rows, each stored exactly once.

The offsets of what was read are stored with the rows, in one transaction, so that neither a crash nor a record that is
read again can lose a row or store it twice. An offset is only moved from where this sink believes it to be: where the
group has given a partition to another sink meanwhile, the slow one stores nothing.

While the database stores one batch, the next one is read and decoded.

A record that the database never takes is found by halving its batch. It is written to the dead letters before its
offset is moved, so that it is never lost; after a crash between the two it is written there twice, and its topic,
partition and offset tell that it is the same.
"""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from iot2mqtt_pipeline.errors import PermanentError, TransientError
from iot2mqtt_pipeline.patience import delay_after
from iot2mqtt_pipeline.record import Row, read_measurement, rows
from iot2mqtt_pipeline.stage import (
    DeadLetter,
    DeadLetters,
    Figures,
    Move,
    NoFigures,
    Partition,
    Record,
    Source,
    Stopped,
    Store,
)

_log = logging.getLogger("iot2mqtt.pipeline.sink")

UPKEEP_EVERY = 30.0
"""Seconds between two times that the store is told to keep its tables in order."""
_QUIET = 0.5
_TICK = 0.25
_LAG_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class _Flight:
    """A batch that is being stored.

    Attributes:
        records: What was read.
        made: The rows of each.
        begin: Where the offsets are believed to be before; moved as parts of the batch are stored.
        began: When it was launched.
        stored: The number of duplicates, or what went wrong.
    """

    records: Sequence[Record]
    made: Sequence[list[Row]]
    begin: dict[Partition, int]
    began: float
    stored: Future[int]


class Sink:
    """Stores batches.

    Args:
        source: Where measurements come from.
        store: Where rows and offsets go together.
        dead_letters: Where records go that the store never takes.
        batch_size: Records of one transaction at the most.
        batch_timeout: Seconds after the first record after which a smaller batch is stored.
        figures: Counts what happens.
    """

    def __init__(
        self,
        *,
        source: Source,
        store: Store,
        dead_letters: DeadLetters,
        batch_size: int,
        batch_timeout: float,
        figures: Figures | None = None,
    ) -> None:
        self._source = source
        self._store = store
        self._dead_letters = dead_letters
        self._batch_size = batch_size
        self._batch_timeout = batch_timeout
        self._figures = figures or NoFigures()
        self._next: dict[Partition, int] = {}
        self._polled: dict[Partition, int] = {}
        self._launched: dict[Partition, int] = {}
        self._flight: _Flight | None = None
        self._set_aside: set[tuple[Partition, int]] = set()
        self._upkeep_at = 0.0
        self._lag_at = 0.0

    def run(self, stopped: Stopped) -> None:
        """Store batches until told to stop; what was polled and not stored is read again by whoever comes next.

        Raises:
            ConfigurationError: The tables are missing, or not ours to write.
        """
        try:
            with ThreadPoolExecutor(1, thread_name_prefix="sink") as writer:
                self._loop(writer, stopped)
        finally:
            self._source.close()
            self._store.close()

    def _loop(self, writer: ThreadPoolExecutor, stopped: Stopped) -> None:
        failures = 0
        while not stopped():
            try:
                self._round(writer)
                failures = 0
            except TransientError as error:
                failures += 1
                self._pause(error, failures, stopped)
        try:
            self._settle()
        except TransientError as error:
            _log.warning("%s; the last batch is read again by whoever comes next", error)

    def _round(self, writer: ThreadPoolExecutor) -> None:
        now = time.monotonic()
        if now >= self._upkeep_at:
            self._settle()
            self._upkeep_at = now + UPKEEP_EVERY
            self._upkeep()
        records = self._admitted(self._poll())
        made = self._decoded(records)
        self._settle()
        if records:
            self._launch(writer, records, made)
        if now >= self._lag_at:
            self._figures.lag(self._source.lag())
            self._lag_at = now + _LAG_EVERY

    def _upkeep(self) -> None:
        """Keep the tables in order, if that is possible now: rows can be stored for days without."""
        try:
            self._store.upkeep()
        except (TransientError, PermanentError) as error:
            _log.warning("%s; the tables could not be kept in order, which is tried again in %g s", error, UPKEEP_EVERY)
            self._figures.trouble("database")

    def _pause(self, error: TransientError, failures: int, stopped: Stopped) -> None:
        """Give the batch back and wait: it is read again, so that memory stays flat however long this takes."""
        delay = delay_after(failures)
        _log.warning("%s; trying again in %.1f s", error, delay)
        self._figures.trouble(error.server)
        if self._flight is not None:
            wait([self._flight.stored])
            self._flight = None
        self._source.seek(self._polled | self._launched)
        self._launched = {}
        # What is stored is asked for anew: a connection that broke may have done so before or after the commit.
        self._next.clear()
        end = time.monotonic() + delay
        while not stopped() and (left := end - time.monotonic()) > 0:
            self._source.idle(min(left, _TICK))

    # ------------------------------------------------------------------ reading
    def _poll(self) -> list[Record]:
        self._polled = {}
        last: dict[Partition, int] = {}
        records = self._take([], last, self._batch_size, _QUIET)
        deadline = time.monotonic() + self._batch_timeout
        while records and len(records) < self._batch_size and (left := deadline - time.monotonic()) > 0:
            records = self._take(records, last, self._batch_size - len(records), left)
        return records

    def _take(self, before: list[Record], last: dict[Partition, int], limit: int, timeout: float) -> list[Record]:
        """Return what was polled before and now; what comes again, as the group gave a partition anew, is there once.

        Args:
            before: What was polled before.
            last: The last offsets of that, which are moved on.
            limit: How many records to poll at the most.
            timeout: Seconds that the first of them may take.
        """
        first: dict[Partition, int] = {}
        again: dict[Partition, int] = {}
        found = self._source.poll(limit, timeout)
        for record in found:
            place = record.topic, record.partition
            if place not in first:
                first[place] = record.offset
                if record.offset <= last.get(place, -1):
                    again[place] = record.offset
            last[place] = record.offset
        for place, offset in first.items():
            self._polled[place] = min(offset, self._polled.get(place, offset))
        if again:
            before = [one for one in before if one.offset < again.get((one.topic, one.partition), one.offset + 1)]
        before.extend(found)
        return before

    def _admitted(self, records: Sequence[Record]) -> list[Record]:
        """Return the records that follow what is stored; where others came, read on from there."""
        # A partition that goes back to what was read may be one that was made anew since.
        asked = sorted(one for one, first in self._polled.items() if first < self._next.get(one, first + 1))
        if asked:
            self._settle()
            stored = self._store.offsets(asked)
            for partition in asked:
                self._next[partition] = stored.get(partition, self._polled[partition])
        # Offsets may jump ahead in a partition that is read on, but a first record ahead of what is stored is a gap.
        astray = {one for one in asked if self._polled[one] != self._next[one]}
        if astray:
            self._source.seek({partition: self._next[partition] for partition in astray})
            records = [one for one in records if (one.topic, one.partition) not in astray]
        return list(records)

    # ------------------------------------------------------------------ one batch
    def _decoded(self, records: Sequence[Record]) -> list[list[Row]]:
        """Return the rows of each record; what is no measurement has none, and goes to the dead letters."""
        made: list[list[Row]] = []
        letters = []
        for record in records:
            try:
                made.append(_rows(record))
            except PermanentError as fault:
                letters.append(_letter(record, fault))
                made.append([])
        self._aside(letters)
        return made

    def _launch(self, writer: ThreadPoolExecutor, records: Sequence[Record], made: Sequence[list[Row]]) -> None:
        """Begin to store a batch."""
        ends = _ends(records)
        begin = {partition: self._next[partition] for partition in ends}
        stored = writer.submit(self._store.write, _flat(made), _moves(begin, ends))
        self._flight = _Flight(records, made, begin, time.monotonic(), stored)
        self._launched = self._polled
        self._next |= ends
        self._figures.received(len(records))

    def _settle(self) -> None:
        """Wait for the batch that is being stored, if there is one."""
        flight, self._flight = self._flight, None
        if flight is None:
            return
        try:
            self._count(flight.made, flight.stored.result())
        except PermanentError as fault:
            self._halve(flight.records, flight.made, flight.begin, fault)
        self._launched = {}
        self._set_aside = {(one, offset) for one, offset in self._set_aside if offset >= self._next.get(one, 0)}
        self._figures.batch(len(flight.records), time.monotonic() - flight.began)

    def _put(self, records: Sequence[Record], made: Sequence[list[Row]], begin: dict[Partition, int]) -> None:
        ends = _ends(records)
        try:
            duplicates = self._store.write(_flat(made), _moves(begin, ends))
        except PermanentError as fault:
            self._halve(records, made, begin, fault)
        else:
            begin |= ends
            self._count(made, duplicates)

    def _halve(
        self, records: Sequence[Record], made: Sequence[list[Row]], begin: dict[Partition, int], fault: PermanentError
    ) -> None:
        """Store the halves of what the database has refused, down to the record that is at fault."""
        if len(records) == 1:
            self._aside([_letter(records[0], fault)])
            self._put(records, [[]], begin)
        else:
            middle = len(records) // 2
            self._put(records[:middle], made[:middle], begin)
            self._put(records[middle:], made[middle:], begin)

    def _count(self, made: Sequence[list[Row]], duplicates: int) -> None:
        self._figures.forwarded(sum(bool(some) for some in made))
        if duplicates:
            self._figures.duplicates(duplicates)

    def _aside(self, letters: Sequence[DeadLetter]) -> None:
        """Write dead letters, unless an earlier attempt at the same batch has done so."""
        new = [one for one in letters if _place(one) not in self._set_aside]
        if not new:
            return
        self._dead_letters.write(new)
        for letter in new:
            self._set_aside.add(_place(letter))
            self._figures.dead_letter(letter.reason)
            _log.warning("%s/%d@%d: %s", letter.topic, letter.partition, letter.offset, letter.error)


def _rows(record: Record) -> list[Row]:
    try:
        return rows(read_measurement(record.value))
    except PermanentError:
        raise
    except Exception as error:  # a fault of ours in one record must not hold up all that follow for ever
        _log.exception("%s/%d@%d could not be read", record.topic, record.partition, record.offset)
        raise PermanentError("defect", f"{type(error).__name__}: {error}") from error


def _letter(record: Record, fault: PermanentError) -> DeadLetter:
    return DeadLetter(*record, stage="sink", reason=fault.reason, error=fault.message)


def _place(letter: DeadLetter) -> tuple[Partition, int]:
    return (letter.topic, letter.partition), letter.offset


def _ends(records: Sequence[Record]) -> dict[Partition, int]:
    return {(one.topic, one.partition): one.offset + 1 for one in records}


def _moves(begin: dict[Partition, int], ends: dict[Partition, int]) -> dict[Partition, Move]:
    return {partition: (begin[partition], end) for partition, end in ends.items()}


def _flat(made: Sequence[list[Row]]) -> list[Row]:
    return [row for some in made for row in some]
