"""I2M-META: what the connector tells about itself."""

import json
from typing import Any

from iot2mqtt_conformance.clauses.commanded import next_send
from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.clauses.saying import excerpt
from iot2mqtt_conformance.clauses.striking import says_offline, strike
from iot2mqtt_conformance.contract import schema_fault
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Verdict, failed, passed
from iot2mqtt_conformance.view import Publication, Run, View, listening_connections

LATER = ("polling", "reconnect", "restart")
"""Launches in which the connector is asked after it has been online for a while, or once it is online again."""
ROUNDED = 1.5
"""Seconds that an uptime may be too short: one of whole seconds, and a little for clocks that differ."""


@judges("I2M-META-01", "boot")
def devices_list_names_every_device(view: View, _declaration: Declaration) -> Verdict:
    """One entry a configured device, of the right form."""
    boot = view.run("boot")
    answers = boot.published("meta/devices_list") if boot else []
    if boot is None or not answers:
        return failed("an answer on meta/devices_list", "none", at=boot.sent("devices_list") if boot else [])
    for answer in answers:
        fault = schema_fault("devices_list", answer.value) if isinstance(answer.value, list) else "it is no array"
        if fault is not None:
            return failed(
                "an array of {device_id, global_id, model, enabled, online}",
                f"{answer.text}: {fault}",
                at=[answer.record],
            )
        listed = [entry["device_id"] for entry in answer.value]
        if sorted(listed) != sorted(boot.configured):
            return failed(
                f"one entry each of {sorted(boot.configured)}, the disabled ones included",
                f"{sorted(listed)}",
                at=[answer.record],
            )
        wrong = next((e for e in answer.value if e["global_id"] != f"{boot.facts['instance']}_{e['device_id']}"), None)
        if wrong is not None:
            return failed(
                f"global_id {boot.facts['instance']}_{wrong['device_id']}", f"{wrong['global_id']}", at=[answer.record]
            )
        flags = {d["device_id"]: d.get("enabled", True) for d in boot.facts["config"]["devices"]}
        lie = next((e for e in answer.value if e["enabled"] is not flags[e["device_id"]]), None)
        if lie is not None:
            return failed(
                f"enabled: {flags[lie['device_id']]} for {lie['device_id']}", f"{lie['enabled']}", at=[answer.record]
            )
    return passed(answer.record for answer in answers)


@judges("I2M-META-02", "boot")
def info_is_true(view: View, declaration: Declaration) -> Verdict:
    """instance_id, connector_type and the counts are those of environment and configuration."""
    boot = view.run("boot")
    answers = boot.published("meta/info") if boot else []
    if boot is None or not answers:
        return failed("an answer on meta/info", "none")
    wanted = {
        "instance_id": (boot.facts["instance"], "INSTANCE_NAME"),
        "connector_type": (declaration.name, "CONNECTOR_TYPE"),
        "devices_count": (len(boot.configured), "all `devices` of the instance file, the disabled ones too"),
        "groups_count": (len(boot.groups), "all `groups` of the instance file"),
    }
    for answer in answers:
        fault = schema_fault("info", answer.value) if isinstance(answer.value, dict) else "it is no object"
        if fault is not None:
            return failed(
                f"on meta/info an object with {', '.join(wanted)} and uptime",
                f"{excerpt(answer)}: {fault}",
                at=[answer.record],
                hint="answer with a JSON object that has all of these, numbers as numbers",
            )
        wrong = [name for name, (value, _) in wanted.items() if answer.value[name] != value]
        if wrong:
            return failed(
                f"on meta/info {', '.join(f'{name} {json.dumps(wanted[name][0])}' for name in wrong)}",
                f"{', '.join(f'{name} {json.dumps(answer.value[name])}' for name in wrong)} in {excerpt(answer)}",
                at=[answer.record],
                hint="; ".join(f"{name} is {wanted[name][1]}" for name in wrong),
            )
    return passed(answer.record for answer in answers)


