"""I2M-STATE: device state."""

from bisect import bisect
from collections import defaultdict
from itertools import pairwise
from statistics import median
from typing import Any

from iot2mqtt_conformance.clauses.pub import moment
from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.clauses.striking import Strike, interval_of, lag, says_offline, slack, strike
from iot2mqtt_conformance.clauses.unasked import asked, only_asked
from iot2mqtt_conformance.contract import schema_fault
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Outcome, Verdict, failed, passed
from iot2mqtt_conformance.view import NOT_JSON, Publication, View

STALL = 1.0
"""Seconds that one pause of a device may be longer: a machine with other things to do."""
MOST_DRIFT = 0.25
"""Seconds that a machine which is behind may add to every pause: beyond them a pause after a long poll looks so."""
FREEZE = 1.0
"""Seconds that one pause may be longer while another device is slow; a device that hangs for 4 s adds more."""
NOISE = 0.2
"""Seconds that the usual pause may be longer, beside the tenth of update_interval that the clause allows."""
MOST_LAG = 0.4
"""Seconds that a machine which is behind may add to that: beyond them a device that waits for another looks so."""


@judges("I2M-STATE-01", "boot", "restart")
def every_enabled_device_has_a_state(view: View, declaration: Declaration) -> Verdict:
    """After start-up each enabled device's state is published."""
    boot = view.run("boot")
    missing = [d for d in declaration.enabled if boot is None or not boot.states(d)]
    if boot is None or missing:
        others = sorted({p.suffix or p.topic for p in boot.publications}) if boot else []
        until = f" up to {boot.records[-1].t:.1f} s" if boot else ""
        return failed(
            f"after start-up a message on {', '.join(f'devices/{device}/state' for device in missing)}",
            f"none{until}; published were: {', '.join(others) or 'nothing'}",
            at=[*(p.record for p in boot.onlines[:1]), *boot.steps("timeout")] if boot else [],
            hint="read every enabled device of the instance file right after `online`, and publish its state without"
            " waiting for it to change",
        )
    return only_asked(view, boot) or passed(boot.states(d)[0].record for d in declaration.enabled)


@judges("I2M-STATE-02", "boot", "commands", "get")
def state_messages_have_their_form(view: View, _declaration: Declaration) -> Verdict:
    """timestamp, the topic's device_id, and state, an object."""
    evidence = []
    for run in view.runs():
        for publication in run.states():
            fault = (
                schema_fault("state", publication.value)
                if isinstance(publication.value, dict)
                else "it is no JSON object"
            )
            if fault is None and publication.value["device_id"] != publication.levels[1]:
                fault = f"device_id is {publication.value['device_id']!r}"
            if fault is not None:
                expected = f"{{timestamp, device_id: {publication.levels[1]!r}, state: {{…}}}} on {publication.topic}"
                return failed(
                    expected,
                    f"{publication.text[:200] if publication.text else ''!r}: {fault}",
                    at=[publication.record],
                )
            evidence.append(publication.record)
    return passed(evidence)


@judges("I2M-STATE-03", "polling")
def state_is_repeated_in_time(view: View, declaration: Declaration) -> Verdict:
    """Five rounds: no pause of more than one and a half intervals, and no more repetitions than polls.

    One longer pause a device is put down to the machine, and states between the polls are welcome where they tell of a
    change.
    """
    run = view.run("polling")
    begin = run.steps("rounds") if run else []
    if run is None or not begin:
        return failed("a connector that is online with a state of every device", "it did not get so far")
    interval = interval_of(run, declaration)
    evidence = []
    for device in run.enabled:
        states = [p for p in run.states(device) if p.record.i > begin[0].i]
        fault = _rhythm_fault(states, interval, begin[0].data["rounds"], view)
        if fault is not None:
            return failed(
                f"a state of {device} every {interval:g} s, as update_interval says",
                fault[0],
                at=[*begin, *run.steps("timeout", what=f"a state of {device}"), *fault[1]],
                hint="poll every device at each update_interval, and publish what was read even if nothing has changed",
            )
        evidence += [p.record for p in states]
    return passed(evidence)


