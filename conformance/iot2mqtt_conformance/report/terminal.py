"""The summary at the end of a run."""

from collections.abc import Iterable
from dataclasses import dataclass

from iot2mqtt_conformance.clauses import JUDGES
from iot2mqtt_conformance.contract import Clause, clauses
from iot2mqtt_conformance.judging import Played
from iot2mqtt_conformance.verdict import Outcome, Verdict

SLOWEST = 3


@dataclass(frozen=True, slots=True)
class Judged:
    """What is known of one connector when all is done."""

    name: str
    played: Played
    verdicts: dict[str, Verdict]
    seconds: float


def summary(judged: Judged) -> list[str]:
    """Return the verdict table by area, the slowest clauses and the figures."""
    if judged.played.smoke is not None:
        return [f"{judged.name}: not judged, because it did not come online: {judged.played.smoke.splitlines()[0]}"]
    lines = [f"{judged.name}: {_total(judged.verdicts.values())}", "", _row("area", *(str(o) for o in Outcome))]
    by_area: dict[str, list[Verdict]] = {}
    for clause in clauses().values():
        if clause.id in judged.verdicts:
            by_area.setdefault(clause.area, []).append(judged.verdicts[clause.id])
    for area, verdicts in by_area.items():
        lines.append(_row(area, *(str(sum(v.outcome is o for v in verdicts) or "·") for o in Outcome)))
    lines += ["", f"slowest: {', '.join(_slowest(judged))}"]
    lines.append(
        f"played in {judged.seconds:.1f} s; one question and answer took {judged.played.round_trip * 1000:.1f} ms"
    )
    return lines


def _row(*cells: str) -> str:
    first, *rest = cells
    return f"  {first:<8}" + "".join(f"{cell:>16}" for cell in rest)


def _total(verdicts: Iterable[Verdict]) -> str:
    counts = dict.fromkeys(Outcome, 0)
    for verdict in verdicts:
        counts[verdict.outcome] += 1
    known = len(clauses())
    said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    return f"{said}; {len(JUDGES)} of the contract's {known} clauses are judged by this version"


def _slowest(judged: Judged) -> list[str]:
    times = {
        clause_id: max((judged.played.durations.get(name, 0.0), name) for name in JUDGES[clause_id].scenarios)
        for clause_id, verdict in judged.verdicts.items()
        if verdict.outcome in (Outcome.PASS, Outcome.FAIL)
    }
    order = sorted(times.items(), key=lambda entry: -entry[1][0])[:SLOWEST]
    return [f"{clause_id} {seconds:.1f} s ({name})" for clause_id, (seconds, name) in order]


def as_json(judged: Judged, *, seed: int, services: str) -> dict[str, object]:
    """Return the report as data."""
    return {
        "connector": judged.name,
        "seed": seed,
        "services": services,
        "seconds": round(judged.seconds, 3),
        "round_trip": judged.played.round_trip,
        "smoke": judged.played.smoke,
        "scenarios": judged.played.durations,
        "clauses": [_entry(clauses()[clause_id], verdict) for clause_id, verdict in judged.verdicts.items()],
    }


def _entry(clause: Clause, verdict: Verdict) -> dict[str, object]:
    return {
        "id": clause.id,
        "level": clause.level,
        "text": clause.text,
        "outcome": verdict.outcome.value,
        "expected": verdict.expected,
        "seen": verdict.seen,
        "evidence": list(verdict.evidence),
    }
