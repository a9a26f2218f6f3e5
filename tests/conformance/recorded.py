"""A recorded transcript that tests edit: what one play of the conforming connector brought, and how to change it."""

import fcntl
import os
import pickle
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from iot2mqtt_conformance.transcript import Record, Transcript

Records = list[Record]
Which = Callable[[Record], bool]


def once(name: str, factory: pytest.TempPathFactory, make: Callable[[], Transcript]) -> Transcript:
    """Return what is recorded once in a run of the tests: workers that run beside each other share it."""
    base = factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    file = folder / f"{name}.pickle"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            file.write_bytes(pickle.dumps(make()))
        found: Transcript = pickle.loads(file.read_bytes())  # noqa: S301 - another worker has just written it
    return found


def changed(record: Record, **facts: Any) -> Record:
    """Return a record with other facts."""
    return replace(record, data={**record.data, **facts})


def rebuilt(records: Iterable[Record], wall: float) -> Transcript:
    """Return a transcript of these records, numbered anew."""
    return Transcript([replace(record, i=number) for number, record in enumerate(records)], wall=wall)


def inserted(records: Records, place: int, kind: str, **facts: Any) -> Records:
    """Return the records with one more in a place, of the launch and the time of the one before it."""
    before = records[place]
    new = Record(0, before.t, before.run, kind, facts)
    return [*records[: place + 1], new, *records[place + 1 :]]


def places(records: Records, which: Which) -> list[int]:
    """Return where such records stand; a test that finds none would prove nothing."""
    found = [number for number, record in enumerate(records) if which(record)]
    assert found
    return found


def without(records: Records, which: Which) -> Records:
    """Return the records without such; there must have been some."""
    assert any(map(which, records))
    return [record for record in records if not which(record)]


def sent(record: Record, kind: str = "PUBLISH") -> bool:
    """Whether a record is a packet of the connector."""
    return record.kind == "packet" and record.data["dir"] == "c2b" and record.data["type"] == kind


def state_of(record: Record, device: str | None = None) -> bool:
    """Whether a record is a whole state of a device, or of any."""
    if not sent(record) or record.data.get("payload") == "":
        return False
    levels = record.data["topic"].split("/")
    return levels[-1] == "state" and device in (None, levels[-2])


def online(record: Record) -> bool:
    """Whether a record is `online`."""
    return sent(record) and record.data["topic"].endswith("/status") and record.data.get("payload") == "online"


def step(record: Record, name: str) -> bool:
    """Whether a record is what a scenario has written down under a name."""
    return record.kind == "step" and record.data["name"] == name
