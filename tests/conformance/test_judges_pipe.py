"""The judges of the pipeline, tried on the transcript of a run that is edited at random.

The run is the suite's own on the simplest reference connector, with Kafka and PostgreSQL of this machine.
"""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iot2mqtt_conformance.declaration import Declaration, load
from iot2mqtt_conformance.suite import piped
from iot2mqtt_conformance.transcript import Record, Transcript
from iot2mqtt_conformance.transcript import load as load_transcript
from iot2mqtt_conformance.verdict import Outcome
from tests.conformance.edited import Edit, check_as_recorded, check_broken, often, tape_for, verdict
from tests.conformance.recorded import state_of
from tests.conformance.suite_runs import REFERENCES, copy_of, run_suite
from tests.conformance.tape import Tape

ARRIVES, RESTARTS = "I2M-PIPE-01", "I2M-PIPE-02"
PARTS = ("bridge", "processor", "sink", "broker")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the report of a run as a user asks for it, in which both clauses pass."""
    folder = tmp_path_factory.mktemp("pipeline")
    options = ("--iot2mqtt-pipeline=on", "--iot2mqtt-clauses=I2M-PIPE-*", f"--iot2mqtt-report={folder / 'report'}")
    done = run_suite(*options, "--iot2mqtt-services=local", cwd=copy_of("simple", folder))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "simple: 2 pass" in done.stdout
    return folder / "report"


@pytest.fixture(scope="module")
def recorded(report: Path) -> Transcript:
    (file,) = report.glob("*.ndjson")
    return load_transcript(file)


@pytest.fixture(scope="module")
def declaration() -> Declaration:
    return piped(load(REFERENCES / "simple"), "on")


# ---------------------------------------------------------------------- edits
def carried(tape: Tape, part: str) -> int:
    return tape.step("pipeline", "carried", part=part)


def rows(tape: Tape, place: int) -> list[list[Any]]:
    return [list(row) for row in tape.records[place].data["rows"]]


def decided(tape: Tape, part: str) -> list[int]:
    """Return the places of states that a part's turn decides, such as those published while it was away."""
    after = tape.step("pipeline", "back" if part == "broker" else "away", part=part) if part != "nothing" else 0
    until = tape.step("pipeline", "marked" if part in {"nothing", "broker"} else "back", part=part)
    places = tape.places("pipeline", state_of)
    found = [place for place in places if after < place < until and acknowledged(tape, place, until)]
    assert found
    return found


def acknowledged(tape: Tape, place: int, until: int) -> bool:
    data = tape.records[place].data

    def fits(record: Record) -> bool:
        wanted = {"type": "PUBACK", "dir": "b2c", "id": data["id"], "conn": data["conn"]}
        return record.kind == "packet" and wanted.items() <= record.data.items()

    return any(place < ack < until for ack in tape.places("pipeline", fits))


def told(state: Record) -> tuple[str, int]:
    """Return the device and the time of a state, as its rows have them."""
    stamp = json.loads(state.data["payload"])["timestamp"]
    return state.data["topic"].split("/")[-2], round(datetime.fromisoformat(stamp).timestamp() * 1_000_000)


def lose(tape: Tape, state: Record, *, at_least: int = 1) -> str:
    """Take the rows of one state away, wherever they were seen, and return its device."""
    (device, moment), lost = told(state), 0
    for place in tape.places("pipeline", lambda r: r.data.get("name") == "carried"):
        kept = [row for row in rows(tape, place) if (row[0], row[2]) != (device, moment)]
        lost += len(rows(tape, place)) - len(kept)
        tape.change(place, rows=kept)
    assert lost >= at_least
    return device


def lose_one(tape: Tape, data: st.DataObject, part: str) -> str:
    """Take the rows of one state away that must be there, and return its device."""
    return lose(tape, tape.records[data.draw(st.sampled_from(decided(tape, part)))])


def row_lost(tape: Tape, data: st.DataObject) -> None:
    lose_one(tape, data, "nothing")


def another(change: Callable[[list[Any]], list[Any]]) -> Edit:
    """Return an edit that changes one row which must be there; some come of states that need not have arrived yet."""

    def edit(tape: Tape, data: st.DataObject) -> None:
        place = carried(tape, "nothing")
        found = rows(tape, place)
        due = {told(tape.records[state]) for state in decided(tape, "nothing")}
        number = data.draw(st.sampled_from([n for n, row in enumerate(found) if (row[0], row[2]) in due]))
        found[number : number + 1] = change(found[number])
        tape.change(place, rows=found)

    return edit


def without_time(tape: Tape, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(decided(tape, "nothing")))
    tape.say(place, {key: value for key, value in tape.value(place).items() if key != "timestamp"})


def never_followed(tape: Tape, _data: st.DataObject) -> None:
    tape.drop([carried(tape, "nothing")])


def lost_in(part: str) -> Edit:
    return lambda tape, data: lose_one(tape, data, part)


def silent_in(part: str) -> Edit:
    """Return an edit in which a device says nothing in the turn of a part."""

    def edit(tape: Tape, data: st.DataObject) -> None:
        first = tape.records[data.draw(st.sampled_from(decided(tape, part)))]
        topic = first.data["topic"]
        after = tape.step("pipeline", "away", part=part)
        until = carried(tape, part)
        tape.drop([p for p in tape.places("pipeline", state_of) if after < p < until and topic == topic_of(tape, p)])

    return edit


def topic_of(tape: Tape, place: int) -> str:
    return str(tape.records[place].data["topic"])