def _rhythm_fault(
    states: list[Publication], interval: float, rounds: int, view: View
) -> tuple[str, list[Record]] | None:
    """Return what is wrong with the times of a device's states, and the records that show it."""
    if len(states) <= rounds:
        return f"{len(states)} states, and then none for longer than that", [p.record for p in states]
    tolerance = max(interval * 0.5, 0.5)
    longest = interval + tolerance + min(lag(view), MOST_DRIFT)
    gaps = [(later.record.t - earlier.record.t, earlier, later) for earlier, later in pairwise(states)]
    pauses = _pauses([state.record for state in states], view)
    late = [pause for pause in pauses if pause[0] > longest]
    worst = max(pauses, key=lambda pause: pause[0])
    if len(late) > 1 or worst[0] > longest + STALL:
        return (
            f"{len(late)} of {len(gaps)} pauses were too long, the longest {worst[0]:.2f} s",
            list(worst[1:]),
        )
    early = [gap for gap in gaps if gap[0] < interval - tolerance and _content(gap[1]) == _content(gap[2])]
    if 2 * len(early) > len(gaps):
        return (
            f"{len(early)} of {len(gaps)} states repeat the one before too soon, such as after {early[0][0]:.2f} s",
            [p.record for p in early[0][1:]],
        )
    return None


def _content(publication: Publication) -> Any:
    return publication.value.get("state") if isinstance(publication.value, dict) else publication.text


@judges("I2M-STATE-04", "boot", "commands")
def properties_have_topics_of_their_own(view: View, _declaration: Declaration) -> Verdict:
    """Every property message agrees with the state before or after it, and no change goes without one."""
    evidence: list[Record] = []
    for run in view.runs():
        states, said = defaultdict(list), defaultdict(list)
        for publication in run.publications:
            levels = publication.levels
            if publication.is_state() and _properties(publication):
                states[levels[1]].append(publication)
            elif levels[:1] + levels[2:3] == ["devices", "state"] and len(levels) == 4 and _speaks(publication):  # noqa: PLR2004 - devices/d/state/p
                said[levels[1]].append(publication)
        connected = [packet.i for packet in run.packets("CONNECT")]
        broken = [record.i for record in run.records if record.kind == "conn.close"]
        for device in run.configured:
            disagreement = _disagreement(states[device], said[device], connected)
            fault = disagreement or _untold(states[device], said[device], broken)
            if fault is not None:
                return fault
            evidence += [p.record for p in said[device]]
    return passed(evidence)


def _speaks(publication: Publication) -> bool:
    """Whether a property message says something, and says it for the first time."""
    return bool(publication.text) and not publication.record.data["dup"]


def _properties(publication: Publication) -> dict[str, Any]:
    state = _content(publication)
    return state if isinstance(state, dict) else {}


def _disagreement(states: list[Publication], said: list[Publication], connected: list[int]) -> Verdict | None:
    """Return the failure where no state next to a property message agrees with it.

    What was kept back when a connection broke may be sent after the first messages of the next one.
    """
    holding: dict[str, list[Publication]] = defaultdict(list)
    for state in states:
        for name in _properties(state):
            holding[name].append(state)
    for publication in said:
        name = publication.levels[3]
        # What is no JSON, and a name that is empty, is the affair of I2M-PUB-02 and I2M-PUB-04.
        if not states or publication.value is NOT_JSON or not name:
            continue
        begun = bisect(connected, publication.record.i)
        left = [p for p in holding[name] if begun > 1 and p.record.i < connected[begun - 1]][-1:]
        near = [*left, *_near(publication, holding[name])]
        equal = [p for p in near if _same(p.shown(name), publication.value)]
        if any((p.qos, p.retain) == (publication.qos, publication.retain) for p in equal):
            continue
        other = (equal or near or states)[-1]
        there = f"{name} = {other.shown(name)!r}" if near else f"no {name!r}"
        return failed(
            f"{publication.topic} to agree with the state message: its value, its QoS and its retain flag",
            f"{publication.text!r} at QoS {publication.qos}, {_retained(publication)}; the state has {there} at QoS"
            f" {other.qos}, {_retained(other)}",
            at=[other.record, publication.record],
            hint="publish both from the same reading, with the same flags",
        )
    return None


def _near(publication: Publication, states: list[Publication]) -> list[Publication]:
    """Return the states that a property message may belong to: the one before it and the one after it.

    A partial answer, which is not retained, may come between a state and its properties.
    """
    place = bisect(states, publication.record.i, key=lambda p: p.record.i)
    whole = next((p for p in reversed(states[:place]) if p.retain == publication.retain), None)
    return [*states[max(place - 1, 0) : place], *([whole] if whole else []), *states[place : place + 1]]


