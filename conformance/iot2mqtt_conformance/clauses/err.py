"""I2M-ERR: errors of devices."""

from itertools import pairwise
from typing import Any

from iot2mqtt_conformance.clauses.pub import moment
from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.clauses.striking import Strike, interval_of, says_offline, slack, strike
from iot2mqtt_conformance.contract import schema_fault
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.names import LONGEST_RETRY
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Outcome, Verdict, failed, passed
from iot2mqtt_conformance.view import Publication, View

INTERVALS_TO_TELL = 2
INTERVALS_TO_RECOVER = 3
BACKED_OFF = 1.5
"""Intervals between two errors of which the connector can be said to have waited longer than for a poll."""
SAME_POLL = 0.25
"""Intervals between two errors that cannot have come from two polls."""


def messages_of_form(view: View, level: str, schema: str, stimulus: str, declaration: Declaration) -> Verdict:
    """Judge the form and flags of every message on one topic of the devices.

    Args:
        view: What was seen.
        level: The last level of the topic.
        schema: The schema's name.
        stimulus: What provokes such a message.
        declaration: Whether that stimulus is declared.
    """
    evidence = []
    for _run, publication in view.publications():
        levels = publication.levels
        if levels[:1] != ["devices"] or levels[2:] != [level] or publication.record.data.get("payload_size"):
            continue
        if publication.clears:  # what an older version has left
            continue
        fault = (
            schema_fault(schema, publication.value) if isinstance(publication.value, dict) else "it is no JSON object"
        )
        if fault is not None:
            keys = "{timestamp, error_code, message, severity}" if level == "error" else "{timestamp, event, data}"
            shown = (publication.text or "")[:300]
            return failed(f"{keys} on {publication.topic}", f"{shown!r}: {fault}", at=[publication.record])
        if publication.qos != 1 or publication.retain:
            return failed(
                f"{publication.topic} at QoS 1, not retained",
                f"QoS {publication.qos}, {'' if publication.retain else 'not '}retained",
                at=[publication.record],
                hint="such a message tells of a moment: a subscriber of tomorrow must not take it for news",
            )
        evidence.append(publication.record)
    if not evidence and stimulus not in declaration.stimuli:
        reason = f"no message on an {level} topic was seen, and no stimulus `{stimulus}` is declared to provoke one"
        return Verdict(Outcome.NOT_APPLICABLE, seen=reason)
    return passed(evidence)


@judges("I2M-ERR-01", "boot", "failing")
def errors_have_their_form(view: View, declaration: Declaration) -> Verdict:
    """Every message on an error topic fits the schema, at QoS 1, not retained."""
    return messages_of_form(view, "error", "error", "device_fails", declaration)


@judges("I2M-ERR-02", "failing")
def failures_are_reported_in_time(view: View, declaration: Declaration) -> Verdict:
    """An error message within two intervals, told by the clock, or by the rounds of the other devices."""
    struck = strike(view, "failing", "device_fails")
    if isinstance(struck, Verdict):
        return struck
    interval = interval_of(struck.run, declaration)
    expected = (
        f"a message on devices/{struck.device}/error within {INTERVALS_TO_TELL} update intervals of"
        f" {interval:g} s of its failure"
    )
    errors = struck.after("error")
    hint = "report a poll that fails the first time, and not only after some attempts"
    if not errors:
        return failed(expected, "none", at=[struck.begin, struck.end], hint=hint)
    first = errors[0].record
    seconds = first.t - struck.end.t
    rounds = [_rounds(struck, other, first) for other in struck.others]
    # Where the machine is busy, the rounds of the others are late as well.
    slow = seconds > INTERVALS_TO_TELL * interval + slack(view)
    if slow and (not rounds or max(rounds) > INTERVALS_TO_TELL):
        return failed(expected, f"one after {seconds:.1f} s", at=[struck.begin, struck.end, first], hint=hint)
    return passed([struck.end, first])


