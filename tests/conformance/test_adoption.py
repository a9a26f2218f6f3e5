"""A connector that is not there yet: expected failures, SHOULD as warnings, what does not apply, and exit codes."""

import json
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import pytest

from iot2mqtt_conformance.declaration import DeclarationError, load
from iot2mqtt_conformance.verdict import Outcome, Standing, Verdict, rule
from tests.conformance.suite_runs import REFERENCES, run_suite

CHOSEN = "--iot2mqtt-clauses=I2M-*[AS]-02"
"""META-02 and STATUS-02, for which the first launch is enough; the hostile connector can break the second alone."""
BROKEN = "I2M-STATUS-02"
SHOULD = f"""
from dataclasses import replace

from iot2mqtt_conformance.contract import clauses

clauses()["{BROKEN}"] = replace(clauses()["{BROKEN}"], level="SHOULD")
"""


@dataclass(frozen=True, slots=True)
class Run:
    """What a user and a machine see of a run."""

    code: int
    text: str
    outcomes: dict[str, str]
    cases: dict[str, ET.Element]


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    return shutil.copytree(REFERENCES / "hostile", tmp_path / "hostile", ignore=ignored)


def declare(folder: Path, text: str) -> None:
    with (folder / "conformance.toml").open("a", encoding="utf-8") as file:
        file.write(text)


def run(folder: Path, *options: str, **environment: str) -> Run:
    report, junit = folder.parent / "report", folder.parent / "junit.xml"
    chosen = (CHOSEN, "--iot2mqtt-services=local", f"--iot2mqtt-report={report}", f"--junitxml={junit}", *options)
    done = run_suite(*chosen, cwd=folder, **environment)
    found = json.loads((report / "hostile.report.json").read_text(encoding="utf-8"))
    cases = {case.get("name", ""): case for case in ET.parse(junit).iter("testcase")}  # noqa: S314 - our own
    return Run(done.returncode, done.stdout, {c["id"]: c["outcome"] for c in found["clauses"]}, cases)


def properties(case: ET.Element) -> dict[str, str]:
    return {p.get("name", ""): p.get("value", "") for p in case.iter("property")}


def test_an_expected_failure_does_not_fail_the_run_and_is_told_with_its_reason(hostile: Path) -> None:
    declare(hostile, f'\n[expected_failures]\n"{BROKEN}" = "QoS 1 comes with the next radio"\n')
    found = run(hostile, BREAK=BROKEN)
    assert found.code == 0, found.text
    assert found.outcomes == {"I2M-META-02": "pass", BROKEN: "expected failure"}
    assert f"{BROKEN}  QoS 1 comes with the next radio" in found.text
    assert "1 xfailed" in found.text
    assert properties(found.cases[f"{BROKEN}[hostile]"])["iot2mqtt_outcome"] == "expected failure"


def test_a_clause_that_is_honoured_although_a_failure_is_expected_fails_the_run(hostile: Path) -> None:
    declare(hostile, f'\n[expected_failures]\n"{BROKEN}" = "QoS 1 comes with the next radio"\n')
    found = run(hostile)
    assert found.code == 1, found.text
    assert found.outcomes[BROKEN] == "unexpected pass"
    assert f"take {BROKEN} out of [expected_failures]" in found.text


def test_a_should_that_is_not_honoured_warns_and_fails_only_under_strict(hostile: Path) -> None:
    (hostile / "conftest.py").write_text(SHOULD, encoding="utf-8")
    mild = run(hostile, BREAK=BROKEN)
    assert mild.code == 0, mild.text
    assert mild.outcomes[BROKEN] == "warning"
    assert "1 warned" in mild.text
    assert re.search(rf"{BROKEN}  After connecting.*\n.*expected:.*QoS 1.*\n.*seen:.*QoS 0", mild.text)
    assert properties(mild.cases[f"{BROKEN}[hostile]"])["iot2mqtt_level"] == "SHOULD"
    strict = run(hostile, "--iot2mqtt-strict", BREAK=BROKEN)
    assert strict.code == 1, strict.text
    assert strict.outcomes[BROKEN] == "fail"


