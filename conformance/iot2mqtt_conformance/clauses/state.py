"""I2M-STATE: device state."""

from iot2mqtt_conformance.clauses.pub import moment
from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.contract import schema_fault
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Verdict, failed, passed
from iot2mqtt_conformance.view import Publication, View


@judges("I2M-STATE-01", "boot")
def every_enabled_device_has_a_state(view: View, declaration: Declaration) -> Verdict:
    """After start-up each enabled device's state is published."""
    boot = view.run("boot")
    missing = [d for d in declaration.enabled if boot is None or not boot.states(d)]
    if boot is None or missing:
        return failed(
            f"a state of {', '.join(missing)} after start-up",
            "none",
            at=boot.steps("timeout") if boot else [],
            hint="publish the first state without waiting for it to change",
        )
    return passed(boot.states(d)[0].record for d in declaration.enabled)


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


@judges("I2M-STATE-05", "boot", "commands", "get")
def state_time_does_not_go_back(view: View, _declaration: Declaration) -> Verdict:
    """Per device, each state's timestamp is at least the one before it."""
    evidence: list[Record] = []
    for run in view.runs():
        last: dict[str, tuple[float, Publication]] = {}
        for publication in run.states():
            time = moment(publication.value.get("timestamp")) if isinstance(publication.value, dict) else None
            if time is None:
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
