"""The text of a failed clause: enough to mend the connector from it alone."""

from typing import Any

from iot2mqtt_conformance.contract import Clause
from iot2mqtt_conformance.report.redact import redacted
from iot2mqtt_conformance.transcript import Record, Transcript
from iot2mqtt_conformance.verdict import Verdict

AROUND = 4
MOST = 30
WIDTH = 160
TAIL = 6


def explain(clause: Clause, verdict: Verdict, transcript: Transcript, again: str) -> str:
    """Return the explanation of a failure.

    Args:
        clause: The clause that is not honoured.
        verdict: The failure.
        transcript: What happened, for the lines around the evidence.
        again: The command that runs this clause again.
    """
    parts = [
        f"{clause.id} ({clause.level}): {clause.text}",
        "",
        f"expected: {verdict.expected}",
        f"seen:     {verdict.seen}",
    ]
    if verdict.hint:
        parts.append(f"hint:     {verdict.hint}")
    if verdict.evidence:
        parts += ["", *_wire(transcript, verdict.evidence), *_output(transcript, verdict.evidence)]
    parts += ["", f"again:    {again}"]
    return "\n".join(parts)


def _wire(transcript: Transcript, evidence: tuple[int, ...]) -> list[str]:
    """The records around the evidence, those of the same launch, with the decisive ones marked."""
    decisive = set(evidence[-6:])
    run = transcript.records[max(decisive)].run
    mine = [r for r in transcript.of(run) if r.kind != "out" and r.data.get("type") not in ("PINGREQ", "PINGRESP")]
    near = {i for number, r in enumerate(mine) if r.i in decisive for i in range(number - AROUND, number + AROUND + 1)}
    shown = [mine[i] for i in sorted(near) if 0 <= i < len(mine)][-MOST:]
    lines = [f"{'>' if r.i in decisive else ' '} {r.t:9.3f}  {line(r)}" for r in shown]
    return [f"wire of the launch {run} (seconds; > decisive, → connector sends, ← connector receives):", *lines]


def _output(transcript: Transcript, evidence: tuple[int, ...]) -> list[str]:
    last = transcript.records[max(evidence)]
    lines = [r.data["line"] for r in transcript.of(last.run) if r.kind == "out" and r.data["stream"] == "stderr"]
    return ["", "stderr of the connector:", *(f"  {text[:WIDTH]}" for text in lines[-TAIL:])] if lines else []


def line(record: Record) -> str:
    """Return one record as one line."""
    data: dict[str, Any] = redacted(record.kind, record.data)
    if record.kind != "packet":
        facts = " ".join(f"{key}={value!r}" for key, value in data.items() if key not in ("config", "environment_set"))
        return f"{record.kind} {facts}"[:WIDTH]
    arrow = "→" if data["dir"] == "c2b" else "←"
    rest = {
        key: value for key, value in data.items() if key not in ("dir", "type", "conn", "topic", "payload", "version")
    }
    topic = f" {data['topic']} {data.get('payload', '')!r}" if "topic" in data else ""
    return (
        f"{arrow} {data['type']}{topic} "
        + " ".join(f"{k}={v!r}" for k, v in rest.items() if v not in (None, False, [], {}))[:WIDTH]
    )
