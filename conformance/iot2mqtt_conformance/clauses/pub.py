"""I2M-PUB: what every publication obeys."""

import re
from datetime import datetime
from typing import Any

from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.clauses.striking import lag
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.names import CLOCK_TOLERANCE, RECOVERY
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Verdict, failed, passed
from iot2mqtt_conformance.view import NOT_JSON, Publication, Run, View, matches

# The offsets of the contract's schemas; the blank that they take for T is no ISO 8601.
_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f+#]")


@judges("I2M-PUB-01", "boot", "commands", "get")
def nothing_is_published_outside(view: View, declaration: Declaration) -> Verdict:
    """Every PUBLISH is below the instance, global/events or a declared extra topic."""
    evidence = []
    for run, publication in view.publications():
        allowed = (f"{run.facts['root']}/#", f"{run.facts['base']}/v1/global/events", *declaration.extra_topics)
        if not any(matches(f, publication.topic) for f in allowed):
            return failed(
                f"topics below {run.facts['root']}/", f"a message on {publication.topic}", at=[publication.record]
            )
        evidence.append(publication.record)
    return passed(evidence)


@judges("I2M-PUB-02", "boot", "commands", "get")
def every_payload_is_json(view: View, _declaration: Declaration) -> Verdict:
    """Every payload other than status is one strict JSON text; clearing a retained topic is no payload."""
    evidence = []
    for _run, publication in view.publications():
        if (
            publication.suffix in (None, "status")
            or publication.record.data.get("payload_size") is not None
            or publication.clears
        ):
            continue
        if publication.value is NOT_JSON:
            shown = publication.text if publication.text is not None else "bytes that are not UTF-8"
            return failed(
                f"RFC 8259 JSON on {publication.topic}",
                f"{shown[:120]!r}",
                at=[publication.record],
                hint="write every payload with a strict JSON encoder, property topics included; NaN is no JSON",
            )
        evidence.append(publication.record)
    return passed(evidence)


@judges("I2M-PUB-03", "boot", "staleness")
def timestamps_are_aware_and_true(view: View, _declaration: Declaration) -> Verdict:
    """Every timestamp has an offset and is within 5 s of its publication, in every time zone."""
    evidence, behind = [], lag(view)
    for run, publication in view.publications():
        if not isinstance(publication.value, dict) or "timestamp" not in publication.value:
            continue
        if publication.record.data["dup"]:  # sent again because its acknowledgement was lost: published before
            continue
        fault = _timestamp_fault(publication.value["timestamp"], run, publication, behind)
        if fault is not None:
            return failed(
                f"an ISO 8601 timestamp with an offset, at most {CLOCK_TOLERANCE:.0f} s off (TZ={run.facts['tz']})",
                fault,
                at=[publication.record],
                hint="take the time as datetime.now(UTC), or its like, when the message is made, and write its offset",
            )
        evidence.append(publication.record)
    zones = {run.facts["tz"] for run in view.runs() if run.publications}
    if len(zones) < 3:  # noqa: PLR2004 - the three zones of the clause
        return failed("timestamps under three time zones", f"messages under {', '.join(sorted(zones)) or 'none'} only")
    return passed(evidence)


def moment(stamp: Any) -> float | None:
    """Return the Unix time of an ISO 8601 timestamp with an offset, or None where it is none."""
    if not isinstance(stamp, str) or not _ISO.fullmatch(stamp):
        return None
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return None


def _timestamp_fault(stamp: Any, run: Run, publication: Publication, behind: float) -> str | None:
    time = moment(stamp)
    if time is None:
        return f"timestamp {stamp!r} on {publication.topic}"
    off = time - run.time(publication.record)
    if off > CLOCK_TOLERANCE or off < -CLOCK_TOLERANCE - behind - _held_back(run, publication.record):
        return f"timestamp {stamp!r} on {publication.topic}, {off:+.0f} s from its publication"
    return None


def _held_back(run: Run, record: Record) -> float:
    """Return the seconds for which a message may have waited for the broker: since it was last heard of.

    That is so for a while after a reconnection; then everything that has waited is said.
    """
    lost = next((r for r in run.records if r.kind == "conn.close"), None)
    if lost is None or lost.i > record.i:
        return 0.0
    back = [r for r in run.packets("CONNECT") if lost.i < r.i < record.i]
    if not back or record.t - back[-1].t > RECOVERY:
        return 0.0
    heard = [r for r in run.records if r.i < lost.i and _is_heard(r)]
    return record.t - (heard[-1] if heard else lost).t


def _is_heard(record: Record) -> bool:
    """Whether a record is a packet that has reached the connector."""
    return record.kind == "packet" and record.data["dir"] == "b2c" and not record.data.get("swallowed")


