"""What happened, as a list of timed records: written by scenarios, read by judges.

A record is small and JSON-able, so that a transcript on disk (one record a line) and the one in memory are the
same thing: judging either gives the same verdicts.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT = 1


class TranscriptError(Exception):
    """A transcript on disk cannot be judged: it is truncated, edited or of another version."""


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that happened.

    Attributes:
        i: Its place in the transcript.
        t: Seconds since the transcript began (monotonic).
        run: The launch it belongs to, such as `boot`; empty for the suite itself.
        kind: What it is, such as `packet`, `out`, `proc.exit` or `step`.
        data: The facts.
    """

    i: int
    t: float
    run: str
    kind: str
    data: dict[str, Any]


class Transcript:
    """Records in the order in which they happened."""

    def __init__(self, records: Iterable[Record] = (), *, wall: float = 0.0) -> None:
        self.records: list[Record] = list(records)
        self.wall = wall

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def runs(self) -> list[str]:
        """Return the names of all launches, in the order in which they began."""
        return [record.run for record in self.records if record.kind == "run"]

    def of(self, run: str) -> list[Record]:
        """Return the records of one launch."""
        return [record for record in self.records if record.run == run]

    def dump(self) -> str:
        """Return the transcript as NDJSON: a header line, a line a record, and a closing line that counts them."""
        lines = [json.dumps({"format": FORMAT, "wall": self.wall})]
        lines += [json.dumps([r.i, r.t, r.run, r.kind, r.data]) for r in self.records]
        lines.append(json.dumps({"records": len(self.records)}))
        return "\n".join(lines) + "\n"


def load(path: Path) -> Transcript:
    """Read a transcript from disk.

    Raises:
        TranscriptError: The file is not a whole transcript of this version.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    try:
        header, *body, footer = (json.loads(line) for line in lines)
        records = [Record(*fields) for fields in body]
        whole = header["format"] == FORMAT and footer["records"] == len(records)
    except (ValueError, TypeError, KeyError) as error:
        raise TranscriptError(f"{path} is not a whole transcript ({error}): record it again") from None
    if not whole:
        raise TranscriptError(f"{path} is cut short or of another version: record it again")
    return Transcript(records, wall=header["wall"])


Predicate = Callable[[Record], bool]


class Recorder:
    """Collects records while scenarios run, and wakes those that wait for one."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.transcript = Transcript(wall=round(time.time(), 6))
        self._waiting: list[tuple[str, Predicate, asyncio.Future[Record]]] = []

    def now(self) -> float:
        """Return the seconds since the transcript began."""
        return round(time.monotonic() - self._began, 6)

    def add(self, run: str, kind: str, **data: Any) -> Record:
        """Append a record and wake whoever waits for it."""
        record = Record(len(self.transcript.records), self.now(), run, kind, data)
        self.transcript.records.append(record)
        for waiting_run, predicate, future in self._waiting:
            if waiting_run == run and not future.done() and predicate(record):
                future.set_result(record)
        return record

    async def wait(self, run: str, predicate: Predicate, *, since: int, seconds: float) -> Record | None:
        """Return the first record of a launch that fits, from index `since` on, or None once the time is up."""
        for record in self.transcript.records[since:]:
            if record.run == run and predicate(record):
                return record
        future: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
        entry = (run, predicate, future)
        self._waiting.append(entry)
        try:
            return await asyncio.wait_for(future, seconds)
        except TimeoutError:
            return None
        finally:
            self._waiting.remove(entry)
