"""Each mutant is killed by its own clause, and by nothing else but its declared company."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from iot2mqtt_conformance.clauses import JUDGES
from iot2mqtt_conformance.contract import clauses
from iot2mqtt_conformance.declaration import load
from iot2mqtt_conformance.judging import judge, judged, play
from iot2mqtt_conformance.services.choose import choose
from iot2mqtt_conformance.verdict import Outcome
from tests.conformance.suite_runs import REFERENCES

HOSTILE = REFERENCES / "hostile"


def table() -> ModuleType:
    sys.path.insert(0, str(HOSTILE))
    try:
        spec = importlib.util.spec_from_file_location("hostile_mutants", HOSTILE / "mutants.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["hostile_mutants"] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(HOSTILE))
    return module


MUTANTS = {name: mutant for name, mutant in table().MUTANTS.items() if mutant.clause in JUDGES}


def failed_clauses(folder: Path) -> dict[str, str]:
    """Judge a connector in this process, and return what each failed clause saw."""
    declaration = load(folder)
    new_broker, _ = choose("auto")
    played = play(declaration, JUDGES, new_broker=new_broker, seed=7, progress=lambda _line: None)
    assert played.smoke is None, played.smoke
    verdicts = {clause.id: judge(clause, declaration, played) for clause in judged()}
    return {clause_id: v.seen for clause_id, v in verdicts.items() if v.outcome is Outcome.FAIL}


def test_every_judge_has_a_clause_and_a_mutant() -> None:
    assert set(JUDGES) <= set(clauses())
    assert {mutant.clause for mutant in MUTANTS.values()} == set(JUDGES)


def test_the_conforming_connector_fails_no_clause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BREAK", raising=False)
    assert failed_clauses(HOSTILE) == {}


@pytest.mark.mutant
@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_mutant_is_killed_by_its_clause(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BREAK", name)
    mutant = MUTANTS[name]
    failures = failed_clauses(HOSTILE)
    assert mutant.clause in failures, f"{name} survives: {failures}"
    assert set(failures) - {mutant.clause} <= mutant.company, failures
