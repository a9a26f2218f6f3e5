"""The judges of states, errors, events and reachability, tried on a transcript that is edited at random.

One edit breaks a clause, and its judge must see it; another is harmless, and no judge may mind.
"""

import pytest

from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.transcript import Record, Transcript
from iot2mqtt_conformance.verdict import Outcome
from tests.conformance.device_edits import BREAKING, CLAUSES, measured
from tests.conformance.edited import (
    check_as_recorded,
    check_broken,
    check_harmless,
    check_nothing_seen,
    tape_for,
    verdict,
)
from tests.conformance.harmless_edits import HARMLESS


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


@pytest.mark.parametrize(("round_trip", "outcome"), [(0.003, Outcome.FAIL), (0.1, Outcome.PASS)])
def test_a_machine_that_was_seen_to_lag_may_make_everything_take_longer(
    round_trip: float, outcome: Outcome, recorded: Transcript, declaration: Declaration
) -> None:
    tape = tape_for(recorded, "I2M-STATE-08")
    measured(tape, round_trip)
    tape.retime("slow", lambda t: t * 1.6)
    assert verdict("I2M-STATE-08", tape, declaration).outcome is outcome


@pytest.mark.parametrize(
    ("round_trip", "factor", "outcome"),
    [(0.003, 1.6, Outcome.FAIL), (0.1, 1.6, Outcome.PASS), (0.1, 1.9, Outcome.FAIL)],
)
def test_a_machine_that_was_seen_to_lag_may_lengthen_the_interval_but_not_as_it_likes(
    round_trip: float, factor: float, outcome: Outcome, recorded: Transcript, declaration: Declaration
) -> None:
    tape = tape_for(recorded, "I2M-STATE-03")
    measured(tape, round_trip)
    tape.retime("polling", lambda t: t * factor)
    assert verdict("I2M-STATE-03", tape, declaration).outcome is outcome


@pytest.mark.parametrize(("stalled", "outcome"), [(0.0, Outcome.FAIL), (3.0, Outcome.PASS)])
def test_a_pause_in_which_the_machine_stood_still_is_nobodys_fault(
    stalled: float, outcome: Outcome, recorded: Transcript, declaration: Declaration
) -> None:
    tape = tape_for(recorded, "I2M-STATE-08")
    measured(tape, 0.003)
    struck = tape.step("slow", "stimulus_end")
    told = tape.published("slow", "state", after=struck)
    begin = tape.records[told[len(told) // 2]].t
    tape.retime("slow", lambda t: t + 3 if t > begin else t)
    tape.records.append(Record(0, begin + 3, "", "stalled", {"seconds": stalled}))
    assert verdict("I2M-STATE-08", tape, declaration).outcome is outcome


def test_a_device_that_is_alone_delays_nobody(recorded: Transcript, declaration: Declaration) -> None:
    tape = tape_for(recorded, "I2M-STATE-08")
    (launch,) = tape.places("slow", lambda r: r.kind == "run")
    config = tape.records[launch].data["config"]
    alone = [each for each in config["devices"] if each["device_id"] == declaration.struck("device_slow")]
    tape.change(launch, config={**config, "devices": alone})
    assert verdict("I2M-STATE-08", tape, declaration).outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize(("round_trip", "minded"), [(0.003, True), (0.1, False)])
def test_a_machine_that_was_seen_to_lag_may_publish_late(
    round_trip: float, minded: bool, recorded: Transcript, declaration: Declaration
) -> None:
    tape = tape_for(recorded, "I2M-STATE-01")
    measured(tape, round_trip)
    # The clock of the transcript is set, so that everything seems to have been published later.
    tape.wall += 5.5
    assert ("from its publication" in verdict("I2M-PUB-03", tape, declaration).seen) is minded


@pytest.mark.parametrize("clause", CLAUSES)
def test_nothing_passes_where_nothing_was_seen(clause: str, recorded: Transcript, declaration: Declaration) -> None:
    check_nothing_seen(clause, recorded, declaration)


@pytest.mark.parametrize(
    ("clause", "scenario"),
    [
        ("I2M-STATE-07", "failing"),
        ("I2M-STATE-08", "slow"),
        ("I2M-ERR-02", "failing"),
        ("I2M-ERR-03", "failing"),
        ("I2M-ERR-04", "recovering"),
        ("I2M-ERR-05", "failing"),
        ("I2M-EVT-02", "event"),
        ("I2M-META-04", "recovering"),
    ],
)
def test_a_stimulus_that_fails_is_named(
    clause: str, scenario: str, recorded: Transcript, declaration: Declaration
) -> None:
    tape = tape_for(recorded, clause)
    for place in tape.places(scenario, lambda r: r.data.get("name") == "stimulus_end"):
        tape.change(place, code=1, said="no connector listens there")
    found = verdict(clause, tape, declaration)
    assert found.outcome is Outcome.FAIL
    assert "no connector listens there" in found.seen
    assert "[stimuli]" in found.hint
