"""I2M-LIFE: life cycle."""

import re

from iot2mqtt_conformance.clauses import saying
from iot2mqtt_conformance.clauses.commanded import deliveries
from iot2mqtt_conformance.clauses.pub import moment
from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.clauses.striking import slack
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.names import EXIT_LIMIT, FEWEST_ANSWERS, GROWTH, RECOVERY, RENAMED
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Outcome, Verdict, failed, passed
from iot2mqtt_conformance.view import Publication, Run, View

ATTEMPTS_A_SECOND = 1.15
"""How often a connector may call while it is refused; timers are not exact."""


def _ends_by(view: View, declaration: Declaration, name: str) -> Verdict:
    run = view.run(f"shutdown.{name.lower()}")
    signalled = run.first("proc.signal") if run else None
    if run is None or signalled is None:
        return failed("a connector that is online before it is stopped", "none")
    limit = min(EXIT_LIMIT, declaration.stop_deadline)
    interval = run.facts["interval"]
    expected = f"the end of the process with code 0 within {limit:.0f} s of {name}, at update_interval {interval:.0f}"
    late = run.steps("timeout", what="the end of the process")
    ended = run.first("proc.exit")
    if late or ended is None or ended.t - signalled.t > limit + slack(view):
        return failed(
            expected,
            f"it was still running {(late or [ended or run.records[-1]])[0].t - signalled.t:.1f} s after the signal",
            at=[signalled, *late, *([ended] if ended else [])],
            hint="wait for the next poll with a wait that the signal ends (an event with a timeout, no sleep)",
        )
    if ended.data["code"] != 0:
        return failed(
            expected,
            saying.ended(ended, signalled),
            at=[signalled, ended],
            hint=f"handle {name}: let the main loop end, publish `offline`, disconnect, and return 0; behind a shell or"
            " another program, start the connector with exec so that the signal reaches it",
        )
    return passed([signalled, ended])


@judges("I2M-LIFE-01", "shutdown")
def sigterm_ends_it(view: View, declaration: Declaration) -> Verdict:
    """SIGTERM: exit code 0 in time."""
    return _ends_by(view, declaration, "SIGTERM")


@judges("I2M-LIFE-02", "shutdown")
def sigint_ends_it(view: View, declaration: Declaration) -> Verdict:
    """SIGINT: exit code 0 in time."""
    return _ends_by(view, declaration, "SIGINT")


@judges("I2M-LIFE-05", "restart", "outage")
def comes_back_after_a_broker_restart(view: View, declaration: Declaration) -> Verdict:
    """Online, answering and publishing within 10 s of the broker's return, whether it has forgotten all or nothing."""
    evidence = []
    for name, memory in (("restart", "without memory"), ("outage", "that has kept its sessions and messages")):
        found = _back(view.run(name), declaration, f"the return of a broker {memory}")
        if isinstance(found, Verdict):
            return found
        evidence += found
    return passed(evidence)


def _back(run: Run | None, declaration: Declaration, what: str) -> Verdict | list[Record]:
    """Return what proves that a connector is back, or the failure."""
    back = run.steps("broker_back") if run else []
    expected = f"online, subscribed and publishing within {RECOVERY:.0f} s of {what}"
    if run is None or not back:
        return failed(expected, "the connector was not online before the broker stopped")
    after = [p for p in run.onlines if p.record.i > back[0].i]
    if not after:
        return _never_back(run, expected, back[0])
    # What becomes of a command that was under way is the affair of I2M-PUB-06.
    late = [r for r in run.steps("timeout") if r.i > back[0].i and "in_flight" not in r.data["what"]]
    if late:
        return failed(
            expected,
            f"`online` at {after[0].record.t:.1f} s, and then no {late[0].data['what'].removeprefix('the ')} for"
            f" {late[0].data['seconds']:.1f} s",
            at=[*back, after[0].record, *late],
            hint="a restarted broker may have forgotten everything: subscribe and publish every state after each"
            " connection",
        )
    said = {p.levels[1]: p.record for p in run.states() if p.record.i > back[0].i and not p.record.data["dup"]}
    silent = [device for device in declaration.enabled if device not in said]
    if silent:
        return failed(
            expected,
            f"`online` at {after[0].record.t:.1f} s, but no new message on"
            f" {', '.join(f'devices/{device}/state' for device in silent)} up to {run.records[-1].t:.1f} s",
            at=[*back, after[0].record],
            hint="publish every state after each `online`, changed or not",
        )
    return [*back, after[0].record, *(said[device] for device in declaration.enabled)]