def _rounds(struck: Strike, device: str, end: Record) -> int:
    """Return how many states of another device came between a stimulus and a record."""
    return sum(struck.end.i < p.record.i < end.i for p in struck.run.states(device))


@judges("I2M-ERR-03", "failing")
def failures_are_no_concern_of_the_others(view: View, _declaration: Declaration) -> Verdict:
    """After many failures the same process is online, answers, and publishes the other devices."""
    struck = strike(view, "failing", "device_fails")
    if isinstance(struck, Verdict):
        return struck
    run, count = struck.run, len(struck.after("error"))
    expected = f"the connector and the other devices as before, while {struck.device} fails"
    harm = _harm(struck)
    if harm is not None:
        return failed(
            expected,
            f"{harm[0]} after {count} errors",
            at=[struck.end, harm[1]],
            hint="what one device does wrong concerns neither the process, nor its connection, nor its status",
        )
    provoked, asked = run.sent("provoke"), run.sent("failing_end")
    answered = [p.record for p in run.published("meta/info") if asked and p.record.i > asked[0].i]
    if not answered:
        return failed(
            expected, f"meta/request/info was not answered after {count} errors", at=[*asked, *run.steps("timeout")]
        )
    evidence = [struck.end, answered[0]]
    for device in struck.others:
        states = [p.record for p in run.states(device) if p.record.i > provoked[-1].i and not says_offline(p)]
        if not states:
            return failed(
                f"{expected}: a state of {device} after the last failure",
                f"none after {count} errors",
                at=[struck.end, provoked[-1], *run.steps("timeout", what=f"a state of {device}")],
                hint="go on with the next device where one fails, and count failures for each device on its own",
            )
        evidence.append(states[0])
    return passed(evidence)


def _harm(struck: Strike) -> tuple[str, Record] | None:
    """Return what happened to the connector while a device failed that the suite has not brought about."""
    end = struck.run.steps("failing_end")
    last = end[0].i if end else struck.run.records[-1].i + 1
    for record in struck.run.records:
        if not struck.begin.i < record.i < last:
            continue
        if record.kind == "proc.exit":
            return f"the process ended with code {record.data['code']}", record
        if record.kind == "conn.close" and not record.data["clean"]:
            return "the connection to the broker was lost", record
    said = (p for p in struck.run.published("status") if struck.begin.i < p.record.i < last)
    return next(((f"the status was {p.text!r}", p.record) for p in said if p.text != "online"), None)


@judges("I2M-ERR-04", "recovering")
def recovered_devices_are_published_again(view: View, declaration: Declaration) -> Verdict:
    """A state that does not say online:false, within three intervals or when an attempt was announced."""
    struck, back = strike(view, "recovering", "device_fails"), strike(view, "recovering", "device_recovers")
    if isinstance(struck, Verdict):
        return struck
    if isinstance(back, Verdict):
        return back
    run, device = struck.run, struck.device
    told = [*struck.after("error", before=back.begin.i), *_offline(struck, back.begin.i)]
    if not told:
        return failed(
            f"a sign that {device} had failed before it recovered",
            "neither an error message, nor availability offline, nor online:false",
            at=[struck.begin, struck.end, back.begin],
            hint="see whether the stimulus device_fails does what it should",
        )
    announced = [(p, when) for p in struck.after("error") if (when := _next_retry(p)) is not None]
    states = [p for p in back.after("state") if p.record.i > back.begin.i and not says_offline(p)]
    due = back.end.t + INTERVALS_TO_RECOVER * interval_of(run, declaration)
    before = states[0].record.i if states else run.records[-1].i + 1
    latest = max((when - run.time(back.end) + back.end.t for p, when in announced if p.record.i < before), default=due)
    if not states and latest - back.end.t > LONGEST_RETRY:
        reason = (
            f"the next attempt was announced for {latest - back.end.t:.0f} s later, and the suite does not wait so long"
        )
        return Verdict(Outcome.NOT_RUN, seen=reason)
    limit = max(due, latest) + slack(view)
    if not states or states[0].record.t > limit:
        return failed(
            f"a state of {device} within {limit - back.end.t:.1f} s of its recovery",
            f"one after {states[0].record.t - back.end.t:.1f} s" if states else "none",
            at=[back.begin, back.end, *(p.record for p in states[:1])],
            hint="go on trying to reach a device that has failed, and publish it when it answers",
        )
    return passed([told[0].record, back.end, states[0].record])