def stored_twice(tape: Tape, data: st.DataObject) -> None:
    place = carried(tape, data.draw(st.sampled_from(PARTS)))
    found = rows(tape, place)
    tape.change(place, rows=[*found, *found])


def cut_short(tape: Tape, data: st.DataObject) -> None:
    tape.drop([carried(tape, data.draw(st.sampled_from(PARTS)))])


def unbalanced(**change: int) -> Edit:
    """Return an edit of the ledger: what is added to an account of a device."""

    def edit(tape: Tape, data: st.DataObject) -> None:
        place = tape.step("pipeline", "ledger")
        devices = tape.records[place].data["devices"]
        device = data.draw(st.sampled_from(sorted(devices)))
        account = {name: count + change.get(name, 0) for name, count in devices[device].items()}
        tape.change(place, devices={**devices, device: account})

    return edit


BREAKING: dict[str, dict[str, Edit]] = {
    ARRIVES: {
        "a row lost": row_lost,
        "another value": another(lambda row: [[*row[:3], row[3] + 0.5]]),
        "no value": another(lambda row: [[*row[:3], None]]),
        "another time": another(lambda row: [[*row[:2], row[2] + 1000, row[3]]]),
        "another property": another(lambda row: [[row[0], f"{row[1]}x", *row[2:]]]),
        "another device": another(lambda row: [[f"{row[0]}x", *row[1:]]]),
        "stored twice": another(lambda row: [row, row]),
        "a state without a time": without_time,
        "never followed": never_followed,
    },
    RESTARTS: {
        **{f"lost in the turn of {part}": lost_in(part) for part in PARTS},
        **{f"silent in the turn of {part}": silent_in(part) for part in PARTS},
        "stored twice": stored_twice,
        "cut short": cut_short,
        "one missing in the ledger": unbalanced(missing=1),
        "one too many in the ledger": unbalanced(stored=100, missing=-100),
    },
}


@pytest.mark.parametrize("clause", [ARRIVES, RESTARTS])
def test_the_transcript_as_it_was_recorded_passes(clause: str, recorded: Transcript, declaration: Declaration) -> None:
    check_as_recorded(clause, recorded, declaration)


@pytest.mark.parametrize(("clause", "edit"), [(clause, name) for clause in BREAKING for name in BREAKING[clause]])
def test_an_edit_that_breaks_a_clause_is_seen(
    clause: str, edit: str, recorded: Transcript, declaration: Declaration
) -> None:
    check_broken(clause, BREAKING[clause][edit], recorded, declaration)


@pytest.mark.parametrize("part", PARTS)
@often
@given(data=st.data())
def test_what_is_among_the_dead_letters_is_not_lost(
    part: str, recorded: Transcript, declaration: Declaration, data: st.DataObject
) -> None:
    tape = tape_for(recorded, ARRIVES, RESTARTS)
    device = lose_one(tape, data, part)
    letter = {"device": device, "reason": "bad_value", "error": "no number"}
    tape.change(tape.step("pipeline", "letters"), letters=[letter])
    assert verdict(RESTARTS, tape, declaration).outcome is Outcome.PASS


def test_the_reason_of_a_dead_letter_is_told(recorded: Transcript, declaration: Declaration) -> None:
    tape = tape_for(recorded, ARRIVES, RESTARTS)
    device = lose(tape, tape.records[decided(tape, "nothing")[0]])
    letter = {"device": device, "reason": "bad_time", "error": "set the device's clock"}
    tape.change(tape.step("pipeline", "letters"), letters=[letter])
    found = verdict(ARRIVES, tape, declaration)
    assert found.outcome is Outcome.FAIL
    assert "bad_time: set the device's clock" in found.seen


def test_what_a_broker_without_memory_may_lose_is_held_against_nobody(
    recorded: Transcript, declaration: Declaration
) -> None:
    tape = tape_for(recorded, ARRIVES, RESTARTS)
    since, until = tape.step("pipeline", "marked", part="sink"), tape.step("pipeline", "back", part="broker")
    doubtful = [p for p in tape.places("pipeline", state_of) if since < p < until and not acknowledged(tape, p, since)]
    assert doubtful
    for place in doubtful:
        lose(tape, tape.records[place], at_least=0)
    assert verdict(RESTARTS, tape, declaration).outcome is Outcome.PASS


@pytest.mark.parametrize("clause", [ARRIVES, RESTARTS])
def test_nothing_passes_where_nothing_was_seen(clause: str, recorded: Transcript, declaration: Declaration) -> None:
    silent = tape_for(recorded, ARRIVES, RESTARTS)
    silent.records = [r for r in silent.records if r.kind in ("run", "step", "proc.start")]
    for tape in (Tape(recorded, set()), silent):
        assert verdict(clause, tape, declaration).outcome is not Outcome.PASS


def test_a_connector_that_has_nothing_to_store_is_told_so(recorded: Transcript, declaration: Declaration) -> None:
    tape = tape_for(recorded, ARRIVES, RESTARTS)
    for place in tape.places("pipeline", state_of):
        tape.say(place, {**tape.value(place), "state": {"scene": "evening"}})
    found = verdict(ARRIVES, tape, declaration)
    assert found.outcome is Outcome.NOT_RUN
    assert "[features.excluded]" in found.seen


def test_the_report_says_what_the_pipeline_ran_on(report: Path) -> None:
    (file,) = report.glob("*.report.json")
    services = json.loads(file.read_text(encoding="utf-8"))["services"]
    assert "Kafka of this machine, PostgreSQL" in services
    assert "TimescaleDB" in services
