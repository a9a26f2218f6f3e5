"""The summary at the end of a run."""

from collections.abc import Iterator

from iot2mqtt_conformance.clauses import JUDGES
from iot2mqtt_conformance.contract import Clause, clauses
from iot2mqtt_conformance.report.data import Judged, Result, count
from iot2mqtt_conformance.report.telling import printable
from iot2mqtt_conformance.verdict import Outcome, Ruling, Standing

SLOWEST = 3
COLUMN = 9
WORTH_SAYING = 1.0
"""Seconds without a processor from which on they may explain something."""


def summary(judged: Judged) -> list[str]:
    """Return the verdicts by area, what does not count as a failure and why, and the figures."""
    if judged.played.smoke is not None:
        cause = printable(judged.played.smoke.splitlines()[0])
        return [f"{judged.name}: not judged, because it did not come online: {cause}"]
    counts = judged.counts()
    said = ", ".join(f"{number} {standing}" for standing, number in counts.items()) or "no clause was asked for"
    known = f"{len(JUDGES)} of the contract's {len(clauses())} clauses are judged by this version"
    lines = [f"{judged.name}: {said}; {known}", ""]
    lines += [*_table(judged, list(counts)), ""]
    lines += [*_warnings(judged), *_expected(judged), *_reasons(judged, Standing.NOT_APPLICABLE)]
    lines += _reasons(judged, Standing.NOT_JUDGED)
    lines += [f"slowest: {', '.join(_slowest(judged))}"] if _slowest(judged) else []
    round_trip = judged.played.round_trip * 1000
    lines.append(f"played in {judged.seconds:.1f} s; one question and answer took {round_trip:.1f} ms")
    stood = judged.played.view.longest_stall
    if stood > WORTH_SAYING:
        lines.append(
            f"this machine gave the suite no processor for up to {stood:.1f} s: times were judged with so much more"
        )
    unseen = judged.counts().get(Standing.NOT_JUDGED)
    if unseen:
        lines.append(f"partial: {unseen} clauses were not judged, because the connector was running already")
    elif judged.result is Result.PARTIAL:
        lines.append(f"partial: {len(judged.rulings)} of {len(JUDGES)} clauses were asked for")
    return lines


def _table(judged: Judged, columns: list[Standing]) -> Iterator[str]:
    yield _row("area", columns, [str(standing) for standing in columns])
    by_area: dict[str, list[Ruling]] = {}
    for clause, ruling in judged.in_order():
        by_area.setdefault(clause.area, []).append(ruling)
    for area, rulings in by_area.items():
        counts = count(rulings)
        yield _row(area, columns, [str(counts.get(standing, "·")) for standing in columns])


def _row(first: str, columns: list[Standing], cells: list[str]) -> str:
    widths = (max(len(standing), COLUMN) + 2 for standing in columns)
    return f"  {first:<8}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _with(judged: Judged, standing: Standing) -> list[tuple[Clause, Ruling]]:
    return [(clause, ruling) for clause, ruling in judged.in_order() if ruling.standing is standing]


def _warnings(judged: Judged) -> Iterator[str]:
    found = _with(judged, Standing.WARNING)
    if not found:
        return
    yield "warnings (SHOULD; --iot2mqtt-strict makes them failures):"
    for clause, ruling in found:
        yield f"  {clause.id}  {clause.text}"
        for name in ("expected", "seen", "hint"):
            text = getattr(ruling.verdict, name)
            if text:
                yield f"    {name + ':':<9} {printable(text)}"
    yield ""


def _expected(judged: Judged) -> Iterator[str]:
    found = _with(judged, Standing.EXPECTED_FAILURE)
    if found:
        yield "expected failures:"
        yield from (f"  {clause.id}  {printable(ruling.reason)}" for clause, ruling in found)
        yield ""


def _reasons(judged: Judged, standing: Standing) -> Iterator[str]:
    by_reason: dict[str, list[str]] = {}
    for clause, ruling in _with(judged, standing):
        by_reason.setdefault(ruling.verdict.seen, []).append(clause.id)
    if by_reason:
        yield f"{standing}:"
        yield from (f"  {', '.join(ids)}  {printable(reason)}" for reason, ids in by_reason.items())
        yield ""


def _slowest(judged: Judged) -> list[str]:
    asked = [c for c, ruling in judged.in_order() if ruling.verdict.outcome in (Outcome.PASS, Outcome.FAIL)]
    order = sorted(asked, key=lambda clause: -judged.duration(clause)[0])[:SLOWEST]
    return [f"{clause.id} {judged.duration(clause)[0]:.1f} s ({judged.duration(clause)[1]})" for clause in order]
