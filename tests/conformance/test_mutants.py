"""Each mutant is killed by its own clause, and by nothing else but its declared company."""

import json
import shutil
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from iot2mqtt_conformance.clauses import JUDGES
from iot2mqtt_conformance.contract import clauses
from iot2mqtt_conformance.declaration import load
from iot2mqtt_conformance.judging import judge, judged, needed, play
from iot2mqtt_conformance.scenarios import memory
from iot2mqtt_conformance.services.choose import choose
from iot2mqtt_conformance.suite import piped
from iot2mqtt_conformance.verdict import Outcome
from tests.conformance.suite_runs import REFERENCES

HOSTILE = REFERENCES / "hostile"
# The connector's modules have everyday names, so they are imported in a process of their own.
LISTING = """
import json
from mutants import MUTANTS
from connector import Connector
from validation import Validation
print(json.dumps({
    name: [m.clause, sorted(m.company), m.connector is not Connector, m.action is not Validation]
    for name, m in MUTANTS.items()
}))
"""


@dataclass(frozen=True, slots=True)
class Mutant:
    clause: str
    company: frozenset[str]
    of_connector: bool
    of_action: bool


def listed() -> dict[str, Mutant]:
    done = subprocess.run([sys.executable, "-c", LISTING], cwd=HOSTILE, capture_output=True, text=True, check=True)
    return {
        name: Mutant(clause, frozenset(company), of_connector, of_action)
        for name, (clause, company, of_connector, of_action) in json.loads(done.stdout).items()
    }


MUTANTS = listed()


def failed_clauses(chosen: Collection[str], folder: Path = HOSTILE, *, pipeline: str = "auto") -> dict[str, str]:
    """Play what some clauses need, judge all clauses that can be judged by it, and return what each red one saw."""
    declaration = piped(load(folder), pipeline)
    new_broker, _ = choose("auto")
    played = play(declaration, chosen, new_broker=new_broker, seed=7, progress=lambda _line: None)
    assert played.smoke is None, played.smoke
    scenes = set(needed(declaration, chosen))
    ready = [clause for clause in judged() if set(JUDGES[clause.id].scenarios) <= scenes]
    verdicts = {clause.id: judge(clause, declaration, played) for clause in ready}
    assert {verdict.outcome for verdict in verdicts.values()} <= {Outcome.PASS, Outcome.FAIL, Outcome.NOT_RUN}
    return {clause_id: v.seen for clause_id, v in verdicts.items() if v.outcome is not Outcome.PASS}


def test_every_judge_has_a_clause_and_a_mutant() -> None:
    assert set(JUDGES) <= set(clauses())
    of_images = {clause for clause in JUDGES if clause.startswith("I2M-IMG")}
    # Wrong images are in test_docker.py, because they need an engine.
    assert {mutant.clause for mutant in MUTANTS.values()} | of_images == set(JUDGES)


def test_company_is_of_clauses_that_are_judged() -> None:
    assert {name for name, mutant in MUTANTS.items() if not mutant.company <= set(JUDGES) - {mutant.clause}} == set()


def test_an_unknown_mutant_is_refused_with_one_sentence_that_names_the_nearest() -> None:
    done = subprocess.run(
        [sys.executable, "main.py"],
        cwd=HOSTILE,
        env={"BREAK": "I2M-PUB-3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "hostile: BREAK is 'I2M-PUB-3', which is no mutant: did you mean I2M-PUB-03?\n"


@pytest.mark.soak  # tests/conformance/test_references.py judges it in every run, from outside
def test_the_conforming_connector_fails_no_clause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BREAK", raising=False)
    assert failed_clauses(JUDGES) == {}


def spoiled(name: str, folder: Path) -> Path:
    """Return the connector's folder; where a mutant has other files, a copy with these."""
    if MUTANTS[name].clause not in {"I2M-FILE-01", "I2M-FILE-02", "I2M-FILE-03"}:
        return HOSTILE
    copy = shutil.copytree(HOSTILE, folder / "hostile", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "mutants.py", name], cwd=copy, check=True, capture_output=True)
    return copy


def check(name: str, failures: dict[str, str]) -> None:
    mutant = MUTANTS[name]
    assert mutant.clause in failures, f"{name} survives: {failures}"
    assert set(failures) - {mutant.clause} <= mutant.company, failures


def in_reach(name: str) -> set[str]:
    """Return the clauses that a mutant can fail: connector and action script are programs apart."""
    of_scripts = {clause for clause, judge in JUDGES.items() if "actions" in judge.scenarios}
    if MUTANTS[name].of_action:
        return of_scripts
    return set(JUDGES) - of_scripts if MUTANTS[name].of_connector else set(JUDGES)


def area(name: str) -> str:
    return MUTANTS[name].clause.split("-")[1]


def piped_for(name: str) -> str:
    """Return whether Kafka and the database are started: only for mutants that need them."""
    return "on" if area(name) == "PIPE" else "auto"


def those_of_every_run() -> list[ParameterSet]:
    """Return all mutants; those beyond the first of each area, and those with Kafka, take too long for every run."""
    first = {area(name): name for name in sorted(MUTANTS, reverse=True) if area(name) != "PIPE"}
    often = set(first.values())
    return [pytest.param(name, marks=() if name in often else pytest.mark.soak) for name in sorted(MUTANTS)]


@pytest.mark.mutant
@pytest.mark.parametrize("name", those_of_every_run())
def test_a_mutant_is_killed_by_its_clause(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BREAK", name)
    check(name, failed_clauses([MUTANTS[name].clause], spoiled(name, tmp_path), pipeline=piped_for(name)))


@pytest.mark.mutant
@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_mutant_fails_nothing_but_its_clause_and_its_company(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BREAK", name)
    if MUTANTS[name].clause != "I2M-LIFE-07":
        monkeypatch.setattr(memory, "BUDGET", 1.0)  # thousands of commands are for those that leak
    check(name, failed_clauses(in_reach(name), spoiled(name, tmp_path), pipeline=piped_for(name)))