def _never_back(run: Run, expected: str, back: Record) -> Verdict:
    """Return the failure of a connector that did not come back after the broker's restart."""
    down = run.steps("broker_down") or run.steps("cut") or [back]
    ended = next((r for r in run.records if r.kind == "proc.exit" and down[0].i < r.i), None)
    gone = ended is not None and (ended.t - back.t < RECOVERY)
    attempts = ("conn.open", "conn.refused", "upstream.unreachable")
    calls = [r for r in run.records if r.kind in attempts and r.i > down[0].i]
    after = [r for r in run.packets("CONNECT") if r.i > back.i]
    if ended is not None and gone:
        seen = f"after the broker had stopped, {saying.ended(ended, down[0])}{saying.last_line(run, ended)}"
    elif after:
        seen = f"{len(after)} CONNECT after the broker's return at {back.t:.1f} s, but no `online`"
    else:
        told = f"the last call at {calls[-1].t:.1f} s" if calls else "no call at all since the broker had stopped"
        seen = f"no CONNECT after the broker's return at {back.t:.1f} s; {told}"
    return failed(
        expected,
        seen,
        at=[*down, *calls[-1:], back, *after[:1], *([ended] if ended is not None and gone else [])],
        hint="catch the loss of the connection, and try again for as long as it takes, at most some seconds apart; then"
        " subscribe and publish `online` again",
    )


@judges("I2M-LIFE-03", "away")
def waits_for_the_broker(view: View, _declaration: Declaration) -> Verdict:
    """Started without a broker, the connector is there once the broker is."""
    run = view.run("away")
    there = run.steps("broker_there") if run else []
    limit = there[0].data.get("seconds", RECOVERY) if there else RECOVERY
    expected = f"`online` within {limit:.0f} s of the moment when somebody listens at MQTT_HOST:MQTT_PORT"
    if run is None or not there:
        return failed(expected, "no launch")
    ended = run.ended_before(there[0])
    if ended is not None:
        return failed(
            expected,
            f"the process ended with code {ended.data['code']} while the broker was away",
            at=[ended, *there],
            hint="take a refused connection for a reason to try again, at the first attempt too",
        )
    if not run.onlines:
        seen = "a CONNECT, but no `online`" if run.packets("CONNECT") else "no CONNECT"
        return failed(expected, seen, at=there, hint="try again for as long as it takes, at most some seconds apart")
    return passed([*there, run.onlines[0].record])


_REASON = re.compile(
    r"auth|refus|reject|denied|deny|forbid|credential|password|user.?name|login|permission|connack"
    r"|\b(rc|code|reason)\W{0,4}(5|135)\b",
    re.IGNORECASE,
)
"""What a line holds that says why the broker did not let the connector in."""


@judges("I2M-LIFE-04", "locked_out")
def refused_credentials_are_told_and_tried_again(view: View, _declaration: Declaration) -> Verdict:
    """The refusal is logged with its reason, attempts are not too many, and good credentials are accepted later."""
    run = view.run("locked_out")
    let_in = run.steps("let_in") if run else []
    connects = [r for r in run.packets("CONNECT") if r.i < let_in[0].i] if run and let_in else []
    if run is None or not connects:
        return failed("a CONNECT, which the broker refuses with code 5", "no CONNECT", at=let_in)
    window = let_in[0].t - connects[0].t
    if len(connects) - 1 > window * ATTEMPTS_A_SECOND:
        return failed(
            "attempts at least 1 s apart on average while the credentials are refused",
            f"{len(connects)} CONNECTs in {window:.1f} s",
            at=connects,
            hint="wait before the next attempt, and longer each time",
        )
    refused = next((r for r in run.packets("CONNACK", "b2c") if r.data["code"]), connects[0])
    told = [r for r in run.lines(before=let_in[0]) if r.i > refused.i and _REASON.search(r.data["line"])]
    if not told:
        return failed(
            "a line of output that says why, such as `not authorized` or `bad user name or password`",
            "none",
            at=[refused, *run.lines(before=let_in[0])[-3:]],
            hint="log the reason of CONNACK",
        )
    if run.ended_before(let_in[0]) is None and not run.onlines:
        again = [r for r in run.packets("CONNECT") if r.i > let_in[0].i]
        return failed(
            f"`online` within {RECOVERY:.0f} s of the moment when the broker accepts the credentials",
            "a CONNECT, but no `online`" if again else "no further CONNECT from a process that still runs",
            at=[*let_in, *again],
        )
    return passed([*connects, told[0], *(p.record for p in run.onlines[:1])])


