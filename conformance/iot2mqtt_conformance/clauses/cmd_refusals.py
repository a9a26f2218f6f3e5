"""I2M-CMD-05, 06 and 09: commands that are to be refused."""

from iot2mqtt_conformance.clauses.commanded import (
    first_after,
    never_heard,
    never_online,
    refusal,
    responses,
    same,
    showing,
    status_of,
    stopped_short,
    success_of,
)
from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.names import DISABLED, STRANGE
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Verdict, failed, passed
from iot2mqtt_conformance.view import NOT_JSON, Publication, Run, View

KINDS = {
    "refused_stale": "stale_command",
    "refused_unknown": "unknown_device",
    "refused_disabled": "device_disabled",
    "refused_malformed": "invalid_command",
    "unreadable": "invalid_command",
}
"""The code of each kind of refusal, by the beginning of the probe's name."""
UNREAD = "unreadable_overflow"
"""A command with a number that many a JSON parser cannot hold, and then it has not read the id either."""


@judges("I2M-CMD-05", "refusals")
def every_refusal_says_why(view: View, declaration: Declaration) -> Verdict:
    """One command of each kind: a response with status error, and an error object with the code of the kind."""
    run = view.run("refusals")
    if run is None or not run.onlines:
        return never_online()
    evidence: list[Record] = []
    seen: set[str] = set()
    for sent in run.steps("send"):
        codes = _codes(sent, declaration)
        if codes is None:
            continue
        if DISABLED not in run.configured and "device_disabled" in codes:
            # A connector that runs already knows nothing of the suite's own disabled device.
            codes = (*codes, "unknown_device")
        seen.update(codes)
        if _may_be_silent(run, sent):
            continue
        answer = refusal(run, sent, codes)
        if isinstance(answer, Verdict):
            return answer
        evidence += [sent, answer.record]
    if not {*KINDS.values(), "unsupported_property"} <= seen:
        return stopped_short(run, "refusals_end") or failed("one command of each refused kind", "some were not sent")
    return passed(evidence)


def _may_be_silent(run: Run, sent: Record) -> bool:
    """Whether a refused command without a response is one whose id the connector may not know."""
    if responses(run, sent.data["id"]):
        return False
    stranger = sent.data["probe"] in ("refused_unknown", "refused_disabled")
    return sent.data["probe"] == UNREAD or (stranger and never_heard(run, sent))


def _codes(sent: Record, declaration: Declaration) -> tuple[str, ...] | None:
    """Return the error codes that fit a command, None for one that is not to be refused."""
    probe = sent.data["probe"]
    if probe == "rejected":
        return _codes_of_values(sent, declaration)
    if probe.endswith(("_barrier", "_after", "_end")):
        return None
    return next(((code,) for kind, code in KINDS.items() if probe.startswith(kind)), None)


def _codes_of_values(sent: Record, declaration: Declaration) -> tuple[str, ...]:
    """A property that the device has got a wrong value; one that can only be read may also count as not supported."""
    if STRANGE in sent.data["values"]:
        return ("unsupported_property",)
    device = next(d for d in declaration.devices if d.id == sent.data["device"])
    known = set(sent.data["values"]) <= set(device.writable)
    return ("invalid_value",) if known else ("invalid_value", "unsupported_property")


@judges("I2M-CMD-06", "refusals")
def time_may_be_missing_but_not_wrong(view: View, _declaration: Declaration) -> Verdict:
    """A command without a timestamp is executed, one whose timestamp cannot be read changes nothing."""
    run = view.run("refusals")
    untimed = run.sent("untimed") if run else []
    if run is None or not run.onlines or not untimed:
        return never_online()
    first = untimed[0]
    device = first.data["device"]
    name, value = next(iter(first.data["values"].items()))
    unreadable = [r for r in run.steps("send") if "stamp" in r.data]
    end = unreadable[0].i if unreadable else run.records[-1].i + 1
    shown = showing(run.states(device), name, value, after=first.i, before=end)
    if shown is None:
        states = [p.record for p in run.states(device) if first.i < p.record.i < end]
        return failed(
            f"a command without a timestamp executed: a state of {device} with {name} = {value!r}",
            f"{len(states)} states without it",
            at=[first, *states],
            hint="execute it: only a timestamp that is there can be too old",
        )
    evidence = [first, shown.record]
    for sent in unreadable:
        verdict = _unreadable(run, sent)
        if isinstance(verdict, Verdict):
            return verdict
        evidence += verdict
    return (None if unreadable else stopped_short(run, "refusals_end")) or passed(evidence)