@judges("I2M-PUB-04", "boot", "commands", "get")
def names_in_topics_are_one_level(view: View, _declaration: Declaration) -> Verdict:
    """Devices, groups and properties are single clean levels, and those known; what is only cleared may be others."""
    evidence = []
    for run, publication in view.publications():
        if publication.suffix is None or publication.clears:
            continue
        levels = publication.levels
        odd = next((level for level in levels if not level or _CONTROL.search(level)), None)
        if odd is not None:
            return failed(
                "topic levels that are not empty and hold no `+`, `#` or control character",
                f"{publication.topic!r}",
                at=[publication.record],
            )
        if levels[0] == "devices" and levels[2:3] == ["state"] and len(levels) > 4:  # noqa: PLR2004 - devices/d/state/p
            return failed(
                "a property name that is one level",
                f"{publication.topic!r}",
                at=[publication.record],
                hint="replace `/` in property names",
            )
        if _is_split(levels, "devices", run.configured, _OF_DEVICES) or _is_split(
            levels, "groups", run.groups, _OF_GROUPS
        ):
            return failed(f"a {levels[0][:-1]}_id that is one level", f"{publication.topic!r}", at=[publication.record])
        evidence.append(publication.record)
    return passed(evidence)


_OF_DEVICES = {"state", "cmd", "error", "events", "telemetry", "availability"}
_OF_GROUPS = {"state", "cmd"}


def _is_split(levels: list[str], kind: str, known: list[str], words: set[str]) -> bool:
    """Whether an id seems to take several levels: no known one, and no word of the contract behind it."""
    return levels[0] == kind and len(levels) > 2 and levels[1] not in known and levels[2] not in words  # noqa: PLR2004


_GRAMMAR = re.compile(
    "status"
    "|devices/[^/]+/(state(/[^/]+)?|cmd/response|error|events|telemetry|availability)"
    "|groups/[^/]+/(state|cmd/response)"
    "|meta/(devices_list|info)"
    "|discovered"
)
"""Topics below an instance on which a connector publishes."""


@judges("I2M-PUB-05", "boot", "commands", "get")
def topics_are_those_of_the_contract(view: View, declaration: Declaration) -> Verdict:
    """Every topic below the instance is one that the contract knows; what is only cleared may be of another version."""
    evidence = []
    for _run, publication in view.publications():
        suffix = publication.suffix
        if suffix is None or publication.clears or any(matches(f, publication.topic) for f in declaration.extra_topics):
            continue
        if _GRAMMAR.fullmatch(suffix) is None:
            return failed(
                "a topic of the contract: status; below devices/{d} state, state/{p}, cmd/response, error, events,"
                " telemetry and availability; below groups/{g} state and cmd/response; meta/devices_list, meta/info;"
                " discovered",
                f"a message on {publication.topic!r}",
                at=[publication.record],
                hint="values belong into state or telemetry; what the contract has no topic for belongs elsewhere",
            )
        evidence.append(publication.record)
    return passed(evidence)


@judges("I2M-PUB-06", "outage")
def nothing_is_lost_while_the_broker_is_away(view: View, declaration: Declaration) -> Verdict:
    """After the outage: the response to the command in flight, and a state of every device, as it is then."""
    run = view.run("outage")
    cut = run.steps("cut") if run else []
    if run is None or not cut:
        return failed("a connector that takes a command before the connection is cut", "none")
    again = next((r for r in run.packets("CONNECT") if r.i > cut[0].i), None)
    if again is None:
        return failed("a new connection once the broker is back", "no CONNECT", at=[*cut, *run.steps("broker_back")])
    evidence = [*cut, again]
    if "device" in cut[0].data:
        sent = run.sent("in_flight")[0]
        answers = [
            p for p in run.published(f"devices/{cut[0].data['device']}/cmd/response") if _answers(p, sent, cut[0])
        ]
        if not answers:
            return failed(
                "after the reconnection: the response to the command that came right before the connection ended",
                "none",
                at=[sent, *cut, again],
                hint="keep responses until the broker has acknowledged them (QoS 1), also while there is no connection",
            )
        evidence.append(answers[0].record)
    for device in declaration.enabled:
        states = [p for p in run.states(device) if p.record.i > again.i and not p.record.data["dup"]]
        if not states:
            return failed(f"after the reconnection: the state of {device}", "none", at=[*cut, again])
        if device == cut[0].data.get("device") and states[-1].shown(cut[0].data["property"]) != cut[0].data["wanted"]:
            return failed(
                f"after the reconnection: {cut[0].data['property']} of {device} as it was commanded",
                f"{states[-1].text}",
                at=[*cut, again, states[-1].record],
                hint="what waits for the broker must not be older than the latest state",
            )
        evidence.append(states[-1].record)
    return passed(evidence)


def _answers(publication: Publication, sent: Record, cut: Record) -> bool:
    value = publication.value
    return publication.record.i > cut.i and isinstance(value, dict) and value.get("cmd_id") == sent.data["id"]
