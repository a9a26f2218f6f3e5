"""A recorded transcript that tests can edit."""

import json
from collections.abc import Callable
from typing import Any

from iot2mqtt_conformance.transcript import Record, Transcript
from iot2mqtt_conformance.view import View


class Tape:
    """A transcript that can be edited."""

    def __init__(self, transcript: Transcript, runs: set[str]) -> None:
        self.wall = transcript.wall
        self.records = [r for r in transcript if r.run in runs]

    def view(self) -> View:
        numbered = (Record(i, r.t, r.run, r.kind, r.data) for i, r in enumerate(self.records))
        return View(Transcript(numbered, wall=self.wall))

    def places(self, run: str, fits: Callable[[Record], bool] = lambda _record: True) -> list[int]:
        return [place for place, r in enumerate(self.records) if r.run == run and fits(r)]

    def step(self, run: str, name: str, **facts: Any) -> int:
        """Return the place of the last thing of a name that the scenario wrote down."""
        wanted = {"name": name, **facts}
        return self.places(run, lambda r: r.kind == "step" and wanted.items() <= r.data.items())[-1]

    def published(self, run: str, suffix: str, *, after: int = -1, before: int | None = None) -> list[int]:
        """Return the places of what was published on a topic, or below it where the suffix ends in `/`."""
        last = len(self.records) if before is None else before

        def fits(record: Record) -> bool:
            data = record.data
            if record.kind != "packet" or data["dir"] != "c2b" or data["type"] != "PUBLISH":
                return False
            topic: str = data["topic"]
            return topic.endswith(f"/{suffix}") or (suffix.endswith("/") and f"/{suffix}" in topic)

        return [place for place in self.places(run, fits) if after < place < last]

    def change(self, place: int, **facts: Any) -> None:
        record = self.records[place]
        self.records[place] = Record(record.i, record.t, record.run, record.kind, {**record.data, **facts})

    def value(self, place: int) -> Any:
        return json.loads(self.records[place].data["payload"])

    def say(self, place: int, value: Any, **layout: Any) -> None:
        """Change what was published."""
        self.change(place, payload=json.dumps(value, **layout))

    def drop(self, places: list[int]) -> None:
        gone = set(places)
        self.records = [r for place, r in enumerate(self.records) if place not in gone]

    def insert(self, place: int, kind: str, **data: Any) -> None:
        """Put a record before another one of the same launch."""
        other = self.records[place]
        self.records.insert(place, Record(0, other.t, other.run, kind, data))

    def repeat(self, place: int, **facts: Any) -> None:
        """Put a copy of a record behind it."""
        record = self.records[place]
        self.records.insert(place + 1, Record(0, record.t, record.run, record.kind, {**record.data, **facts}))

    def retime(self, run: str, new: Callable[[float], float]) -> None:
        """Change the times of one launch."""
        self.records = [Record(r.i, new(r.t), r.run, r.kind, r.data) if r.run == run else r for r in self.records]
