"""I2M-GET: questions for state."""

from iot2mqtt_conformance.clauses.pub import moment
from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.clauses.striking import says_offline
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.names import UNKNOWN
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Verdict, failed, passed
from iot2mqtt_conformance.view import Publication, Run, View, strict_json


def _answer(run: Run, asked: Record) -> Publication | None:
    """Return the state that followed a question, before the next one was asked."""
    return next(iter(_answers(run, asked)), None)


def _part(run: Run, asked: Record, known: str) -> Publication | None:
    """Return the answer to a question for one property: a device may have told news of its whole state before it."""
    answers = _answers(run, asked)
    return next((p for p in answers if _properties(p) == {known}), answers[0] if answers else None)


def _answers(run: Run, asked: Record) -> list[Publication]:
    end = next((r.i for r in run.steps("send") if r.i > asked.i), run.records[-1].i + 1)
    return [p for p in run.states(asked.data["device"]) if asked.i < p.record.i < end]


def _known(run: Run, asked: Record) -> str:
    """Return the property that a question was for."""
    note = next(r for r in reversed(run.steps("partial")) if r.i < asked.i)
    return str(note.data["known"])


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
        properties = _properties(answer)
        missing = ["state"] if properties is None else sorted(_told(run, record) - properties)
        if missing:
            return failed(f"{expected}, whole", f"it lacks {', '.join(missing)}", at=[record, answer.record])
        # A timestamp that cannot be read is I2M-PUB-03's affair; one of whole seconds may lie before the question.
        stamp = moment(answer.value.get("timestamp"))
        if stamp is not None and stamp < run.time(record) - 1.0:
            return failed(
                f"{expected}, newer than the question",
                f"a state of {answer.value.get('timestamp')}",
                at=[record, answer.record],
                hint="read the device anew",
            )
        evidence += [record, answer.record]
    return _cached_answers(run, asked) or passed(evidence)


def _properties(publication: Publication) -> set[str] | None:
    """Return the names of a state message's properties, or None where it has no object of them."""
    state = publication.value.get("state") if isinstance(publication.value, dict) else None
    return set(state) if isinstance(state, dict) else None


def _told(run: Run, asked: Record) -> set[str]:
    """Return what was told of a device before a question; one that was not reached yet may have said `online` alone."""
    before = [p for p in run.states(asked.data["device"]) if p.record.i < asked.i and not says_offline(p)]
    return {name for p in before for name in _properties(p) or ()}


def _cached_answers(run: Run, asked: list[Record]) -> Verdict | None:
    """Return the failure where all answers of a device carry the fine timestamp of the state before the questions.

    Three round trips take longer than the least that such a timestamp tells apart, whatever the connector's clock.
    """
    for device in {record.data["device"]: None for record in asked}:
        questions = [record for record in asked if record.data["device"] == device]
        answers = [answer for record in questions if (answer := _answer(run, record)) is not None]
        before = [p for p in run.states(device) if p.record.i < questions[0].i]
        stamps = {str(p.value.get("timestamp")) for p in [*before[-1:], *answers] if isinstance(p.value, dict)}
        if before and len(stamps) == 1 and "." in min(stamps):
            return failed(
                f"a state of {device} in answer to each get, newer than the question",
                f"{len(answers)} answers with the timestamp {min(stamps)} of the state before them",
                at=[before[-1].record, *(p.record for p in answers)],
                hint="read the device anew and take the time then",
            )
    return None


@judges("I2M-GET-02", "get")
def get_of_a_part_holds_that_part(view: View, _declaration: Declaration) -> Verdict:
    """With `properties` the answer holds the known ones of them, and nothing else."""
    run = view.run("get")
    asked = run.sent("partial") if run else []
    if run is None or not asked:
        return failed("a connector whose devices have properties to ask for", "none")
    evidence = []
    for record in asked:
        known = _known(run, record)
        asked_for = f"properties [{known!r}, 'no_such_property']"
        expected = f"a state of {record.data['device']} with {known!r} only, in answer to {asked_for}"
        answer = _part(run, record, known)
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


@judges("I2M-GET-03", "get")
def a_part_is_not_retained(view: View, _declaration: Declaration) -> Verdict:
    """The partial answer has no retain flag, and what the broker keeps is a whole state."""
    run = view.run("get")
    asked = run.sent("partial") if run else []
    if run is None or not asked:
        return failed("a connector whose devices have properties to ask for", "none")
    evidence = []
    for record in asked:
        device = record.data["device"]
        known = _told(run, record)
        answer = _part(run, record, _known(run, record))
        if answer is None:
            return failed(f"a state of {device} in answer to a get with properties", "none", at=[record])
        properties = _properties(answer) or set()
        expected = f"a partial state of {device} without the retain flag, and the whole one kept by the broker"
        hint = "publish the answer to a get with `properties` with retain off"
        if answer.retain and properties < known:
            return failed(expected, "a retained one", at=[record, answer.record], hint=hint)
        kept = next((r for r in run.steps("retained_state", device=device) if r.i > record.i), None)
        payload = strict_json(kept.data["payload"]) if kept and kept.data["payload"] is not None else None
        state = payload.get("state") if isinstance(payload, dict) else None
        missing = sorted(known - set(state)) if isinstance(state, dict) else ["everything"]
        if kept is None or missing:
            seen = f"the broker keeps a state that lacks {', '.join(missing)}"
            return failed(expected, seen, at=[record, answer.record, *([kept] if kept else [])], hint=hint)
        evidence += [answer.record, kept]
    return passed(evidence)


@judges("I2M-GET-04", "get")
def get_of_an_unknown_device_does_nothing(view: View, _declaration: Declaration) -> Verdict:
    """No state of it, and the questions that follow are answered."""
    run = view.run("get")
    asked = run.sent("get_unknown") if run else []
    if run is None or not asked:
        return failed("a connector that is online, so that it can be asked", "it did not get so far")
    told = (p for p in run.publications if not p.clears)
    stray = next((p for p in told if p.levels[:3] == ["devices", UNKNOWN, "state"]), None)
    if stray is not None:
        return failed(
            f"no state in answer to a get for {UNKNOWN}, which is not configured",
            f"{stray.text} on {stray.topic}",
            at=[*asked, stray.record],
        )
    evidence = [*asked]
    later = run.sent("get_unknown_after")
    for record in later:
        answer = _answer(run, record)
        if answer is None:
            expected = f"a get for {record.data['device']} answered after one for {UNKNOWN}"
            return failed(expected, "no state", at=[*asked, record])
        evidence += [record, answer.record]
    return passed(evidence if later else ())
