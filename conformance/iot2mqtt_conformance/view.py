"""How judges look at a transcript: launches, publications and what the connector was asked."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from iot2mqtt_conformance.transcript import Record, Transcript

NOT_JSON = object()
"""What a payload is that is no RFC 8259 JSON text."""


def strict_json(text: str) -> Any:
    """Parse RFC 8259 JSON; NOT_JSON where it is none (NaN and Infinity included)."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return NOT_JSON


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


@dataclass(frozen=True, slots=True)
class Publication:
    """A PUBLISH of the connector.

    Attributes:
        record: Where it stands in the transcript.
        suffix: The topic below the instance; None where the topic lies elsewhere.
        levels: The levels of the suffix.
        text: The payload, or None where it is not UTF-8.
        value: The payload as strict JSON, or NOT_JSON.
    """

    record: Record
    topic: str
    suffix: str | None
    levels: list[str]
    text: str | None
    value: Any
    qos: int
    retain: bool

    @property
    def clears(self) -> bool:
        """Whether this makes the broker forget what it keeps, and says nothing besides."""
        return self.retain and self.text == ""

    def is_state(self) -> bool:
        """Whether this is a device's whole state."""
        levels = self.levels
        return not self.clears and len(levels) == 3 and levels[0] == "devices" and levels[2] == "state"  # noqa: PLR2004

    def shown(self, name: str) -> Any:
        """Return a property's value of a state message, or NOT_JSON where it has none."""
        state = self.value.get("state") if isinstance(self.value, dict) else None
        return state.get(name, NOT_JSON) if isinstance(state, dict) else NOT_JSON


class Run:
    """One launch of the connector, as the transcript shows it."""

    def __init__(self, name: str, records: list[Record], wall: float) -> None:
        self.name = name
        self.records = records
        self.facts = next(record for record in records if record.kind == "run").data
        self._wall = wall

    def time(self, record: Record) -> float:
        """Return the Unix time of a record."""
        return self._wall + record.t

    def packets(self, kind: str, direction: str = "c2b") -> list[Record]:
        """Return the packets of a type, by default those of the connector."""
        return self._packets.get((kind, direction), [])

    @cached_property
    def _packets(self) -> dict[tuple[str, str], list[Record]]:
        found: dict[tuple[str, str], list[Record]] = {}
        for record in self.records:
            if record.kind == "packet":
                found.setdefault((record.data["type"], record.data["dir"]), []).append(record)
        return found

    @cached_property
    def publications(self) -> list[Publication]:
        """Everything that the connector published."""
        root = f"{self.facts['root']}/"
        return [_publication(record, root) for record in self.packets("PUBLISH")]

    def published(self, suffix: str) -> list[Publication]:
        """Return what the connector published on one topic below the instance."""
        return [p for p in self.publications if p.suffix == suffix]

    def states(self, device: str | None = None) -> list[Publication]:
        """Return the whole states, of one device or of all."""
        return [p for p in self._states if device in (None, p.levels[1])]

    @cached_property
    def _states(self) -> list[Publication]:
        return [p for p in self.publications if p.is_state()]

    def steps(self, name: str, **facts: Any) -> list[Record]:
        """Return what the scenario wrote down under a name, with these facts."""
        return [r for r in self._steps.get(name, []) if all(r.data.get(k) == v for k, v in facts.items())]

    @cached_property
    def _steps(self) -> dict[str, list[Record]]:
        found: dict[str, list[Record]] = {}
        for record in self.records:
            if record.kind == "step":
                found.setdefault(record.data["name"], []).append(record)
        return found

    def sent(self, probe: str) -> list[Record]:
        """Return what the scenario sent under a probe's name."""
        return self.steps("send", probe=probe)

    def first(self, kind: str) -> Record | None:
        """Return the first record of a kind."""
        return next((r for r in self.records if r.kind == kind), None)

    @cached_property
    def onlines(self) -> list[Publication]:
        """Every `online` of the connector."""
        return [p for p in self.published("status") if p.text == "online"]

    def lines(self, *, before: Record | None = None) -> list[Record]:
        """Return what the connector printed, up to a record or all of it."""
        limit = before.i if before is not None else float("inf")
        return [r for r in self.records if r.kind == "out" and r.i < limit]

    def ended_before(self, record: Record) -> Record | None:
        """Return the end of the process where it came before a record; in the end it is the rig that ends it."""
        ended = self.first("proc.exit")
        return ended if ended is not None and ended.i < record.i else None

    @property
    def configured(self) -> list[str]:
        """Ids of all configured devices."""
        return [device["device_id"] for device in self.facts["config"]["devices"]]

    @property
    def enabled(self) -> list[str]:
        """Ids of the enabled devices."""
        return [device["device_id"] for device in self.facts["config"]["devices"] if device.get("enabled", True)]

    @property
    def groups(self) -> list[str]:
        """Ids of the configured groups."""
        return [group["group_id"] for group in self.facts["config"].get("groups", [])]


