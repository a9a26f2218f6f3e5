"""What is asked of judges, on a transcript as it was recorded and on one that was edited at random."""

from collections.abc import Callable, Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iot2mqtt_conformance.clauses import JUDGES
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.transcript import Transcript
from iot2mqtt_conformance.verdict import Outcome, Verdict
from tests.conformance.tape import Tape

Edit = Callable[[Tape, st.DataObject], object]

often = settings(max_examples=25, suppress_health_check=list(HealthCheck))


def verdict(clause: str, tape: Tape, declaration: Declaration) -> Verdict:
    return JUDGES[clause].function(tape.view(), declaration)


def tape_for(recorded: Transcript, *clauses: str) -> Tape:
    """Return what the judges of clauses may read."""
    scenes = {"boot", *(scene for clause in clauses for scene in JUDGES[clause].scenarios)}
    return Tape(recorded, {run for run in recorded.runs() if run.partition(".")[0] in scenes})


def check_as_recorded(clause: str, recorded: Transcript, declaration: Declaration) -> None:
    """The judge passes a good connector, and says by what."""
    found = verdict(clause, tape_for(recorded, clause), declaration)
    assert found.outcome is Outcome.PASS, found
    assert found.evidence


def check_broken(clause: str, edit: Edit, recorded: Transcript, declaration: Declaration) -> None:
    """The judge sees what breaks its clause, and says what it expected and saw, and where."""

    @often
    @given(st.data())
    def check(data: st.DataObject) -> None:
        tape = tape_for(recorded, clause)
        edit(tape, data)
        found = verdict(clause, tape, declaration)
        assert found.outcome is Outcome.FAIL, found
        assert found.expected
        assert found.seen
        assert all(0 <= i < len(tape.records) for i in found.evidence)

    check()


def check_harmless(clauses: Sequence[str], edit: Edit, recorded: Transcript, declaration: Declaration) -> None:
    """No judge minds what the contract allows."""

    @settings(often, max_examples=12)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        tape = tape_for(recorded, *clauses)
        edit(tape, data)
        view = tape.view()
        found = {clause: JUDGES[clause].function(view, declaration) for clause in clauses}
        assert {clause: v for clause, v in found.items() if v.outcome is not Outcome.PASS} == {}

    check()


def check_nothing_seen(clause: str, recorded: Transcript, declaration: Declaration) -> None:
    """No judge passes a connector of which nothing was seen."""
    whole = tape_for(recorded, clause)
    silent = Tape(recorded, set())
    silent.records = [r for r in whole.records if r.kind in ("run", "step", "proc.start")]
    for tape in (Tape(recorded, set()), silent):
        assert verdict(clause, tape, declaration).outcome is not Outcome.PASS