def _unreadable(run: Run, sent: Record) -> Verdict | list[Record]:
    """Return the evidence that a command with an unreadable timestamp was not executed, or the failure."""
    data = sent.data
    device, (name, value) = data["device"], next(iter(data["values"].items()))
    expected = f"a command with the timestamp {data['stamp']} refused: {device} still with {name} = {data['before']!r}"
    hint = "refuse a timestamp that is no ISO 8601 text, as you refuse one that is too old"
    done = run.sent(f"{data['probe']}_barrier")
    asked = run.sent(f"{data['probe']}_after")
    if not done or not asked or not responses(run, done[0].data["id"]):
        return failed(f"{expected}, and the next command answered", "no response to it", at=[sent, *done], hint=hint)
    seen = first_after(run, device, asked[0])
    if seen is None:
        return failed(f"{expected}, in a state after it", "no state", at=[sent, *asked])
    executed = success_of(run, data["id"])
    changed = showing(run.states(device), name, value, after=sent.i, before=seen.record.i + 1)
    if executed is not None or changed is not None:
        wrong = executed or changed
        return failed(expected, "it was executed", at=[sent, *([wrong.record] if wrong else [])], hint=hint)
    return [sent, seen.record]


@judges("I2M-CMD-09", "refusals")
def impossible_values_change_nothing(view: View, declaration: Declaration) -> Verdict:
    """Every rejected value, alone and beside a good one: status error, and the state stays."""
    run = view.run("refusals")
    rejected = run.sent("rejected") if run else []
    if run is None or not run.onlines or not rejected:
        return never_online()
    evidence = []
    for sent in rejected:
        answer = refusal(run, sent)
        if isinstance(answer, Verdict):
            return answer
        evidence += [sent, answer.record]
        late = next((p for p in responses(run, sent.data["id"]) if status_of(p) != "error"), None)
        if late is not None:
            return failed(f"nothing but status error for {sent.data['id']}", f"{late.text}", at=[sent, late.record])
    for device in {sent.data["device"]: None for sent in rejected}:
        verdict = _unchanged(run, device, declaration)
        if isinstance(verdict, Verdict):
            return verdict
        evidence += verdict
    return passed(evidence)


def _unchanged(run: Run, device: str, declaration: Declaration) -> Verdict | list[Record]:
    """Return the evidence that no rejected value changed a device, or the failure."""
    asked = next((r for r in run.sent("rejects_before") if r.data["device"] == device), None)
    asked_again = next((r for r in run.sent("rejects_after") if r.data["device"] == device), None)
    before = first_after(run, device, asked) if asked else None
    after = first_after(run, device, asked_again) if asked_again else None
    if before is None or after is None:
        return failed(
            f"a state of {device} before and after the values that it cannot take", "none", at=[*run.records[-2:]]
        )
    sent = [r for r in run.sent("rejected") if r.data["device"] == device]
    writable = next(d.writable for d in declaration.devices if d.id == device)
    names = {*writable, *(name for record in sent for name in record.data["values"])}
    for state in run.states(device):
        if not before.record.i < state.record.i <= after.record.i:
            continue
        changed = [n for n in sorted(names) if not same(state.shown(n), before.shown(n))]
        # What can only be read may change by itself, but not to what was sent.
        name = next((n for n in changed if n in writable or _causes(sent, n, state)), None)
        if name is not None:
            was = "none" if before.shown(name) is NOT_JSON else repr(before.shown(name))
            now = "none" if state.shown(name) is NOT_JSON else repr(state.shown(name))
            return failed(
                f"{device} unchanged by values that it cannot take: {name} = {was}",
                f"{name} = {now}",
                at=[before.record, *_causes(sent, name, state)[:1], state.record],
                hint="check all values of a command before the first of them is set",
            )
    return [before.record, after.record]


def _causes(sent: list[Record], name: str, state: Publication) -> list[Record]:
    """Return the commands that asked for the value that a state shows."""
    return [r for r in sent if name in r.data["values"] and same(r.data["values"][name], state.shown(name))]
