"""What happened, as a list of timed records: written by scenarios, read by judges.

A record is small and JSON-able, so that a transcript on disk (one record a line) and the one in memory are the
same thing: judging either gives the same verdicts.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

FORMAT = 2
"""The form of a transcript on disk; counted up whenever an older suite could not read it."""


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


def suite_version() -> str:
    """Return the version of this suite."""
    return version("iot2mqtt-sdk")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a transcript comes from.

    Attributes:
        suite: The version of the suite that played.
        connector: The declaration's name of the connector.
        seed: The seed of generated payloads.
        services: The broker that was used, in words.
        scenarios: Seconds that each played scenario took, by name.
        round_trip: Seconds of one question and answer.
    """

    suite: str = field(default_factory=suite_version)
    connector: str = ""
    seed: int = 0
    services: str = ""
    scenarios: dict[str, float] = field(default_factory=dict)
    round_trip: float = 0.0


class Transcript:
    """Records in the order in which they happened."""

    def __init__(self, records: Iterable[Record] = (), *, wall: float = 0.0, origin: Origin | None = None) -> None:
        self.records: list[Record] = list(records)
        self.wall = wall
        self.origin = origin or Origin()

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
        """Return the transcript as NDJSON: a header, a line a record, and a last line with their count and digest."""
        lines = [json.dumps({"format": FORMAT, "wall": self.wall, **asdict(self.origin)})]
        lines += [json.dumps([r.i, r.t, r.run, r.kind, r.data]) for r in self.records]
        body = "\n".join(lines) + "\n"
        return body + json.dumps({"records": len(self.records), "sha256": _digest(body)}) + "\n"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def load(path: Path) -> Transcript:
    """Read a transcript from disk.

    Raises:
        TranscriptError: The file cannot be read, or is not a whole and unchanged transcript of this version.
    """
    try:
        return _parsed(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise TranscriptError(f"the transcript {path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise TranscriptError(f"the transcript {path} cannot be judged: {_fault(error)}; record it again") from None


def _parsed(text: str) -> Transcript:
    body, _, last = text.removesuffix("\n").rpartition("\n")
    lines = body.split("\n")
    header, closing = json.loads(lines[0] or last), json.loads(last)
    if header["format"] != FORMAT:
        raise ValueError(f"it has the form {header['format']}, and this version reads {FORMAT}")
    if header["suite"] != suite_version():
        raise ValueError(f"version {header['suite']} of the suite recorded it, and this is {suite_version()}")
    if not isinstance(closing, dict) or closing["records"] != len(lines) - 1:
        raise ValueError("it is cut short, or lines were added or taken away")
    if closing["sha256"] != _digest(f"{body}\n"):
        raise ValueError("it was changed after it was recorded, as its digest shows")
    del header["format"]
    records = [Record(*json.loads(line)) for line in lines[1:]]
    return Transcript(records, wall=header.pop("wall"), origin=Origin(**header))


def _fault(error: Exception) -> str:
    """Say what is wrong with a file; faults of JSON and of structure mean that it is no transcript, or half of one."""
    told = isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError | UnicodeDecodeError)
    return str(error) if told else "it is cut short, or no transcript of this suite"


Predicate = Callable[[Record], bool]
STEP = 0.5
"""Seconds after which a wait looks whether it is time to give up."""


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
        """Return the first record of a launch that fits, from index `since` on, or None once the time is up.

        Only time in which the suite itself could work counts: on a machine that is too busy, nothing that a connector
        sends in the meantime has been passed on or seen.
        """
        for record in self.transcript.records[since:]:
            if record.run == run and predicate(record):
                return record
        future: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
        entry = (run, predicate, future)
        self._waiting.append(entry)
        try:
            while seconds > 0 and not future.done():
                # However long the step has really taken.
                step = min(STEP, seconds)
                await asyncio.wait({future}, timeout=step)
                seconds -= step
            return future.result() if future.done() else None
        finally:
            self._waiting.remove(entry)
