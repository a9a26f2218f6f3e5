"""The text of a failed clause: enough to mend the connector from it alone."""

from collections.abc import Iterator

from iot2mqtt_conformance.contract import Clause
from iot2mqtt_conformance.report.telling import INSTANCE, in_short, is_noise, printable, root_of, shortened, tell
from iot2mqtt_conformance.transcript import Record, Transcript
from iot2mqtt_conformance.verdict import Ruling, Standing

BEFORE = 4
"""Records that are shown before a decisive one."""
AFTER = 6
"""Records that are shown after it: where something is missing, they show what came instead."""
MOST = 24
DECISIVE = 6
WIDTH = 200
TAIL = 6
LINGER = 1.0
"""Seconds after the last decisive record in which what the connector prints still belongs to it."""


def explain(clause: Clause, ruling: Ruling, transcript: Transcript, again: str) -> str:
    """Return the explanation of a clause that turned out other than it should.

    Args:
        clause: The clause.
        ruling: Its verdict and what that means.
        transcript: What happened, for the lines around the evidence.
        again: The command that runs this clause again.
    """
    head = f"{clause.id} ({clause.level}): {clause.text}"
    if ruling.standing is Standing.UNEXPECTED_PASS:
        return "\n".join([head, "", *_unexpected(clause, ruling), "", f"again:    {again}"])
    verdict = ruling.verdict
    root = root_of(transcript, transcript.records[max(verdict.evidence)].run) if verdict.evidence else ""
    parts = [head, "", f"expected: {in_short(verdict.expected, root)}", f"seen:     {in_short(verdict.seen, root)}"]
    if verdict.hint:
        parts.append(f"hint:     {in_short(verdict.hint, root)}")
    if verdict.evidence:
        parts += ["", *_wire(transcript, verdict.evidence), *_output(transcript, verdict.evidence)]
    return "\n".join([*parts, "", f"again:    {again}"])


def _unexpected(clause: Clause, ruling: Ruling) -> Iterator[str]:
    yield f"expected: a failure, because [expected_failures] says: {printable(ruling.reason)}"
    yield "seen:     the clause is honoured"
    yield f"hint:     take {clause.id} out of [expected_failures], so that it stays honoured"


def around(transcript: Transcript, evidence: tuple[int, ...]) -> list[tuple[Record, bool]]:
    """Return the records around the last evidence, of the same launch, and whether each is decisive."""
    decisive = set(evidence[-DECISIVE:])
    run = transcript.records[max(decisive)].run
    mine = [r for r in transcript.of(run) if r.i in decisive or not is_noise(r)]
    near = {n for number, r in enumerate(mine) if r.i in decisive for n in range(number - BEFORE, number + AFTER + 1)}
    return [(mine[n], mine[n].i in decisive) for n in sorted(near) if 0 <= n < len(mine)][-MOST:]


def _wire(transcript: Transcript, evidence: tuple[int, ...]) -> Iterator[str]:
    run = transcript.records[max(evidence)].run
    root = root_of(transcript, run)
    yield f"wire of the launch {run} (seconds; > decisive, → connector sends, ← connector receives):"
    for record, decides in around(transcript, evidence):
        yield f"{'>' if decides else ' '} {record.t:9.3f}  {tell(record, root, decides=decides)}"
    if root:
        yield f"{INSTANCE} is {root}; acknowledgements are left out"


def output(transcript: Transcript, evidence: tuple[int, ...]) -> list[str]:
    """Return what the connector had printed last when the evidence was complete; all of its end where it ended."""
    last = transcript.records[max(evidence)]
    told = [r for r in transcript.of(last.run) if r.kind == "out" and r.t <= last.t + LINGER]
    return [shortened(printable(r.data["line"]), WIDTH) for r in told[-TAIL:]]


def _output(transcript: Transcript, evidence: tuple[int, ...]) -> list[str]:
    lines = output(transcript, evidence)
    return ["", "the connector's last lines until then:", *(f"  {text}" for text in lines)] if lines else []