def _publication(record: Record, root: str) -> Publication:
    data = record.data
    topic = data["topic"]
    text = data.get("payload")
    suffix = topic.removeprefix(root) if topic.startswith(root) else None
    value = NOT_JSON if text is None else strict_json(text)
    levels = suffix.split("/") if suffix is not None else []
    return Publication(record, topic, suffix, levels, text, value, data["qos"], data["retain"])


class View:
    """A whole transcript, launch by launch."""

    def __init__(self, transcript: Transcript) -> None:
        self.transcript = transcript
        by_run: dict[str, list[Record]] = {}
        for record in transcript:
            by_run.setdefault(record.run, []).append(record)
        self._stalls = [record for record in by_run.get("", []) if record.kind == "stalled"]
        self._runs = {
            name: Run(name, records, transcript.wall)
            for name, records in by_run.items()
            if any(record.kind == "run" for record in records)
        }

    def run(self, name: str) -> Run | None:
        """Return one launch, or None where it did not happen."""
        return self._runs.get(name)

    def runs(self, prefix: str = "") -> list[Run]:
        """Return the launches of a scenario, or all."""
        return [
            run for name, run in self._runs.items() if name == prefix or name.startswith(f"{prefix}.") or not prefix
        ]

    @property
    def longest_stall(self) -> float:
        """The longest time in seconds in which the machine gave the suite no processor, and likely nobody else."""
        return max((float(record.data["seconds"]) for record in self._stalls), default=0.0)

    def stalled(self, earlier: Record, later: Record) -> float:
        """Return how many seconds between two records the suite stood still."""
        found = 0.0
        for record in self._stalls:
            began = max(earlier.t, record.t - float(record.data["seconds"]))
            found += max(0.0, min(later.t, record.t) - began)
        return found

    def publications(self) -> Iterator[tuple[Run, Publication]]:
        """Yield every publication of every launch."""
        for run in self._runs.values():
            for publication in run.publications:
                yield run, publication


def matches(topic_filter: str, topic: str) -> bool:
    """Whether an MQTT topic filter covers a topic."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    for number, level in enumerate(wanted):
        if level == "#":
            return True
        if number >= len(levels) or level not in ("+", levels[number]):
            return False
    return len(wanted) == len(levels)


def covers(wide: str, narrow: str) -> bool:
    """Whether every topic that the narrow filter matches is matched by the wide one."""
    left, right = wide.split("/"), narrow.split("/")
    for number, level in enumerate(left):
        if level == "#":
            return True
        if number >= len(right) or right[number] == "#":
            return False
        if level not in ("+", right[number]):
            return False
    return len(left) == len(right)


def listening_connections(records: Iterable[Record]) -> frozenset[int]:
    """Return the numbers of the connections that are sent messages; a connector may have others to publish on.

    One that takes up the session of another need not subscribe again.
    """
    return frozenset(r.data["conn"] for r in records if r.kind == "packet" and _listens(r.data))


def _listens(packet: Mapping[str, Any]) -> bool:
    return packet["type"] == "SUBSCRIBE" or (packet["dir"] == "b2c" and bool(packet.get("session_present")))


def given_up(record: Record, listening: frozenset[int]) -> bool:
    """Whether a record shows that one of these connections is given up."""
    return record.kind == "conn.close" and record.data["conn"] in listening
