"""The judges of commands, partial questions and groups, tried on a transcript that is edited at random.

One edit breaks a clause, and its judge must see it; another is harmless, and no judge may mind.
"""

import json

import pytest
from hypothesis import strategies as st

from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.transcript import Record, Transcript
from iot2mqtt_conformance.verdict import Outcome
from tests.conformance.command_edits import CLAUSES
from tests.conformance.edited import (
    Edit,
    check_as_recorded,
    check_broken,
    check_harmless,
    check_nothing_seen,
    tape_for,
    verdict,
)
from tests.conformance.group_edits import BREAKING
from tests.conformance.harmless_edits import HARMLESS as HARMLESS_TO_ALL
from tests.conformance.harmless_edits import topics
from tests.conformance.tape import Tape

RESPONSES = "cmd/response"


# ---------------------------------------------------------------------- harmless edits
def other_ids(tape: Tape, data: st.DataObject) -> None:
    """Every command has another id."""
    ids = {r.data["id"] for r in tape.records if r.kind == "step" and r.data.get("id")}
    new = st.text("abcXYZ019-_.:/ äß", min_size=1, max_size=30)
    names = data.draw(st.lists(new, min_size=len(ids), max_size=len(ids), unique=True))
    table = dict(zip(sorted(ids), names, strict=True))
    for place, record in enumerate(tape.records):
        if record.kind == "step" and record.data.get("id"):
            tape.change(place, id=table[record.data["id"]])
        _rename(tape, place, table)


def _rename(tape: Tape, place: int, table: dict[str, str]) -> None:
    for key in ("payload", "kept"):
        text = tape.records[place].data.get(key)
        value = _json(text)
        for name in ("id", "cmd_id"):
            if isinstance(value, dict) and value.get(name) in table:
                tape.change(place, **{key: json.dumps({**value, name: table[value[name]]})})


def _json(text: str | None) -> object:
    try:
        return json.loads(text or "")
    except ValueError:
        return None


def other_responses(tape: Tape, data: st.DataObject) -> None:
    """The same responses, written in another way, and with members that nobody knows."""
    indent = data.draw(st.sampled_from([None, 0, 2]))
    extra = data.draw(st.dictionaries(st.sampled_from(["took_ms", "by", "x"]), st.integers() | st.none(), max_size=3))
    for place in topics(tape, "response"):
        tape.say(place, {**extra, **tape.value(place)}, indent=indent, sort_keys=bool(indent))


def more_states(tape: Tape, data: st.DataObject) -> None:
    """The newest state of a device is published again, as a poll would."""
    states = [place for place in topics(tape, "state") if tape.records[place].run.startswith(("burst", "ref", "group"))]
    for place in sorted(data.draw(st.lists(st.sampled_from(states), max_size=12, unique=True)), reverse=True):
        tape.repeat(place)


def responses_again(tape: Tape, data: st.DataObject) -> None:
    """A response is sent again, because its acknowledgement was lost."""
    places = list(topics(tape, "response"))
    for place in sorted(data.draw(st.lists(st.sampled_from(places), max_size=6, unique=True)), reverse=True):
        tape.repeat(place, dup=True)


def commands_again(tape: Tape, data: st.DataObject) -> None:
    """The broker delivers a command of the burst again."""
    places = [p for p, r in enumerate(tape.records) if r.data.get("dir") == "b2c" and r.run == "bursts"]
    places = [place for place in places if "burst-" in tape.records[place].data.get("payload", "")]
    for place in sorted(data.draw(st.lists(st.sampled_from(places), max_size=6, unique=True)), reverse=True):
        record = tape.records[place]
        later = data.draw(st.integers(place + 1, len(tape.records)))
        tape.records.insert(later, Record(0, record.t, record.run, record.kind, {**record.data, "dup": True}))


HARMLESS: dict[str, Edit] = HARMLESS_TO_ALL | {
    edit.__name__: edit for edit in (other_ids, other_responses, more_states, responses_again, commands_again)
}


# ---------------------------------------------------------------------- tests
@pytest.mark.parametrize("clause", CLAUSES)
def test_the_transcript_as_it_was_recorded_passes(clause: str, recorded: Transcript, declaration: Declaration) -> None:
    check_as_recorded(clause, recorded, declaration)