@judges("I2M-META-03", "boot", *LATER)
def uptime_counts_from_the_start(view: View, _declaration: Declaration) -> Verdict:
    """Uptime is at most the process's age, at least the time since the first `online`, and grows."""
    boot = view.run("boot")
    start = boot.first("proc.start") if boot else None
    answers = [p for p in boot.published("meta/info") if isinstance(p.value, dict)] if boot else []
    values = [(p, p.value.get("uptime")) for p in answers]
    if start is None or len(values) < 2:  # noqa: PLR2004 - growth takes two
        return failed("two answers on meta/info", f"{len(values)}")
    for answer, uptime in values:
        age = answer.record.t - start.t
        if not isinstance(uptime, int | float) or isinstance(uptime, bool) or not 0 <= uptime <= age + 1:
            return failed(
                f"an uptime between 0 and the age of the process, {age:.1f} s",
                f"uptime {uptime!r}",
                at=[start, answer.record],
                hint="subtract the time of start; a Unix time is no uptime",
            )
    if values[-1][1] <= values[0][1]:
        seen = f"{values[0][1]} and, {values[-1][0].record.t - values[0][0].record.t:.1f} s later, {values[-1][1]}"
        return failed("an uptime that grows", seen, at=[values[0][0].record, values[-1][0].record])
    runs = [run for name in ("boot", *LATER) for run in view.runs(name)]
    too_young = next(filter(None, (_too_young(run) for run in runs)), None)
    return too_young or passed([start, values[0][0].record, values[-1][0].record])


def _too_young(run: Run) -> Verdict | None:
    """Return the failure of an uptime below the time for which the connector has been online, None where none is."""
    first = run.onlines[0].record if run.onlines else None
    for asked in run.steps("send", suffix="meta/request/info"):
        answer = _oldest(run, asked)
        if first is None or answer is None or asked.i < first.i:
            continue
        record, uptime = answer.record, _seconds(answer)
        # It was told after it was asked for: however late the answer comes, the uptime is not less.
        least = asked.t - first.t - ROUNDED
        if uptime < least:
            return failed(
                f"an uptime of {least:.1f} s at least: it had been online for {asked.t - first.t:.1f} s",
                f"uptime {answer.value.get('uptime')!r}",
                at=[first, asked, record],
                hint="count seconds, from the start of the process on: a new connection is no new start",
            )
    return None


def _oldest(run: Run, asked: Record) -> Publication | None:
    """Return the answer with the greatest uptime: what waited for a broker that was away may come before it."""
    answers = [p for p in run.published("meta/info") if asked.i < p.record.i < next_send(run, asked)]
    return max((p for p in answers if isinstance(p.value, dict)), key=_seconds, default=None)


def _seconds(answer: Publication) -> float:
    """Return the uptime of an answer; what is no number is none."""
    uptime = answer.value.get("uptime")
    return uptime if isinstance(uptime, int | float) and not isinstance(uptime, bool) else -1.0


@judges("I2M-META-04", "recovering")
def online_follows_the_device(view: View, declaration: Declaration) -> Verdict:
    """`online` is true before the failure, false during it and true after it, and stays true of the others."""
    struck = strike(view, "recovering", "device_fails")
    if isinstance(struck, Verdict):
        return struck
    phases = {"before": True, "during": False}
    back = struck.run.steps("stimulus", stimulus="device_recovers")
    if "device_recovers" in declaration.stimuli:
        recovery = strike(view, "recovering", "device_recovers")
        if isinstance(recovery, Verdict) and back:
            return recovery
        phases["after"] = True
    evidence: list[Record] = []
    for phase, wanted in phases.items():
        asked, lists = struck.run.sent(phase), _lists(struck.run, phase)
        expected = f"online: {str(wanted).lower()} for {struck.device} in devices_list {phase} its failure"
        said = _entry(lists[-1], struck.device).get("online") if lists else None
        if said is not wanted:
            seen = f"{len(asked)} answers later still online: {said!r}" if lists else "no answer"
            return failed(
                expected,
                seen,
                at=[*struck.run.steps("stimulus_end"), *asked[-1:], *(p.record for p in lists[-1:])],
                hint="set it by whether the device has answered the last attempts to reach it",
            )
        evidence += [asked[-1], lists[-1].record]
    return _others_gone(struck.run, struck.others, _lists(struck.run, "before")[-1]) or passed(evidence)


