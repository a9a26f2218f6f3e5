"""The judges of states, errors, events and reachability, tried on a transcript that is edited at random.

One edit breaks a clause, and its judge must see it; another is harmless, and no judge may mind.
"""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iot2mqtt_conformance.clauses import JUDGES
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.transcript import Record, Transcript
from iot2mqtt_conformance.verdict import Outcome, Verdict
from tests.conformance.device_edits import BREAKING, CLAUSES, measured
from tests.conformance.harmless_edits import HARMLESS
from tests.conformance.tape import Tape

often = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def verdict(clause: str, tape: Tape, declaration: Declaration) -> Verdict:
    return JUDGES[clause].function(tape.view(), declaration)


def tape_for(clause: str, recorded: Transcript) -> Tape:
    """Return what the clause's judge may read."""
    scenes = {"boot", *JUDGES[clause].scenarios}
    return Tape(recorded, {run for run in recorded.runs() if run.partition(".")[0] in scenes})


@pytest.mark.parametrize("clause", CLAUSES)
def test_the_transcript_as_it_was_recorded_passes(clause: str, recorded: Transcript, declaration: Declaration) -> None:
    found = verdict(clause, tape_for(clause, recorded), declaration)
    assert found.outcome is Outcome.PASS, found
    assert found.evidence


@pytest.mark.parametrize(("clause", "edit"), [(clause, name) for clause in CLAUSES for name in BREAKING[clause]])
def test_an_edit_that_breaks_a_clause_is_seen(
    clause: str, edit: str, recorded: Transcript, declaration: Declaration
) -> None:
    @often
    @given(st.data())
    def check(data: st.DataObject) -> None:
        tape = tape_for(clause, recorded)
        BREAKING[clause][edit](tape, data)
        found = verdict(clause, tape, declaration)
        assert found.outcome is Outcome.FAIL, found
        assert found.expected
        assert found.seen
        assert all(0 <= i < len(tape.records) for i in found.evidence)

    check()


@pytest.mark.parametrize("edit", [edit.__name__ for edit in HARMLESS])
def test_a_harmless_edit_is_not_minded(edit: str, recorded: Transcript, declaration: Declaration) -> None:
    edits = {harmless.__name__: harmless for harmless in HARMLESS}
    scenes = {"boot", *(scene for clause in CLAUSES for scene in JUDGES[clause].scenarios)}

    @settings(often, max_examples=15)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        tape = Tape(recorded, {run for run in recorded.runs() if run.partition(".")[0] in scenes})
        edits[edit](tape, data)
        view = tape.view()
        found = {clause: JUDGES[clause].function(view, declaration) for clause in CLAUSES}
        assert {clause: v for clause, v in found.items() if v.outcome is not Outcome.PASS} == {}

    check()


@pytest.mark.parametrize(("round_trip", "outcome"), [(0.003, Outcome.FAIL), (0.1, Outcome.PASS)])
def test_a_machine_that_was_seen_to_lag_may_make_everything_take_longer(
    round_trip: float, outcome: Outcome, recorded: Transcript, declaration: Declaration
) -> None:
    tape = tape_for("I2M-STATE-08", recorded)
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
    tape = tape_for("I2M-STATE-03", recorded)
    measured(tape, round_trip)
    tape.retime("polling", lambda t: t * factor)
    assert verdict("I2M-STATE-03", tape, declaration).outcome is outcome


@pytest.mark.parametrize(("stalled", "outcome"), [(0.0, Outcome.FAIL), (3.0, Outcome.PASS)])
def test_a_pause_in_which_the_machine_stood_still_is_nobodys_fault(
    stalled: float, outcome: Outcome, recorded: Transcript, declaration: Declaration
) -> None:
    tape = tape_for("I2M-STATE-08", recorded)
    measured(tape, 0.003)
    struck = tape.step("slow", "stimulus_end")
    told = tape.published("slow", "state", after=struck)
    begin = tape.records[told[len(told) // 2]].t
    tape.retime("slow", lambda t: t + 3 if t > begin else t)
    tape.records.append(Record(0, begin + 3, "", "stalled", {"seconds": stalled}))
    assert verdict("I2M-STATE-08", tape, declaration).outcome is outcome


def test_a_device_that_is_alone_delays_nobody(recorded: Transcript, declaration: Declaration) -> None:
    tape = tape_for("I2M-STATE-08", recorded)
    (launch,) = tape.places("slow", lambda r: r.kind == "run")
    config = tape.records[launch].data["config"]
    alone = [each for each in config["devices"] if each["device_id"] == declaration.struck("device_slow")]
    tape.change(launch, config={**config, "devices": alone})
    assert verdict("I2M-STATE-08", tape, declaration).outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize(("round_trip", "minded"), [(0.003, True), (0.1, False)])
def test_a_machine_that_was_seen_to_lag_may_publish_late(
    round_trip: float, minded: bool, recorded: Transcript, declaration: Declaration
) -> None:
    tape = tape_for("I2M-STATE-01", recorded)
    measured(tape, round_trip)
    # The clock of the transcript is set, so that everything seems to have been published later.
    tape.wall += 5.5
    assert ("from its publication" in verdict("I2M-PUB-03", tape, declaration).seen) is minded


@pytest.mark.parametrize("clause", CLAUSES)
def test_nothing_passes_where_nothing_was_seen(clause: str, recorded: Transcript, declaration: Declaration) -> None:
    whole = tape_for(clause, recorded)
    silent = Tape(recorded, set())
    silent.records = [r for r in whole.records if r.kind in ("run", "step", "proc.start")]
    for tape in (Tape(recorded, set()), silent):
        assert verdict(clause, tape, declaration).outcome is not Outcome.PASS


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
    tape = tape_for(clause, recorded)
    for place in tape.places(scenario, lambda r: r.data.get("name") == "stimulus_end"):
        tape.change(place, code=1, said="no connector listens there")
    found = verdict(clause, tape, declaration)
    assert found.outcome is Outcome.FAIL
    assert "no connector listens there" in found.seen
    assert "[stimuli]" in found.hint
