"""I2M-CMD-10 to 13: many commands at once, commands that arrive again, and commands that were kept."""

from iot2mqtt_conformance.clauses.commanded import (
    deliveries,
    first_after,
    first_response,
    never_online,
    responses,
    same,
    showing,
    stopped_short,
    success_of,
)
from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Verdict, failed, passed
from iot2mqtt_conformance.view import NOT_JSON, Publication, Run, View, strict_json

COMMANDS = 50


@judges("I2M-CMD-10", "bursts")
def commands_take_effect_in_order(view: View, _declaration: Declaration) -> Verdict:
    """Per device, the responses come in the order of the commands, and the last one carried out is what is shown."""
    run = view.run("bursts")
    sent = run.sent("burst") if run else []
    if run is None or not run.onlines or not sent:
        return never_online()
    evidence: list[Record] = []
    for device in {record.data["device"]: None for record in sent}:
        orders = {r.data["id"]: r for r in sent if r.data["device"] == device}
        verdict = _in_order(run, device, orders)
        if isinstance(verdict, Verdict):
            return verdict
        evidence += verdict
    return passed(evidence)


def _in_order(run: Run, device: str, orders: dict[str, Record]) -> Verdict | list[Record]:
    """Return the evidence that one device's commands took effect in order, or the failure."""
    order = [known for known in deliveries(run, f"devices/{device}/cmd") if known in orders]
    answers = [p for command_id in order if (p := first_response(run, command_id)) is not None]
    expected = f"{len(order)} commands for {device} to take effect in the order in which they were sent"
    if not answers:
        return failed(expected, "no response to any of them", at=list(orders.values())[:3])
    swapped = next((n for n in range(1, len(answers)) if answers[n].record.i < answers[n - 1].record.i), None)
    if swapped is not None:
        later, earlier = answers[swapped], answers[swapped - 1]
        return failed(
            f"{expected}, as their responses say",
            f"the response to {later.value['cmd_id']} before that to {earlier.value['cmd_id']}, which was sent first",
            at=[later.record, earlier.record],
            hint="give every device a queue of its own, worked off by one thread or task",
        )
    done = [p for p in answers if p.value.get("status") == "success"]
    if not done:
        return failed(expected, f"none carried out: {answers[-1].text}", at=[answers[-1].record])
    last = orders[done[-1].value["cmd_id"]].data
    asked = next((r for r in run.sent("burst_after") if r.data["device"] == device), None)
    states = [p for p in run.states(device) if asked is not None and p.record.i > asked.i]
    if not states:
        return failed(f"a state of {device} after the commands", "none", at=[done[-1].record])
    seen = states[-1]
    name, shown = last["property"], seen.shown(last["property"])
    if not same(shown, last["value"]):
        return failed(
            f"{expected}: {name} = {last['value']!r}, as the last of them asked",
            f"a state without {name}" if shown is NOT_JSON else f"{name} = {shown!r}",
            at=[orders[last["id"]], done[-1].record, seen.record],
        )
    return [*(p.record for p in answers), seen.record]


@judges("I2M-CMD-11", "bursts")
def a_burst_is_answered(view: View, _declaration: Declaration) -> Verdict:
    """50 commands sent at once get 50 responses."""
    run = view.run("bursts")
    sent = run.sent("burst") if run else []
    if run is None or not run.onlines or len(sent) < COMMANDS:
        return never_online()
    answered = {record.data["id"]: first_response(run, record.data["id"]) for record in sent}
    missing = [record for record in sent if answered[record.data["id"]] is None]
    if missing:
        return failed(
            f"a response to each of {len(sent)} commands that were sent at once",
            f"{len(sent) - len(missing)} responses, none to {missing[0].data['id']}",
            at=[*missing[:3], *run.steps("timeout")],
            hint="queue what arrives: carry nothing out in the callback of the network, and drop nothing",
        )
    return passed([p.record for p in answered.values() if p is not None])


