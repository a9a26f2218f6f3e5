"""I2M-CMD: commands."""

import json
from typing import Any

from iot2mqtt_conformance.clauses.commanded import (
    answered_again,
    first_response,
    never_online,
    next_send,
    responses,
    same,
    showing,
    unasked,
)
from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.clauses.saying import excerpt
from iot2mqtt_conformance.contract import schema_fault
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.names import DISABLED, UNKNOWN
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Verdict, failed, passed
from iot2mqtt_conformance.view import NOT_JSON, Publication, Run, View

COMMANDED = ("refusals", "bursts", "trouble")
"""Scenarios whose commands are counted too: those that are refused, many at once, and those that take their time."""

ELSEWHERE = ("staleness", "refusals")
"""Scenarios in which commands are refused, some of them without an id: who refuses answers from another place."""


@judges("I2M-CMD-01", "commands")
def commands_are_executed(view: View, _declaration: Declaration) -> Verdict:
    """Each declared writable value is shown by a state that follows the command, and by one that is asked for then."""
    run = view.run("commands")
    sent = run.sent("writable") if run else []
    if run is None or not sent:
        return never_online()
    evidence = []
    for record in sent:
        device = record.data["device"]
        for name, value in record.data["values"].items():
            shown = showing(run.states(device), name, value, after=record.i, before=next_send(run, record))
            if shown is None:
                return _unexecuted(run, record, name, value)
            evidence += [record, shown.record]
            gone = _gone(run, record, name, value)
            if gone is not None:
                return gone
    return passed(evidence)


def _gone(run: Run, sent: Record, name: str, value: Any) -> Verdict | None:
    """Return the failure where a value was shown after its command, and by no state that was asked for then.

    Whether a question is answered at all is the affair of I2M-GET-01.
    """
    device = sent.data["device"]
    later = [r for r in run.steps("send") if r.i > sent.i]
    end = next((r.i for r in later if r.data["probe"] != "writable_seen"), run.records[-1].i + 1)
    asked = [r for r in later if r.i < end]
    states = [p for p in run.states(device) if asked and asked[0].i < p.record.i < end]
    if not states or showing(states, name, value, after=asked[0].i, before=end) is not None:
        return None
    return failed(
        f"{name} = {json.dumps(value)} on devices/{device}/state after it was asked for, as the command"
        f" {json.dumps(sent.data['values'])} that was sent at {sent.t:.1f} s says",
        f"the last of {len(states)} after {len(asked)} questions: {excerpt(states[-1])}",
        at=[sent, asked[0], states[-1].record],
        hint="send the value to the device, and publish what the device then has, not what was commanded",
    )


def _unexecuted(run: Run, sent: Record, name: str, value: Any) -> Verdict:
    """Return the failure of a command that no state shows."""
    device = sent.data["device"]
    states = [p for p in run.states(device) if sent.i < p.record.i < next_send(run, sent)]
    answer = first_response(run, sent.data["id"])
    if states:
        shown = states[-1].shown(name)
        had = f"no {name}" if shown is NOT_JSON else f"{name} = {json.dumps(shown)}"
        seen = f"{had} in the last of {len(states)} after it: {excerpt(states[-1])}"
    else:
        seen = f"no message on devices/{device}/state after it"
    seen += f"; the response: {excerpt(answer)}" if answer else "; no response either"
    return failed(
        f"a message on devices/{device}/state with {name} = {json.dumps(value)} after the command"
        f" {json.dumps(sent.data['values'])} that was sent on devices/{device}/cmd at {sent.t:.1f} s",
        seen,
        at=[sent, *(p.record for p in states), *([answer.record] if answer else [])],
        hint="execute the command, then read the device and publish its state; where the value is none that the device"
        f" takes, mend `writable` of {device} in conformance.toml",
    )


@judges("I2M-CMD-02", "commands", *COMMANDED)
def one_response_to_each_id(view: View, _declaration: Declaration) -> Verdict:
    """Exactly one response of the right form, not retained, to each command with an id; never two to any."""
    run = view.run("commands")
    if run is None:
        return never_online()
    evidence = []
    for record in [*run.sent("writable"), *run.sent("anonymous_barrier")]:
        command_id, device = record.data["id"], record.data["device"]
        expected = (
            f"one response to {command_id} on devices/{device}/cmd/response: cmd_id, status, timestamp; not retained"
        )
        answers = responses(run, command_id)
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
    runs = [run, *(other for scenario in COMMANDED for other in view.runs(scenario))]
    return next(filter(None, map(answered_again, runs)), None) or passed(evidence)