@pytest.mark.parametrize(("clause", "edit"), [(clause, name) for clause in CLAUSES for name in BREAKING[clause]])
def test_an_edit_that_breaks_a_clause_is_seen(
    clause: str, edit: str, recorded: Transcript, declaration: Declaration
) -> None:
    check_broken(clause, BREAKING[clause][edit], recorded, declaration)


@pytest.mark.parametrize("edit", HARMLESS)
def test_a_harmless_edit_is_not_minded(edit: str, recorded: Transcript, declaration: Declaration) -> None:
    check_harmless(CLAUSES, HARMLESS[edit], recorded, declaration)


@pytest.mark.parametrize("clause", CLAUSES)
def test_nothing_passes_where_nothing_was_seen(clause: str, recorded: Transcript, declaration: Declaration) -> None:
    check_nothing_seen(clause, recorded, declaration)


@pytest.mark.parametrize("clause", CLAUSES)
def test_nothing_passes_where_the_connector_fell_silent(
    clause: str, recorded: Transcript, declaration: Declaration
) -> None:
    """Online, subscribed, and not a word after the first states."""
    tape = tape_for(recorded, clause)
    online: set[str] = set()
    kept = []
    for record in tape.records:
        first = record.kind == "step" and record.data["name"] == "send"
        online |= {record.run} if first else set()
        told = record.kind == "packet" and record.data["dir"] == "c2b" and record.data["type"] == "PUBLISH"
        if not (told and record.run in online and record.run != "boot"):
            kept.append(record)
    tape.records = kept
    assert verdict(clause, tape, declaration).outcome is not Outcome.PASS


def test_a_command_under_way_may_be_refused_when_the_launch_ends(
    recorded: Transcript, declaration: Declaration
) -> None:
    """Right behind the answer that was waited for, and so very soon after the command."""
    tape = tape_for(recorded, "I2M-CMD-16")
    slow, quick = (tape.step("trouble.beside", "send", probe=probe) for probe in ("slow_command", "beside_slow"))
    end = tape.step("trouble.beside", "beside_end")
    order = tape.records[slow].data["id"]
    answers = {tape.value(place)["cmd_id"]: place for place in tape.published("trouble.beside", RESPONSES)}
    answered = answers[tape.records[quick].data["id"]]
    response = tape.records[answered]
    topic = response.data["topic"].replace(tape.records[quick].data["device"], tape.records[slow].data["device"])
    refused = {**tape.value(answered), "cmd_id": order, "status": "error"}
    if order in answers:
        tape.drop([answers[order]])
    tape.records.insert(end + 1, Record(0, response.t, response.run, "packet", {**response.data, "topic": topic}))
    tape.say(end + 1, refused)
    assert verdict("I2M-CMD-16", tape, declaration).outcome is Outcome.PASS
    # Where it was answered while the suite waited, the device was not slow at all.
    tape.records.insert(end, tape.records.pop(end + 1))
    assert "made slow" in verdict("I2M-CMD-16", tape, declaration).expected


def test_what_happens_after_a_launch_that_did_not_come_to_its_end_proves_nothing(
    recorded: Transcript, declaration: Declaration
) -> None:
    tape = tape_for(recorded, "I2M-CMD-16")
    tape.drop([tape.step("trouble.beside", "beside_end")])
    assert verdict("I2M-CMD-16", tape, declaration).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("clause", "run"),
    [("I2M-CMD-14", "trouble.timeout"), ("I2M-CMD-15", "trouble.failing"), ("I2M-CMD-16", "trouble.beside")],
)
def test_a_stimulus_that_fails_is_named(clause: str, run: str, recorded: Transcript, declaration: Declaration) -> None:
    tape = tape_for(recorded, clause)
    for place in tape.places(run, lambda r: r.data.get("name") == "stimulus_end"):
        tape.change(place, code=1, said="no connector listens there")
    found = verdict(clause, tape, declaration)
    assert found.outcome is Outcome.FAIL
    assert "no connector listens there" in found.seen
    assert "[stimuli]" in found.hint