@judges("I2M-CMD-12", "bursts")
def a_repeated_command_is_executed_once(view: View, _declaration: Declaration) -> Verdict:
    """The first command again, after another one: its value does not come back."""
    run = view.run("bursts")
    first = run.sent("repeated_first") if run else []
    if run is None or not run.onlines or not first:
        return never_online()
    between, repeats = run.sent("repeated_between"), run.sent("repeated")
    barrier, asked = run.sent("repeated_barrier"), run.sent("repeated_after")
    if not asked or not repeats:
        return stopped_short(run, "bursts_end") or never_online()
    device, name, value = (first[0].data[key] for key in ("device", "property", "value"))
    once = showing(run.states(device), name, value, after=first[0].i, before=between[0].i)
    then = showing(run.states(device), name, between[0].data["value"], after=between[0].i, before=repeats[0].i)
    if once is None or then is None:
        return failed(
            f"two commands executed: a state of {device} with {name} = {value!r},"
            f" then one with {between[0].data['value']!r}",
            "no such states",
            at=[first[0], *between],
        )
    expected = f"the command {first[0].data['id']} executed once, though it arrived {len(repeats) + 1} times"
    seen = first_after(run, device, asked[0])
    if seen is None or not responses(run, barrier[0].data["id"]):
        return failed(f"{expected}, and the next one answered", "no answer", at=[*repeats[:1], *barrier])
    again = showing(run.states(device), name, value, after=repeats[0].i, before=seen.record.i + 1)
    if again is not None:
        return failed(
            expected,
            f"{name} = {value!r} again, after a later command had set {between[0].data['value']!r}",
            at=[first[0], between[0], repeats[0], again.record],
            hint="remember the ids of executed commands for 5 minutes: MQTT delivers at least once at QoS 1",
        )
    return passed([once.record, then.record, repeats[0], seen.record])


@judges("I2M-CMD-13", "retained")
def kept_commands_are_not_executed(view: View, _declaration: Declaration) -> Verdict:
    """In two launches with different commands kept by the broker, none of them is carried out."""
    runs = view.runs("retained")
    shown: list[Publication] = []
    kept_steps = [step for run in runs for step in run.steps("kept")]
    if len(runs) < 2 or len(kept_steps) < len(runs):  # noqa: PLR2004 - one launch for each value
        return never_online()
    for run, kept in zip(runs, kept_steps, strict=True):
        verdict = _kept(run, kept)
        if isinstance(verdict, Verdict):
            return verdict
        shown.append(verdict)
    pairs = list(zip(kept_steps, shown, strict=True))
    name = kept_steps[0].data["property"]
    if all(same(state.shown(name), kept.data["value"]) for kept, state in pairs):
        values = " and ".join(repr(kept.data["value"]) for kept, _ in pairs)
        return failed(
            f"{kept_steps[0].data['device']} untouched by the commands that the broker had kept before two launches",
            f"{name} = {values}, in each launch what the kept command had asked for",
            at=[record for kept, state in pairs for record in (kept, state.record)],
            hint="leave out messages on command topics that arrive with the retain flag",
        )
    return passed([record for kept, state in pairs for record in (kept, state.record)])


def _kept(run: Run, kept: Record) -> Publication | Verdict:
    """Return what a device showed after its kept command may have been executed, or the failure."""
    sent = run.sent("retained")
    for record in sent:
        command = strict_json(record.data["kept"])
        answer = success_of(run, command["id"])
        if answer is not None:
            return failed(
                f"the retained command {command['id']} on {record.data['suffix']} not executed",
                f"the response {answer.text}",
                at=[record, answer.record],
                hint="leave out messages on command topics that arrive with the retain flag",
            )
    device, name = kept.data["device"], kept.data["property"]
    barrier, asked = run.sent("kept_barrier"), run.sent("kept_after")
    if not sent or not barrier or not asked or not responses(run, barrier[0].data["id"]):
        return failed("a command answered after the kept one", "no response", at=[*sent, *barrier])
    # Where the barrier sets the same property, only what was shown before it counts.
    last = barrier[0].i if name in barrier[0].data["values"] else run.records[-1].i + 1
    states = [p for p in run.states(device) if p.record.i < last and p.shown(name) is not NOT_JSON]
    if not states:
        return failed(f"a state of {device} with {name}", "none", at=[kept, *asked])
    return states[-1]
