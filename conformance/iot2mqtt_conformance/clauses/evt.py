"""I2M-EVT: events of devices."""

from iot2mqtt_conformance.clauses.err import messages_of_form
from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.clauses.striking import slack, strike
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.verdict import Verdict, failed, passed
from iot2mqtt_conformance.view import View

AT_ONCE = 1.0
"""Seconds in which an event must be published."""


@judges("I2M-EVT-01", "boot", "commands", "event")
def events_have_their_form(view: View, declaration: Declaration) -> Verdict:
    """Every message on an events topic fits the schema, at QoS 1, not retained."""
    return messages_of_form(view, "events", "event", "event", declaration)


@judges("I2M-EVT-02", "event")
def events_are_published_at_once(view: View, _declaration: Declaration) -> Verdict:
    """An event message of the device within a second of the stimulus, with the next poll a minute away."""
    struck = strike(view, "event", "event")
    if isinstance(struck, Verdict):
        return struck
    expected = f"a message on devices/{struck.device}/events within {AT_ONCE:g} s of the event"
    hint = "pass on what a device reports when it reports it, not at the next poll"
    events = struck.after("events")
    if not events:
        return failed(expected, "none", at=[struck.begin, struck.end, *struck.run.steps("timeout")], hint=hint)
    seconds = events[0].record.t - struck.end.t
    if seconds > AT_ONCE + slack(view):
        return failed(
            expected, f"one after {seconds:.1f} s", at=[struck.begin, struck.end, events[0].record], hint=hint
        )
    return passed([struck.end, events[0].record])