@judges("I2M-LIFE-06", "faults")
def faults_of_the_network_change_nothing(view: View, declaration: Declaration) -> Verdict:
    """After each fault: the same process, online, answering, polling; and no command was executed twice."""
    evidence = []
    runs = view.runs("faults")
    for run in runs:
        fault = _FAULTS[run.name.partition(".")[2]]
        began, end = run.steps("fault"), run.steps("faults_end")
        if not began or not end:
            return failed(f"a connector that is online before {fault}", "none", at=run.records[:1])
        wrong = _harm(run, fault, began[0], end[0])
        if wrong is not None:
            return wrong
        evidence += [*began, *(run.states(device)[-1].record for device in declaration.enabled)]
    if len(runs) < len(_FAULTS):
        return failed(f"launches with {', '.join(_FAULTS.values())}", f"{len(runs)} of them")
    return passed(evidence)


def _harm(run: Run, fault: str, began: Record, end: Record) -> Verdict | None:
    """Return what a fault has done to the connector, or None where it has recovered."""
    ended = run.ended_before(end)
    if ended is not None:
        return failed(
            f"the same process after {fault}",
            f"{saying.ended(ended, began)}{saying.last_line(run, ended)}",
            at=[began, ended],
            hint="take a lost or slow connection for a reason to connect again, not to end",
        )
    after = [p for p in run.onlines if p.record.i > began.i]
    if not after:
        again = [r for r in run.packets("CONNECT") if r.i > began.i]
        return failed(
            f"`online` within {RECOVERY:.0f} s of {fault}",
            f"{len(again)} new CONNECT, but no `online`" if again else "no new CONNECT",
            at=[began, *again[-1:], end],
            hint="connect again at once or after some seconds, subscribe, then publish `online`",
        )
    late = [r for r in run.steps("timeout") if r.i > after[0].record.i]
    if late:
        return failed(
            f"answers and states as before {fault}",
            f"`online` at {after[0].record.t:.1f} s, and then no {late[0].data['what'].removeprefix('the ')} for"
            f" {late[0].data['seconds']:.1f} s",
            at=[began, after[0].record, *late],
            hint="after every connection subscribe again, publish every state, and go on polling",
        )
    twice = _executed_again(run, began)
    if twice is None:
        return None
    return failed(
        f"each command executed once, also after {fault}",
        "a state that shows the value of a command that a later one had replaced",
        at=[began, twice.record],
        hint="remember the ids of commands for five minutes, over reconnections too",
    )


_FAULTS = {
    "reset": "a connection reset",
    "slow_connack": "a CONNACK that took 2 s",
    "lost_puback": "the loss of PUBACKs and of the connection",
    "full": "a broker that acknowledged nothing for 2 s, as with a full disk, and then ended the connection",
    "taken_over": "another client had taken the session over",
}


def _executed_again(run: Run, began: Record) -> Publication | None:
    """Return a new state, after a fault, with the value that the last command before it had replaced."""
    orders = run.steps("executed")
    if not orders:
        return None
    told = orders[0].data
    reached = deliveries(run, f"devices/{told['device']}/cmd")
    if any(sent.data["id"] not in reached or reached[sent.data["id"]].i > began.i for sent in run.sent("once")):
        # With too much unacknowledged the broker holds a command back: whoever gets it late, or never, did it once.
        return None
    for state in run.states(told["device"]):
        stamp = moment(state.value.get("timestamp")) if isinstance(state.value, dict) else None
        fresh = not state.record.data["dup"] and stamp is not None and stamp >= run.time(began)
        if state.record.i > began.i and fresh and state.shown(told["property"]) == told["former"]:
            return state
    return None