def _retained(publication: Publication) -> str:
    return "retained" if publication.retain else "not retained"


def _same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal; true is not 1."""
    if left is NOT_JSON or right is NOT_JSON or isinstance(left, bool) != isinstance(right, bool):
        return False
    return bool(left == right)


def _untold(states: list[Publication], said: list[Publication], broken: list[int]) -> Verdict | None:
    """Return the failure where a property changed, or was there at first, and no message on its topic told so.

    A connection that broke after a state may have taken the property messages with it.
    """
    places: dict[str, list[int]] = {}
    for publication in said:
        places.setdefault(publication.levels[3], []).append(publication.record.i)
    for number, state in enumerate(states[:-2]):
        if any(state.record.i < place < states[number + 2].record.i for place in broken):
            continue
        before = _properties(states[number - 1]) if number else {}
        begin = states[number - 1].record.i if number else -1
        for name, value in _properties(state).items():
            told = any(begin < place < states[number + 2].record.i for place in places.get(name, []))
            if not told and not (name in before and _same(before[name], value)):
                return failed(
                    f"a message on {state.topic}/{name} with {value!r}, because the state has it",
                    "none",
                    at=[state.record],
                    hint="publish every property on its own topic along with the state, however the state came about",
                )
    return None


@judges("I2M-STATE-05", "boot", "commands", "get")
def state_time_does_not_go_back(view: View, _declaration: Declaration) -> Verdict:
    """Per device, each state's timestamp is at least the one before it."""
    evidence: list[Record] = []
    for run in view.runs():
        last: dict[str, tuple[float, Publication]] = {}
        for publication in run.states():
            time = moment(publication.value.get("timestamp")) if isinstance(publication.value, dict) else None
            if time is None or publication.record.data["dup"]:  # sent again because it was not acknowledged
                continue
            device = publication.levels[1]
            before = last.get(device)
            if before is not None and time < before[0]:
                return failed(
                    f"a timestamp of {device} not before {before[1].value['timestamp']}",
                    f"{publication.value['timestamp']}",
                    at=[before[1].record, publication.record],
                )
            if before is not None:
                evidence += [before[1].record, publication.record]
            last[device] = (time, publication)
    return passed(evidence)


@judges("I2M-STATE-06", "restart")
def states_are_there_again(view: View, declaration: Declaration) -> Verdict:
    """After a broker's restart without memory, every enabled device has a retained state in time."""
    run = view.run("restart")
    back = run.steps("broker_back") if run else []
    onlines = [p for p in run.onlines if p.record.i > back[0].i] if run and back else []
    if run is None or not onlines:
        return failed("a connector that comes back after the broker has", "it did not", at=back)
    interval, online = interval_of(run, declaration), onlines[0].record
    limit = interval + max(interval * 0.5, 0.5) + slack(view)
    evidence = [online]
    for device in run.enabled:
        states = [p for p in run.states(device) if back[0].i < p.record.i < asked(run, device)]
        kept = next((p for p in states if p.retain and p.record.t <= online.t + limit), None)
        if kept is None:
            first = states[0] if states else None
            return failed(
                f"a retained state of {device} within {interval:g} s of the reconnection",
                "none" if first is None else f"one after {first.record.t - online.t:.1f} s, {_retained(first)}",
                at=[online, *(p.record for p in states[:1])],
                hint="publish every state anew after each reconnection: the broker may have forgotten them",
            )
        evidence.append(kept.record)
    return passed(evidence)


@judges("I2M-STATE-07", "failing", "recovering")
def nobody_is_told_of_a_life_that_is_over(view: View, declaration: Declaration) -> Verdict:
    """Once a device has failed its states say online:false, or there are none and its availability says offline."""
    evidence = []
    for scenario in ("failing", "recovering"):
        struck = strike(view, scenario, "device_fails")
        if isinstance(struck, Verdict):
            return struck
        verdict = _judge_lost(struck, 2 * interval_of(struck.run, declaration) + slack(view))
        if isinstance(verdict, Verdict):
            return verdict
        evidence += verdict
    return passed(evidence)