def _lists(run: Run, probe: str) -> list[Publication]:
    """Return the answers to the questions of one phase."""
    asked = run.sent(probe)
    later = [r.i for r in run.steps("send") if asked and r.i > asked[-1].i and r.data["probe"] != probe]
    end = min(later, default=run.records[-1].i + 1)
    return [p for p in run.published("meta/devices_list") if asked and asked[0].i < p.record.i < end]


def _entry(answer: Publication, device: str) -> dict[str, Any]:
    """Return what devices_list says of a device."""
    entries = answer.value if isinstance(answer.value, list) else []
    return next((e for e in entries if isinstance(e, dict) and e.get("device_id") == device), {})


def _is_online(answer: Publication, device: str) -> bool:
    return _entry(answer, device).get("online") is True


def _others_gone(run: Run, others: list[str], before: Publication) -> Verdict | None:
    """Return the failure where another device is called offline after it was online, or to the end in spite of a state.

    Args:
        run: The launch.
        others: The devices that nothing was done to.
        before: The last answer before the failure; who has not been reached yet may be offline there.
    """
    answers = [p for p in run.published("meta/devices_list") if p.record.i > before.record.i]
    well = [device for device in others if _is_online(before, device)]
    reached = {p.levels[1] for p in run.states() if p.record.i < before.record.i and not says_offline(p)}
    for answer in answers:
        known = [d for d in others if d in well or (d in reached and answer is answers[-1])]
        gone = next((device for device in known if not _is_online(answer, device)), None)
        if gone is not None:
            return failed(
                f"online: true for {gone}, which nothing was done to",
                f"{_entry(answer, gone).get('online')!r}",
                at=[answer.record],
            )
    return None


@judges("I2M-META-05", "polling")
def strange_questions_change_nothing(view: View, _declaration: Declaration) -> Verdict:
    """After meta requests that the contract does not know, the connector is as it was, and answers."""
    run = view.run("polling")
    sent = run.sent("strange") if run else []
    if run is None or not sent:
        return failed("a connector that is online, so that it can be asked", "none")
    end = run.sent("strange_end")
    expected = f"answers as before after meta requests {', '.join(r.data['suffix'].rpartition('/')[2] for r in sent)}"
    known = _lists(run, "before_strange"), _lists(run, "after_strange")
    info = [p for p in run.published("meta/info") if end and p.record.i > end[0].i]
    if not all(known) or not info:
        missing = "meta/devices_list" if not all(known) else "meta/info"
        return failed(
            expected, f"no answer on {missing}", at=[*sent, *end], hint="ignore a request that has no known name"
        )
    before, after = (_enrolled(lists[-1]) for lists in known)
    if before != after:
        return failed(f"{expected}: {before}", f"{after}", at=[known[0][-1].record, *sent, known[1][-1].record])
    done = run.steps("polling_end")
    harm = _harm(run, sent[0], done[0] if done else run.records[-1])
    if harm is not None:
        return failed(expected, harm[0], at=[*sent, harm[1]])
    return passed([*sent, known[1][-1].record, info[0].record])


def _enrolled(answer: Publication) -> list[tuple[Any, Any]]:
    """Return which devices an answer lists, and whether they are enabled."""
    entries = answer.value if isinstance(answer.value, list) else []
    return sorted((str(e.get("device_id")), e.get("enabled")) for e in entries if isinstance(e, dict))


def _harm(run: Run, begin: Record, end: Record) -> tuple[str, Record] | None:
    """Return what happened to a connector between two records that must not, and the record that shows it."""
    between = [r for r in run.records if begin.i < r.i < end.i]
    for record in between:
        if record.kind == "proc.exit":
            return f"the process ended with code {record.data['code']}", record
        if record.kind == "conn.close" and not record.data["clean"]:
            return "the connection was lost", record
    # `online` may be said again at any time, but on a new connection that listens it tells that the old one is gone.
    anew = {r.data["conn"] for r in between if r.kind == "packet" and r.data["type"] == "CONNECT"}
    anew &= listening_connections(between)
    said = (p for p in run.published("status") if begin.i < p.record.i < end.i)
    odd = next((p for p in said if p.text != "online" or p.record.data["conn"] in anew), None)
    return None if odd is None else (f"the status {odd.text!r}", odd.record)
