"""I2M-CMD: commands."""

from typing import Any

from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.contract import schema_fault
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.names import DISABLED, UNKNOWN
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Verdict, failed, passed
from iot2mqtt_conformance.view import Publication, Run, View


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal; true is not 1."""
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def _next_send(run: Run, record: Record) -> int:
    """Return the index of what was sent next, which is where the time of a probe ends."""
    return next((r.i for r in run.steps("send") if r.i > record.i), run.records[-1].i + 1)


def _showing(states: list[Publication], name: str, value: Any, *, after: int, before: int) -> Publication | None:
    """Return the first state between two records that carries a value."""
    return next((p for p in states if after < p.record.i < before and same(p.shown(name), value)), None)


def _responses(run: Run, command_id: str) -> list[Publication]:
    return [
        p
        for p in run.publications
        if p.levels[-2:] == ["cmd", "response"] and isinstance(p.value, dict) and p.value.get("cmd_id") == command_id
    ]


@judges("I2M-CMD-01", "commands")
def commands_are_executed(view: View, _declaration: Declaration) -> Verdict:
    """Each declared writable value is shown by a state that follows the command."""
    run = view.run("commands")
    sent = run.sent("writable") if run else []
    if run is None or not sent:
        return failed("a connector that is online, so that it can be commanded", "none")
    evidence = []
    for record in sent:
        device = record.data["device"]
        for name, value in record.data["values"].items():
            shown = _showing(run.states(device), name, value, after=record.i, before=_next_send(run, record))
            if shown is None:
                states = [p.record for p in run.states(device) if record.i < p.record.i < _next_send(run, record)]
                return failed(
                    f"a state of {device} with {name} = {value!r} after the command",
                    f"{len(states)} states, none with this value" if states else "no state",
                    at=[record, *states],
                    hint="execute the command, then read the device and publish its state",
                )
            evidence += [record, shown.record]
    return passed(evidence)


@judges("I2M-CMD-02", "commands")
def one_response_to_each_id(view: View, _declaration: Declaration) -> Verdict:
    """Exactly one response of the right form, not retained, to each command with an id."""
    run = view.run("commands")
    if run is None:
        return failed("a connector that is online, so that it can be commanded", "none")
    evidence = []
    for record in [*run.sent("writable"), *run.sent("anonymous_barrier")]:
        command_id, device = record.data["id"], record.data["device"]
        expected = (
            f"one response to {command_id} on devices/{device}/cmd/response: cmd_id, status, timestamp; not retained"
        )
        answers = _responses(run, command_id)
        if len(answers) != 1:
            return failed(expected, f"{len(answers)} responses", at=[record, *(p.record for p in answers)])
        answer = answers[0]
        fault = schema_fault("cmd_response", answer.value)
        if fault is not None or answer.suffix != f"devices/{device}/cmd/response":
            return failed(
                expected, f"{answer.text} on {answer.topic}: {fault or 'another topic'}", at=[record, answer.record]
            )
        if answer.retain:
            return failed(
                expected, "a retained response", at=[record, answer.record], hint="publish responses with retain off"
            )
        evidence += [record, answer.record]
    return passed(evidence)


@judges("I2M-CMD-03", "commands")
def no_response_without_an_id(view: View, _declaration: Declaration) -> Verdict:
    """Executed, and silent: the response to a later command proves it."""
    run = view.run("commands")
    sent = run.sent("anonymous") if run else []
    barrier = run.sent("anonymous_barrier") if run else []
    if run is None or not sent or not barrier:
        return failed("a connector that is online, so that it can be commanded", "none")
    evidence = []
    for record in sent:
        name, value = next(iter(record.data["values"].items()))
        shown = _showing(run.states(record.data["device"]), name, value, after=record.i, before=_next_send(run, record))
        if shown is None:
            return failed(f"the command without an id executed: a state with {name} = {value!r}", "none", at=[record])
        evidence += [record, shown.record]
    answer = next(iter(_responses(run, barrier[0].data["id"])), None)
    if answer is None:
        return failed("a response to the command that follows", "none", at=barrier)
    stray = [
        p for p in run.publications if p.levels[-2:] == ["cmd", "response"] and sent[0].i < p.record.i < answer.record.i
    ]
    if stray:
        return failed("no response to a command without an id", f"{stray[0].text}", at=[*sent, stray[0].record])
    return passed([*evidence, answer.record])


@judges("I2M-CMD-04", "staleness")
def stale_commands_are_not_executed(view: View, _declaration: Declaration) -> Verdict:
    """Older than 30 s: not executed; fresh in any notation: executed."""
    evidence: list[Record] = []
    runs = view.runs("staleness")
    for run in runs:
        probes = run.steps("staleness")
        if not probes:
            return failed("a connector that is online, so that it can be commanded", f"none under TZ={run.facts['tz']}")
        for number, probe in enumerate(probes):
            end = probes[number + 1].i if number + 1 < len(probes) else run.records[-1].i + 1
            verdict = _judge_probe(run, probe, end)
            if isinstance(verdict, Verdict):
                return verdict
            evidence += verdict
    return passed(evidence)


def _judge_probe(run: Run, probe: Record, end: int) -> Verdict | list[Record]:
    """Return the evidence that one staleness probe was handled rightly, or the failure."""
    data = probe.data
    sent = next((r for r in run.sent(data["probe"]) if probe.i < r.i < end), None)
    if sent is None:
        return failed(f"the probe {data['probe']} sent", "it was not", at=[probe])
    shown = _showing(run.states(data["device"]), data["property"], data["wanted"], after=sent.i, before=end)
    case = f"timestamp {sent.data['timestamp']} under TZ={run.facts['tz']}"
    hint = "convert the timestamp's offset to UTC (none means UTC) and compare with the UTC clock"
    if data["stale"] and shown is not None:
        return failed(
            f"a command more than 30 s old not executed: {case}", "it was executed", at=[sent, shown.record], hint=hint
        )
    if not data["stale"] and shown is None:
        return failed(f"a command less than 30 s old executed: {case}", "it was not", at=[sent], hint=hint)
    asked = next((r for r in run.sent(f"seen_{data['probe']}") if r.i > sent.i), None)
    seen = next((p for p in run.states(data["device"]) if asked and p.record.i > asked.i), None)
    if seen is None:
        return failed(f"a state after the probe {data['probe']}", "none", at=[sent])
    return [sent, shown.record if shown else seen.record]


@judges("I2M-CMD-07", "commands")
def commands_to_nobody_change_nothing(view: View, _declaration: Declaration) -> Verdict:
    """An unknown and a disabled device: nothing changes, and the next command is answered."""
    run = view.run("commands")
    before = run.sent("before_nobody") if run else []
    asked = run.sent("after_nobody") if run else []
    if run is None or not before or not asked:
        return failed(
            "a connector that is online, so that it can be commanded", "it did not get so far", at=[*before, *asked]
        )
    device = before[0].data["device"]
    name, value = next(iter(before[0].data["values"].items()))
    begin = run.sent("unknown_device")[0].i
    strange = next((p for p in run.publications if p.is_state() and p.levels[1] in (UNKNOWN, DISABLED)), None)
    if strange is not None:
        return failed("no state of an unknown or disabled device", f"{strange.topic}", at=[strange.record])
    barrier = run.sent("nobody_barrier")
    if not barrier or not _responses(run, barrier[0].data["id"]):
        return failed(
            "a good command answered after commands to an unknown and a disabled device",
            "no response",
            at=[*asked, *barrier],
        )
    changed = next(
        (p for p in run.states(device) if begin < p.record.i < barrier[0].i and not same(p.shown(name), value)), None
    )
    if changed is not None:
        return failed(
            f"{device} unchanged, {name} = {value!r}", f"{name} = {changed.shown(name)!r}", at=[*before, changed.record]
        )
    seen = next((p for p in run.states(device) if p.record.i > asked[0].i), None)
    done = _responses(run, barrier[0].data["id"])[0].record
    return passed([*before, *([seen.record] if seen else []), done])


@judges("I2M-CMD-08", "fuzz")
def no_payload_harms(view: View, _declaration: Declaration) -> Verdict:
    """After every batch of strange payloads the same process answers, and it never goes offline."""
    run = view.run("fuzz")
    if run is None or not run.onlines:
        return failed("a connector that is online, so that it can be tried", "none")
    online = run.onlines[0].record
    done = run.steps("fuzz_end")
    sent = run.sent("fuzz")
    ended = run.first("proc.exit")
    late = run.steps("timeout")
    # The exit after the end of the scenario is the suite's own doing.
    if ended is not None and (not done or ended.i < done[0].i):
        return failed(
            "the connector alive after strange payloads",
            f"it ended with code {ended.data['code']}",
            at=[*sent[-3:], ended],
            hint=_last(sent),
        )
    if late or not done:
        return failed(
            "meta/request/info answered after strange payloads", "no answer", at=[*sent[-3:], *late], hint=_last(sent)
        )
    lost = next(
        (r for r in run.records if r.kind == "conn.close" and online.i < r.i < done[0].i and not r.data["clean"]), None
    )
    if lost is not None:
        return failed(
            "the connection kept", "it was lost", at=[online, lost], hint=_last([r for r in sent if r.i < lost.i])
        )
    return passed([*run.sent("fuzz_batch"), *done])


def _last(sent: list[Record]) -> str:
    if not sent:
        return ""
    recent = [f"{r.data['suffix']} {r.data['shown'][:60]!r}" for r in sent[-12:]]
    return "the payloads before it, the last one last: " + "; ".join(recent)
