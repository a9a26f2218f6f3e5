"""No false alarms: every reference connector honours every clause, on any broker, in any order, and leaves nothing."""

import compileall
import json
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import psutil
import pytest

from iot2mqtt_conformance.clauses import JUDGES
from iot2mqtt_conformance.declaration import FILE_NAME, Declaration, load
from iot2mqtt_conformance.judging import Played, judge, judged
from iot2mqtt_conformance.preparing import prepare
from iot2mqtt_conformance.transcript import Transcript
from iot2mqtt_conformance.transcript import load as load_transcript
from iot2mqtt_conformance.verdict import Outcome, Verdict
from tests.conformance.suite_runs import REFERENCES, copy_of, run_suite

NEEDS = {"shell": "mosquitto_sub", "node": "npm", "go": "go", "sensor_hub": "node"}
"""Programs without which a connector cannot run, where they are not what starts it."""


def references() -> list[str]:
    """Return the names of all reference connectors; finding too few would prove nothing."""
    names = sorted(file.parent.name for file in REFERENCES.glob(f"*/{FILE_NAME}"))
    assert len(names) >= 3, f"only {names} were found in {REFERENCES}"
    return names


def copied(name: str, folder: Path) -> Path:
    """Copy a connector and prepare the copy, so that whatever a run leaves there is seen and harms nobody."""
    if name in NEEDS and shutil.which(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    made = copy_of(name, folder)
    prepare(load(made))
    # None of the many starts has to do it again.
    compileall.compile_dir(made, quiet=1)
    return made


def outcomes(folder: Path) -> dict[str, str]:
    """Return the outcome of each clause from a report."""
    (file,) = folder.glob("*.report.json")
    report = json.loads(file.read_text(encoding="utf-8"))
    return {clause["id"]: clause["outcome"] for clause in report["clauses"]}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def processes_in(folder: Path) -> list[psutil.Process]:
    """Return the processes that run in a folder."""
    found = psutil.process_iter(["cwd"])
    return [process for process in found if Path(process.info["cwd"] or "/").is_relative_to(folder)]


def verdicts(declaration: Declaration, transcript: Transcript) -> dict[str, Verdict]:
    return {clause.id: judge(clause, declaration, Played(transcript, None)) for clause in judged()}


def test_every_folder_of_the_reference_connectors_is_judged_and_in_the_table() -> None:
    folders = sorted(path.name for path in REFERENCES.iterdir() if path.is_dir() and not path.name.startswith("."))
    assert references() == folders
    rows = re.findall(r"^\| \[(\w+)\]", (REFERENCES / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == folders


def honoured(result: CompletedProcess[str], report: Path) -> None:
    assert result.returncode == 0, result.stdout
    found = outcomes(report)
    assert set(found) == set(JUDGES)
    assert {"pass"} <= set(found.values()) <= {"pass", "not applicable"}


ONCE_MORE = {"hostile": [pytest.mark.soak]}
"""What is played whole for many tests, and judged below, need not be played again every day."""


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(name, marks=ONCE_MORE.get(name, [])) for name in references()])
def test_a_reference_connector_honours_every_clause_and_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    folder = copied(name, tmp_path)
    cwd, temporary, report = tmp_path / "cwd", tmp_path / "temporary", tmp_path / "report"
    cwd.mkdir()
    temporary.mkdir()
    before = files(folder)
    # Bytecode and the cache for --lf are habits of Python and pytest, and not the suite's.
    result = run_suite(
        "-p",
        "no:cacheprovider",
        f"--iot2mqtt-connector={folder}",
        "--iot2mqtt-services=local",
        f"--iot2mqtt-report={report}",
        cwd=cwd,
        PYTHONDONTWRITEBYTECODE="1",
        TMPDIR=str(temporary),
    )
    honoured(result, report)
    assert files(folder) == before
    assert files(cwd) == set()
    # What a connector keeps in the temporary folder is lost with SIGKILL, as it is with a container's.
    assert [name for name in files(temporary) if name.startswith("iot2mqtt-")] == []
    assert processes_in(tmp_path) == []


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("name", references())
def test_a_reference_connector_honours_every_clause_on_a_broker_from_pip_alone(name: str, tmp_path: Path) -> None:
    folder = copied(name, tmp_path)
    report = tmp_path / "report"
    honoured(run_suite("--iot2mqtt-services=embedded", f"--iot2mqtt-report={report}", cwd=folder), report)


def test_a_transcript_gives_the_same_verdicts_from_memory_and_from_disk(
    declaration: Declaration, recorded: Transcript, tmp_path: Path
) -> None:
    file = tmp_path / "transcript.ndjson"
    file.write_text(recorded.dump(), encoding="utf-8")
    first = verdicts(declaration, recorded)
    assert set(first) == set(JUDGES)
    assert {verdict.outcome for verdict in first.values()} <= {Outcome.PASS, Outcome.NOT_APPLICABLE}, first
    assert verdicts(declaration, load_transcript(file)) == first
    assert verdicts(declaration, recorded) == first


def test_verdicts_do_not_depend_on_the_order_in_which_clauses_are_judged(
    declaration: Declaration, recorded: Transcript
) -> None:
    usual = verdicts(declaration, recorded)
    for number in range(5):
        order = judged()
        random.Random(number).shuffle(order)
        assert {clause.id: judge(clause, declaration, Played(recorded, None)) for clause in order} == usual


def shuffled_runs(tmp_path: Path) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Yield the order of items and the outcomes of runs in random orders."""
    for number in ("1", "2"):
        report = tmp_path / number
        options = ("-v", "-p", "pytest_randomly", f"--randomly-seed={number}", "--iot2mqtt-clauses=I2M-STATUS-*")
        result = run_suite(*options, f"--iot2mqtt-report={report}", cwd=REFERENCES / "simple")
        assert result.returncode == 0, result.stdout
        yield re.findall(r"::(\S+)\[simple\] PASSED", result.stdout), outcomes(report)


@pytest.mark.soak
def test_items_may_run_in_any_order(tmp_path: Path) -> None:
    (first_order, first), (second_order, second) = shuffled_runs(tmp_path)
    assert sorted(first_order) == sorted(second_order)
    assert first_order != second_order
    assert first == second
    assert set(first.values()) == {"pass"}