def test_what_does_not_apply_is_told_with_its_reason_and_proves_nothing(hostile: Path) -> None:
    declare(hostile, f'\n[features.excluded]\n"{BROKEN}" = "there is no such radio"\n')
    found = run(hostile, BREAK=BROKEN)
    assert found.code == 0, found.text
    assert found.outcomes[BROKEN] == "not applicable"
    assert f"{BROKEN}  excluded by the declaration: there is no such radio" in found.text


def test_a_run_in_which_no_clause_applies_is_no_pass(hostile: Path) -> None:
    declare(hostile, f'\n[features.excluded]\n"{BROKEN}" = "there is no such radio"\n')
    found = run(hostile, "-k", f"{BROKEN} or smoke")
    assert found.code == 1, found.text
    assert found.outcomes == {BROKEN: "not applicable"}


def test_a_failure_fails_and_its_junit_case_names_clause_level_area_and_connector(hostile: Path) -> None:
    found = run(hostile, BREAK=BROKEN)
    assert found.code == 1, found.text
    case = found.cases[f"{BROKEN}[hostile]"]
    assert properties(case) == {
        "iot2mqtt_connector": "hostile",
        "iot2mqtt_clause": BROKEN,
        "iot2mqtt_level": "MUST",
        "iot2mqtt_area": "STATUS",
        "iot2mqtt_outcome": "fail",
    }
    assert case.find("failure") is not None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[expected_failures]\n"I2M-STATUS-99" = "why"', r"\[expected_failures\] names I2M-STATUS-99.*did you mean"),
        ('[expected_failures]\n"I2M-STATUS-01" = " "', r"\[expected_failures\] I2M-STATUS-01 needs a reason"),
        ('[expected_failure]\n"I2M-STATUS-01" = "why"', "did you mean `expected_failures`"),
        (
            '[features.excluded]\n"I2M-STATUS-01" = "a"\n[expected_failures]\n"I2M-STATUS-01" = "b"',
            "can only be one of them",
        ),
    ],
)
def test_a_wrong_expectation_is_refused_with_file_and_fault(hostile: Path, text: str, says: str) -> None:
    declare(hostile, f"\n{text}\n")
    with pytest.raises(DeclarationError, match=says):
        load(hostile)


@pytest.mark.parametrize(
    ("outcome", "level", "expected", "strict", "standing"),
    [
        (Outcome.PASS, "SHOULD", None, True, Standing.PASS),
        (Outcome.FAIL, "MUST", None, False, Standing.FAIL),
        (Outcome.FAIL, "SHOULD", None, False, Standing.WARNING),
        (Outcome.FAIL, "SHOULD", None, True, Standing.FAIL),
        (Outcome.FAIL, "SHOULD", "known", False, Standing.EXPECTED_FAILURE),
        (Outcome.FAIL, "MUST", "known", True, Standing.EXPECTED_FAILURE),
        (Outcome.PASS, "SHOULD", "known", False, Standing.UNEXPECTED_PASS),
        # What was not judged is neither a failure that was expected, nor a pass that was not.
        (Outcome.NOT_RUN, "MUST", "known", False, Standing.NOT_RUN),
        (Outcome.NOT_APPLICABLE, "MUST", "known", False, Standing.NOT_APPLICABLE),
    ],
)
def test_a_verdict_means_for_the_run_what_level_and_expectation_say(
    outcome: Outcome, level: str, expected: str | None, strict: bool, standing: Standing
) -> None:
    assert rule(Verdict(outcome), level=level, expected=expected, strict=strict).standing is standing


def test_an_expected_failure_does_not_hide_a_connector_that_does_not_start(hostile: Path) -> None:
    declare(hostile, f'\n[expected_failures]\n"{BROKEN}" = "QoS 1 comes with the next radio"\n')
    (hostile / "main.py").write_text("import sys; sys.exit(3)\n", encoding="utf-8")
    found = run(hostile, "-k", BROKEN)
    assert found.code == 1, found.text
    assert found.outcomes == {BROKEN: "not run"}
