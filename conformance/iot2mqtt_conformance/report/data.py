"""A judgement as data: what report.json holds, and what every other view of it is made from."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from iot2mqtt_conformance.clauses import JUDGES
from iot2mqtt_conformance.contract import Clause, clauses
from iot2mqtt_conformance.judging import Played
from iot2mqtt_conformance.verdict import RED, Outcome, Ruling, Standing

VERSION = 1
"""The form of report.json; counted up whenever a program that reads it could break."""


class Result(StrEnum):
    """A whole run in a word."""

    PASS = "pass"  # noqa: S105 - a result, no password
    RESERVATIONS = "pass with reservations"
    PARTIAL = "partial"
    FAIL = "fail"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True, slots=True)
class Judged:
    """What is known of one connector when all is done.

    Attributes:
        name: The connector's name.
        played: What happened.
        rulings: What that means, by clause id.
        seed: The seed of generated payloads.
        services: The broker that was used, in words.
        again: The command that judges everything again.
    """

    name: str
    played: Played
    rulings: dict[str, Ruling]
    seed: int
    services: str
    again: str

    def in_order(self) -> list[tuple[Clause, Ruling]]:
        """Return clauses with their rulings, in the contract's order."""
        return [(clause, self.rulings[clause.id]) for clause in clauses().values() if clause.id in self.rulings]

    def counts(self) -> dict[Standing, int]:
        """Return how many clauses have each standing that occurs."""
        return count(self.rulings.values())

    @property
    def complete(self) -> bool:
        """Whether every clause that this version judges was asked for."""
        return set(self.rulings) == set(JUDGES)

    @property
    def result(self) -> Result:
        """The run in a word."""
        standings = set(self.counts())
        if self.played.smoke is not None:
            return Result.NOT_JUDGED
        if standings & RED or standings == {Standing.NOT_APPLICABLE}:
            return Result.FAIL
        if not self.complete or Standing.NOT_JUDGED in standings:
            return Result.PARTIAL
        return Result.RESERVATIONS if standings & {Standing.WARNING, Standing.EXPECTED_FAILURE} else Result.PASS

    def duration(self, clause: Clause) -> tuple[float, str]:
        """Return the seconds of the slowest scenario that a clause needs, and its name."""
        times = [(self.played.durations.get(name, 0.0), name) for name in JUDGES[clause.id].scenarios]
        return max(times, default=(0.0, ""))

    @property
    def seconds(self) -> float:
        """How long playing took."""
        return max((record.t for record in self.played.transcript), default=0.0)

    @property
    def recorded(self) -> str:
        """When the scenarios were played, in UTC."""
        return datetime.fromtimestamp(self.played.transcript.wall, UTC).isoformat(timespec="seconds")


def count(rulings: Iterable[Ruling]) -> dict[Standing, int]:
    """Return how many rulings have each standing that occurs, in the order of standings."""
    counter = Counter(ruling.standing for ruling in rulings)
    return {standing: counter[standing] for standing in Standing if counter[standing]}


def as_data(judged: Judged) -> dict[str, object]:
    """Return the report as data; report.schema.json describes it."""
    return {
        "version": VERSION,
        "suite": judged.played.transcript.origin.suite,
        "connector": judged.name,
        "result": judged.result.value,
        "complete": judged.complete,
        "recorded": judged.recorded,
        "seed": judged.seed,
        "services": judged.services,
        "seconds": round(judged.seconds, 3),
        "round_trip": judged.played.round_trip,
        "smoke": judged.played.smoke,
        "scenarios": judged.played.durations,
        "counts": {standing.value: number for standing, number in judged.counts().items()},
        "clauses": [_entry(judged, clause, ruling) for clause, ruling in judged.in_order()],
    }


def _entry(judged: Judged, clause: Clause, ruling: Ruling) -> dict[str, object]:
    verdict = ruling.verdict
    asked = verdict.outcome in (Outcome.PASS, Outcome.FAIL)
    return {
        "id": clause.id,
        "area": clause.area,
        "level": clause.level,
        "text": clause.text,
        "outcome": ruling.standing.value,
        "reason": ruling.reason or None,
        "expected": verdict.expected,
        "seen": verdict.seen,
        "hint": verdict.hint,
        "evidence": list(verdict.evidence),
        "scenarios": list(JUDGES[clause.id].scenarios),
        "seconds": judged.duration(clause)[0] if asked else 0.0,
    }