def _offline(struck: Strike, before: int) -> list[Publication]:
    return [p for kind in ("state", "availability") for p in struck.after(kind, before=before) if says_offline(p)]


def _retry_info(publication: Publication) -> dict[str, Any]:
    """Return what an error message says of further attempts."""
    info = publication.value.get("retry_info") if isinstance(publication.value, dict) else None
    return info if isinstance(info, dict) else {}


def _next_retry(publication: Publication) -> float | None:
    """Return the Unix time of the announced attempt."""
    return moment(_retry_info(publication).get("next_retry"))


@judges("I2M-ERR-05", "failing")
def repeated_failures_do_not_flood(view: View, declaration: Declaration) -> Verdict:
    """One error an attempt, each with retry_info that counts it, and longer pauses after some of them."""
    struck = strike(view, "failing", "device_fails")
    if isinstance(struck, Verdict):
        return struck
    watched = struck.run.steps("watched")
    errors = struck.after("error", before=watched[0].i) if watched else []
    # What is delivered twice because its acknowledgement was lost is said once.
    errors = [p for p in errors if not p.record.data["dup"]]
    if not errors:
        return failed(f"errors of {struck.device}, which fails", "none", at=[struck.begin, struck.end])
    counts: list[Any] = [_retry_info(p).get("attempt") for p in errors]
    untold = next((p for p, count in zip(errors, counts, strict=True) if type(count) is not int), None)
    if untold is not None:
        return failed("retry_info with the number of the attempt", f"{untold.text}", at=[untold.record])
    for (earlier, before), (later, after) in pairwise(zip(errors, counts, strict=True)):
        if not before < after:
            return failed(
                f"one error message for each failed attempt to reach {struck.device}, each with a higher attempt",
                f"attempt {after} after attempt {before}",
                at=[earlier.record, later.record],
                hint="report a failed attempt once, and count the attempts since the device last answered",
            )
    return _pace_fault(struck, errors, watched[0], interval_of(struck.run, declaration)) or passed(
        [struck.end, *(p.record for p in errors), *watched]
    )


def _apart(earlier: Publication, later: Publication) -> float:
    """Return the seconds between the timestamps of two messages; none where they cannot be read."""
    first, second = (moment(p.value.get("timestamp")) for p in (earlier, later))
    return 0.0 if first is None or second is None else second - first


def _pace_fault(struck: Strike, errors: list[Publication], end: Record, interval: float) -> Verdict | None:
    """Return the failure where there are more errors than polls, or no pause gets longer."""
    # Polls may come at half the interval, and messages may be held up on their way (I2M-STATE-03).
    for earlier, later in pairwise(errors):
        if later.record.t - earlier.record.t < SAME_POLL * interval and _apart(earlier, later) < SAME_POLL * interval:
            return failed(
                f"at most one error message for each poll, which comes every {interval:g} s",
                f"two within {later.record.t - earlier.record.t:.2f} s",
                at=[struck.end, earlier.record, later.record],
                hint="report once what has failed in one poll",
            )
    times = [*(p.record.t for p in errors), end.t]
    longest = max(later - earlier for earlier, later in pairwise(times))
    if longest < BACKED_OFF * interval:
        return failed(
            f"longer pauses after repeated failures of {struck.device}, polled every {interval:g} s",
            f"{len(errors)} errors, none more than {longest:.2f} s after the one before",
            at=[struck.end, *(p.record for p in errors)],
            hint="double the time to the next attempt after each failure, up to some limit",
        )
    return None
