"""A recorded transcript that tests edit: what one play of the conforming connector brought, and how to change it."""

import fcntl
import os
import pickle
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from iot2mqtt_conformance.clauses import JUDGES
from iot2mqtt_conformance.declaration import Declaration, load
from iot2mqtt_conformance.judging import play
from iot2mqtt_conformance.services.choose import choose
from iot2mqtt_conformance.transcript import Record, Transcript
from tests.conformance.suite_runs import REFERENCES

Records = list[Record]
Which = Callable[[Record], bool]


def conforming() -> Declaration:
    return load(REFERENCES / "hostile")


def recording(factory: pytest.TempPathFactory) -> Transcript:
    """Play the conforming connector whole, once in a run of the tests: workers that run beside each other share it."""
    base = factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    file = folder / "conforming.pickle"
    with (folder / "conforming.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            file.write_bytes(pickle.dumps(_played()))
        found: Transcript = pickle.loads(file.read_bytes())  # noqa: S301 - another worker has just written it
    return found


def _played() -> Transcript:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("BREAK", raising=False)
        new_broker, _ = choose("auto")
        played = play(conforming(), JUDGES, new_broker=new_broker, seed=7, progress=lambda _line: None)
    assert played.smoke is None, played.smoke
    return played.transcript


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