@judges("I2M-CMD-03", "commands", *ELSEWHERE)
def no_response_without_an_id(view: View, _declaration: Declaration) -> Verdict:
    """Executed, and silent: the response to a later command proves it."""
    run = view.run("commands")
    sent = run.sent("anonymous") if run else []
    barrier = run.sent("anonymous_barrier") if run else []
    if run is None or not sent or not barrier:
        return never_online()
    evidence = []
    for record in sent:
        name, value = next(iter(record.data["values"].items()))
        shown = showing(run.states(record.data["device"]), name, value, after=record.i, before=next_send(run, record))
        if shown is None:
            return failed(f"the command without an id executed: a state with {name} = {value!r}", "none", at=[record])
        evidence += [record, shown.record]
    answer = first_response(run, barrier[0].data["id"])
    if answer is None:
        return failed("a response to the command that follows", "none", at=barrier)
    stray = [
        p for p in run.publications if p.levels[-2:] == ["cmd", "response"] and sent[0].i < p.record.i < answer.record.i
    ]
    if stray:
        return failed("no response to a command without an id", f"{stray[0].text}", at=[*sent, stray[0].record])
    runs = [run, *(other for scenario in ELSEWHERE for other in view.runs(scenario))]
    return next(filter(None, map(unasked, runs)), None) or passed([*evidence, answer.record])


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
    shown = showing(run.states(data["device"]), data["property"], data["wanted"], after=sent.i, before=end)
    case = (
        f"the command for {data['device']} with the timestamp {sent.data['timestamp']}, {data['age']} s old when it was"
        f" sent at {sent.t:.1f} s under TZ={run.facts['tz']},"
    )
    hint = "convert the timestamp's offset to UTC (none means UTC) and compare with the UTC clock: over 30 s is too old"
    if data["stale"] and shown is not None:
        return failed(f"{case} not executed", f"it was executed: {excerpt(shown)}", at=[sent, shown.record], hint=hint)
    if not data["stale"] and shown is None:
        value = json.dumps(data["wanted"])
        missing = f"no message on devices/{data['device']}/state with {data['property']} = {value} after it"
        return failed(f"{case} executed", missing, at=[sent], hint=hint)
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
    if not barrier or not responses(run, barrier[0].data["id"]):
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
    done = responses(run, barrier[0].data["id"])[0].record
    return passed([*before, *([seen.record] if seen else []), done])


@judges("I2M-CMD-17", "commands")
def success_says_what_took_effect(view: View, _declaration: Declaration) -> Verdict:
    """`result` holds each commanded property, with the value sent or the one that the next state shows."""
    run = view.run("commands")
    sent = run.sent("writable") if run else []
    if run is None or not run.onlines or not sent:
        return never_online()
    evidence = []
    for record in sent:
        answer = first_response(run, record.data["id"])
        if answer is None or answer.value.get("status") != "success":
            seen = answer.text or "" if answer else "no response"
            return failed(f"the success of {record.data['values']} for {record.data['device']}", seen, at=[record])
        fault = _result_fault(run, record, answer)
        if fault is not None:
            return failed(
                f"`result` in the response to {record.data['id']} with the values that took effect",
                f"{answer.text}: {fault}",
                at=[record, answer.record],
                hint="answer with the values as the device has taken them, by property name",
            )
        evidence += [record, answer.record]
    return passed(evidence)


def _result_fault(run: Run, sent: Record, answer: Publication) -> str | None:
    """Return what is wrong with the result of a successful response."""
    result = answer.value.get("result")
    if not isinstance(result, dict):
        return "it has no result that is an object"
    begin, end = sent.i, next_send(run, sent)
    for name, value in sent.data["values"].items():
        if name not in result:
            return f"result lacks {name}"
        shown = showing(run.states(sent.data["device"]), name, result[name], after=begin, before=end)
        if not same(result[name], value) and shown is None:
            return f"{name} = {result[name]!r} was neither commanded nor shown by a state"
    return None


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
    last = [*done, *run.steps("fuzz_stopped")]
    if ended is not None and (not last or ended.i < last[0].i):
        return failed(
            "the connector alive after strange payloads",
            f"it ended with code {ended.data['code']}{_culprit(run)}",
            at=[*sent[-3:], ended, *run.steps("fuzz_shrunk")],
            hint=_last(run, sent),
        )
    if late or not done:
        return failed(
            "meta/request/info answered after strange payloads",
            f"no answer{_culprit(run)}",
            at=[*sent[-3:], *late, *run.steps("fuzz_shrunk")],
            hint=_last(run, sent),
        )
    lost = next(
        (r for r in run.records if r.kind == "conn.close" and online.i < r.i < done[0].i and not r.data["clean"]), None
    )
    if lost is not None:
        return failed(
            "the connection kept",
            f"it was lost{_culprit(run)}",
            at=[online, lost, *run.steps("fuzz_shrunk")],
            hint=_last(run, [r for r in sent if r.i < lost.i]),
        )
    return passed([*run.sent("fuzz_batch"), *done])


def _culprit(run: Run) -> str:
    """Say which payload does it, where a smallest one was found."""
    found = run.steps("fuzz_shrunk")
    if not found:
        return ""
    data = found[0].data
    payload = data["shown"].encode("latin-1")
    more = "…" if data["size"] > len(payload) else ""
    return f"; one message is enough: {payload!r}{more} ({data['size']} bytes) on {data['suffix']}, and {data['how']}"


def _last(run: Run, sent: list[Record]) -> str:
    found = run.steps("fuzz_shrunk")
    if found:
        data = found[0].data
        least = "no byte of it can be left out" if data["done"] else "a smaller one may do it as well: the time was up"
        return f"it was found from one of {data['of']} bytes in {data['launches']} launches; {least}"
    if not sent:
        return ""
    recent = [f"{r.data['suffix']} {r.data['shown'][:60]!r}" for r in sent[-12:]]
    return "the payloads before it, the last one last: " + "; ".join(recent)