@judges("I2M-LIFE-07", "memory")
def memory_does_not_grow(view: View, _declaration: Declaration) -> Verdict:
    """The resident memory of the process and its children, after a warm-up and at the end."""
    run = view.run("memory")
    looks = run.steps("memory") if run else []
    if len(looks) < 2 or looks[-1].data["answered"] - looks[0].data["answered"] < FEWEST_ANSWERS:  # noqa: PLR2004 - before and after
        answered = looks[-1].data["answered"] if looks else 0
        return Verdict(
            Outcome.NOT_RUN,
            seen=f"only {answered} commands were answered in time, too few to tell: exclude the clause with a reason",
        )
    first, last = looks[0].data, looks[-1].data
    # A runtime that collects its garbage now and then has a saw's teeth: their low points tell.
    lowest = min(step.data["resident"] for step in looks[len(looks) * 2 // 3 :])
    grown = lowest - first["resident"]
    if grown >= GROWTH:
        return failed(
            f"resident memory that grows by less than {GROWTH / 1e6:.0f} MB over 2,000 commands",
            f"{grown / 1e6:.1f} MB more over {last['answered'] - first['answered']:,} commands",
            at=looks,
            hint="something is kept of every command or message: a list, a cache, a handler",
        )
    return passed(looks)


@judges("I2M-LIFE-08", "reconfigure")
def a_changed_configuration_takes_effect(view: View, _declaration: Declaration) -> Verdict:
    """After the restart the new devices have states and are listed; of the one that left nothing is said."""
    run = view.run("reconfigure.after")
    changed = run.steps("changed") if run else []
    if run is None or not changed:
        return failed("a connector that is online before its configuration is changed", "none")
    old = changed[0].data["renamed"]
    new = [name for name in (RENAMED, changed[0].data["added"]) if name is not None]
    expected = f"after the restart: {', '.join(new)} in states and devices_list, and nothing of {old}"
    if not run.onlines:
        return failed(expected, "no `online`", at=[*changed, *run.lines()[-3:]])
    missing = [name for name in new if not run.states(name)]
    if missing:
        return failed(expected, f"no state of {', '.join(missing)}", at=changed, hint="read the file at every start")
    ghost = next((p for p in run.publications if p.levels[:2] == ["devices", old] and not p.clears), None)
    if ghost is not None:
        return failed(expected, f"a message on {ghost.topic}", at=[*changed, ghost.record])
    lists = [p for p in run.published("meta/devices_list") if isinstance(p.value, list)]
    listed = {str(entry.get("device_id")) for entry in lists[-1].value if isinstance(entry, dict)} if lists else set()
    if old in listed or not set(new) <= listed:
        return failed(expected, f"devices_list names {sorted(listed)}", at=[*changed, *(p.record for p in lists)])
    return passed([*changed, *(run.states(name)[0].record for name in new), lists[-1].record])


@judges("I2M-LIFE-09", "pair")
def instances_leave_each_other_alone(view: View, _declaration: Declaration) -> Verdict:
    """Two instances are online at once and stay so; what one is told, the other does not do."""
    runs = [run for run in (view.run("pair.one"), view.run("pair.two")) if run is not None]
    evidence = []
    for run in runs:
        end = run.steps("pair_end")
        lost = next((r for r in run.records if _is_loss(r) and (not end or r.i < end[0].i)), None)
        expected = f"two instances below {run.facts['base']}, each online on a connection that lasts"
        if not run.onlines:
            return failed(
                expected, f"{run.facts['instance']} does not come online", at=[*run.records[:1], *run.lines()[-3:]]
            )
        if lost is not None:
            what = "ends" if lost.kind == "proc.exit" else "loses its connection"
            hint = "both must have names of their own: client id, files, ports, locks"
            return failed(expected, f"{run.facts['instance']} {what}", at=[run.onlines[0].record, lost], hint=hint)
        late = run.steps("timeout")
        if late or not end:
            at = late or run.records[:1]
            return failed(expected, f"{run.facts['instance']} does not answer", at=at)
        wrong = _did_it_too(run)
        if wrong is not None:
            return failed(
                "a command changes the instance that it is sent to, and no other",
                f"{wrong.topic} shows the value that the other instance was commanded",
                at=[*run.steps("aside"), wrong.record],
            )
        evidence += [run.onlines[0].record, *run.steps("aside"), *end]
    if len(runs) < 2:  # noqa: PLR2004 - a pair
        return failed("two instances side by side", "not both were launched")
    return passed(evidence)


def _is_loss(record: Record) -> bool:
    """Whether a record is the end of the process, or of a connection that the connector has not ended itself."""
    return record.kind == "proc.exit" or (record.kind == "conn.close" and not record.data["clean"])


def _did_it_too(run: Run) -> Publication | None:
    """Return a state that shows what only the other instance was commanded."""
    for aside in run.steps("aside"):
        told = aside.data
        until = next((r.i for r in run.sent("apart") if r.i > aside.i), float("inf"))
        for state in run.states(told["device"]):
            if aside.i < state.record.i < until and state.shown(told["property"]) == told["commanded"]:
                return state
    return None


@judges("I2M-LIFE-11", "reconfigure")
def leftovers_are_cleared(view: View, _declaration: Declaration) -> Verdict:
    """After the restart the broker keeps nothing of the device that left the configuration."""
    run = view.run("reconfigure.after")
    changed = run.steps("changed") if run else []
    end = run.steps("left_behind") if run else []
    before = changed[0].data["retained_before"] if changed else []
    if not before:
        return failed("retained topics of a device that then leaves the configuration", "none", at=changed)
    gone = changed[0].data["renamed"]
    if not end:
        return failed(
            f"a connector that comes online without {gone}, and clears what is retained of it",
            "no `online`",
            at=changed,
        )
    left = end[0].data["topics"]
    if left:
        return failed(
            f"no retained topic of {gone}, which has left the configuration, after the start",
            f"still retained: {', '.join(left)}",
            at=[*changed, *end],
            hint="look at what is retained at the start, and clear what is nobody's with an empty retained message",
        )
    return passed([*changed, *end])
