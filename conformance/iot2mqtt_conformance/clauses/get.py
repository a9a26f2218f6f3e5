"""I2M-GET: questions for state."""

from iot2mqtt_conformance.clauses.pub import moment
from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Verdict, failed, passed
from iot2mqtt_conformance.view import Publication, Run, View


def _answer(run: Run, asked: Record) -> Publication | None:
    """Return the state that followed a question, before the next one was asked."""
    end = next((r.i for r in run.steps("send") if r.i > asked.i), run.records[-1].i + 1)
    return next((p for p in run.states(asked.data["device"]) if asked.i < p.record.i < end), None)


@judges("I2M-GET-01", "get")
def get_is_answered_by_the_whole_state(view: View, _declaration: Declaration) -> Verdict:
    """An empty payload, {} and null are each answered by a new, whole state."""
    run = view.run("get")
    asked = [r for kind in ("empty", "object", "null") for r in run.sent(f"whole_{kind}")] if run else []
    if run is None or not asked:
        return failed("a connector that is online, so that it can be asked", "none")
    evidence = []
    for record in asked:
        payload = record.data["probe"].partition("_")[2]
        expected = f"a state of {record.data['device']} in answer to a get with the payload {payload}"
        answer = _answer(run, record)
        if answer is None:
            return failed(expected, "none", at=[record], hint="empty, {} and null all mean the whole state")
        known = {
            name
            for p in run.states(record.data["device"])
            if p.record.i < record.i and isinstance(p.value, dict)
            for name in p.value.get("state", {})
        }
        missing = (
            sorted(name for name in known if name not in answer.value.get("state", {}))
            if isinstance(answer.value, dict)
            else ["state"]
        )
        if missing:
            return failed(f"{expected}, whole", f"it lacks {', '.join(missing)}", at=[record, answer.record])
        stamp = moment(answer.value.get("timestamp"))
        # Timestamps carry milliseconds at best, so one that is rounded down may lie that much before the question.
        if stamp is None or stamp < run.time(record) - 1.0:
            return failed(
                f"{expected}, newer than the question",
                f"a state of {answer.value.get('timestamp')}",
                at=[record, answer.record],
                hint="read the device anew",
            )
        evidence += [record, answer.record]
    return passed(evidence)


@judges("I2M-GET-02", "get")
def get_of_a_part_holds_that_part(view: View, _declaration: Declaration) -> Verdict:
    """With `properties` the answer holds the known ones of them, and nothing else."""
    run = view.run("get")
    asked = run.sent("partial") if run else []
    if run is None or not asked:
        return failed("a connector whose devices have properties to ask for", "none")
    evidence = []
    for record in asked:
        note = next(r for r in reversed(run.steps("partial")) if r.i < record.i)
        known = note.data["known"]
        asked_for = f"properties [{known!r}, 'no_such_property']"
        expected = f"a state of {record.data['device']} with {known!r} only, in answer to {asked_for}"
        answer = _answer(run, record)
        state = answer.value.get("state") if answer and isinstance(answer.value, dict) else None
        if answer is None or not isinstance(state, dict):
            return failed(expected, "none", at=[record])
        if set(state) != {known}:
            return failed(
                expected,
                f"state {state}",
                at=[record, answer.record],
                hint="leave out what was not asked for and what is unknown",
            )
        evidence += [record, answer.record]
    return passed(evidence)
