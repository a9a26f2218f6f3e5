"""I2M-LIFE-10: the death of one process of several."""

from iot2mqtt_conformance.aftermath import REPORTED_WITHIN, RETURNS_WITHIN, Aftermath, says_offline
from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.clauses.striking import slack
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Outcome, Verdict, failed, passed
from iot2mqtt_conformance.view import Run, View


@judges("I2M-LIFE-10", "dying")
def the_death_of_a_process_is_reported_and_outlived(view: View, _declaration: Declaration) -> Verdict:
    """After each death: a report in time, the return of what was reported, and an answer of every device."""
    run = view.run("dying")
    looks = run.steps("picked") if run else []
    if run is None or not looks:
        at = run.steps("timeout") if run else []
        return failed("a connector that is online with a state of every device, before a process dies", "none", at=at)
    evidence = []
    for death in run.steps("death"):
        wrong = _harm(run, death, slack(view))
        if wrong is not None:
            return wrong
        evidence += [death, *[asked for asked in run.steps("asked") if asked.i > death.i][:1]]
    return _unpicked(run, looks) or passed(evidence)


def _unpicked(run: Run, looks: list[Record]) -> Verdict | None:
    """Return the failure where a text picks nothing, or what it picks may not be killed."""
    denied = run.steps("not_allowed")
    if denied:
        return Verdict(
            Outcome.NOT_RUN,
            (denied[0].i,),
            seen=f"the process {denied[0].data['pid']} belongs to another user and cannot be killed: judge the program"
            " itself (`command` under [connector]) rather than an image",
        )
    empty = next((look for look in looks if not look.data["count"]), None)
    if empty is None:
        return None
    there = empty.data["there"]
    return failed(
        f"a process below the connector whose command line holds `{empty.data['text']}`",
        f"only these: {'; '.join(there)}" if there else "no process below the connector at all",
        at=[empty],
        hint="mend child_dies under [stimuli] in conformance.toml: each text is a part of a command line, as `ps`"
        " shows it",
    )


def _harm(run: Run, death: Record, margin: float) -> Verdict | None:
    """Return what a death has done that it must not do, or None where it was outlived."""
    what = f"the death of the process {death.data['pid']} (`{death.data['text']}`), killed at {death.t:.1f} s"
    ends = [r for r in [*run.steps("asked"), *run.steps("dying_end"), run.records[-1]] if r.i > death.i]
    end = min(ends, key=lambda record: record.i)
    ended = run.first("proc.exit")
    if ended is not None and death.i < ended.i < end.i:
        return failed(
            f"a connector that outlives {what}",
            f"its own end, with code {ended.data['code']}, {ended.t - death.t:.1f} s later",
            at=[death, ended],
            hint="start the process again instead of ending with it",
        )
    heard = Aftermath(run.facts["root"], run.enabled)
    for record in run.records:
        # What befalls a device once everything is back, such as a sensor that cannot be read, is another matter.
        if death.i < record.i <= end.i and not heard.settled:
            heard.hear(record)
    return _unreported(heard, death, what, margin) or _unsettled(run, heard, death, what, end)


def _unreported(heard: Aftermath, death: Record, what: str, margin: float) -> Verdict | None:
    limit = REPORTED_WITHIN + margin
    report = heard.report
    if report is not None and report.t - death.t <= limit:
        return None
    return failed(
        f"within {limit:.1f} s of {what}: a message on devices/+/error, a state with online:false, `offline` on"
        " devices/+/availability, or `offline` as status",
        f"{report.data['topic']} after {report.t - death.t:.1f} s" if report else "none of them",
        at=[death, *([report] if report else [])],
        hint="wait for the end of each process that you start, and report at once the devices that it served",
    )


def _unsettled(run: Run, heard: Aftermath, death: Record, what: str, end: Record) -> Verdict | None:
    report = heard.report
    at = [death, *([report] if report else [])]
    told = f" (reported by {report.data['topic']} at {report.t:.1f} s)" if report else ""
    if not heard.settled:
        return failed(
            f"within {RETURNS_WITHIN:.0f} s, and without being asked, everything back that was lost by {what}{told}",
            f"missing until {end.t:.1f} s: {', '.join(heard.missing)}",
            at=[*at, *heard.back.values()],
            hint="start the process again by yourself, and publish the state of its devices once it works",
        )
    asked = [r for r in run.sent("after_death") if death.i < r.i <= end.i]
    for device in run.enabled:
        mine = [r for r in asked if r.data["device"] == device]
        if not mine or not _answered(run, device, mine[0], end):
            return failed(
                f"an answer to a get of every device after {what}, and after its return",
                f"no state of {device} (on {run.facts['root']}/devices/{device}/state) up to {end.t:.1f} s",
                at=[*at, *mine],
                hint="bring back all that the process did: its subscriptions, its timers, its share of the devices",
            )
    return None


def _answered(run: Run, device: str, asked: Record, end: Record) -> bool:
    topic = f"{run.facts['root']}/devices/{device}/state"
    return any(
        r.kind == "seen" and r.data["topic"] == topic and asked.i < r.i <= end.i and not says_offline(r)
        for r in run.records
    )