def _judge_lost(struck: Strike, limit: float) -> Verdict | list[Record]:
    """Return what tells that a device is gone, or the failure."""
    device, back = struck.device, struck.run.steps("stimulus", stimulus="device_recovers")
    end = back[0].i if back else None
    states = struck.after("state", before=end)
    signs = [p for p in [*states, *struck.after("availability", before=end)] if says_offline(p)]
    known = min((p.record.i for p in [*signs, *struck.after("error", before=end)]), default=None)
    old = [p for p in struck.run.states(device) if p.record.i < struck.begin.i]
    latest = max((_time(p) for p in old), default=0.0)
    late = [p for p in states if (p.record.i > known if known is not None else p.record.t > struck.end.t + limit)]
    lies = [p for p in late if not says_offline(p) and _time(p) > latest]
    expected = f"{device}, which has failed, to be shown with online:false, or not at all and with availability offline"
    if lies:
        return failed(
            expected,
            f"{len(lies)} states as if it answered, such as {lies[0].text}",
            at=[struck.begin, struck.end, lies[0].record],
            hint="publish only what the device has just answered; where it does not, say online:false",
        )
    if not signs:
        return failed(
            expected,
            "neither was said",
            at=[struck.begin, struck.end, *(p.record for p in late[:1])],
            hint='publish "offline" on devices/{d}/availability, or a state with online:false',
        )
    return [struck.end, *(p.record for p in signs)]


def _time(publication: Publication) -> float:
    """Return the timestamp of a state; one that cannot be read counts as new."""
    stamp = moment(publication.value.get("timestamp")) if isinstance(publication.value, dict) else None
    return float("inf") if stamp is None else stamp


@judges("I2M-STATE-08", "polling", "slow")
def slow_devices_delay_nobody(view: View, declaration: Declaration) -> Verdict:
    """While one device takes 4 s, the pauses of the others are what they were."""
    struck, usual = strike(view, "slow", "device_slow"), view.run("polling")
    if isinstance(struck, Verdict):
        return struck
    if not struck.others:
        return Verdict(Outcome.NOT_APPLICABLE, seen="no other device is enabled that could be delayed")
    end = struck.run.steps("slow_end")
    begin = usual.steps("rounds") if usual else []
    if usual is None or not begin or not end:
        return failed("states of the other devices while one is slow", "the connector did not get so far")
    answers = [p for p in struck.after("state", before=end[0].i) if p.record.i > struck.end.i and not says_offline(p)]
    if len(answers) > 2:  # noqa: PLR2004 - one that was on its way, and one that took its time
        return failed(
            f"{struck.device} to be slow after the stimulus device_slow",
            f"{len(answers)} states of it as if it were not",
            at=[struck.begin, struck.end, *(p.record for p in answers[:3])],
            hint="see whether the stimulus does what it should, and publish only what the device has answered",
        )
    # Devices of an event-driven connector were asked again and again: that takes no longer than a poll.
    interval, behind = float(struck.run.facts["interval"]), min(lag(view), MOST_LAG)
    evidence = [struck.end]
    for device in struck.others:
        polled = [p.record for p in usual.states(device) if p.record.i > begin[0].i]
        before = [pause for pause, *_ in _pauses(polled, view)]
        states = [p.record for p in struck.run.states(device) if p.record.i < end[0].i]
        last = [struck.begin, *(r for r in states if r.i < struck.end.i)][-1:]
        if declaration.reporting == "events":
            last = struck.run.sent("urged")[:1]
        pauses = _pauses([*last, *(r for r in states if r.i > struck.end.i), end[0]], view)
        normal = max(interval, median(before)) if before else interval
        limit = normal * 1.1 + behind
        worst = max(pauses, key=lambda pause: pause[0])
        middle = median(gap for gap, *_ in pauses[:-1] or pauses)
        if worst[0] > limit + FREEZE or middle > limit + NOISE:
            return failed(
                f"{device} to be published every {normal:.2f} s as before, or up to a tenth later, while"
                f" {struck.device} is slow",
                f"a pause of {worst[0]:.2f} s, and usually one of {middle:.2f} s",
                at=[struck.begin, struck.end, *worst[1:]],
                hint="read every device on its own: one that is waited for must not keep the others waiting",
            )
        evidence += states
    return passed(evidence)


def _pauses(records: list[Record], view: View) -> list[tuple[float, Record, Record]]:
    """Return the seconds between records, without those in which the machine stood still."""
    pairs = pairwise(records)
    return [(later.t - earlier.t - view.stalled(earlier, later), earlier, later) for earlier, later in pairs]
