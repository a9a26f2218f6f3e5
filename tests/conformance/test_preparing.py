"""`prepare` of a declaration: a connector that has to be built is built before it is started, or nothing is judged."""

import json
from pathlib import Path

import pytest

from iot2mqtt_conformance.declaration import load
from iot2mqtt_conformance.preparing import PrepareError, prepare
from tests.conformance.suite_runs import connector, run_suite

BUILD = """
from pathlib import Path
Path("bin").mkdir()
Path("bin/main").write_text("#!/bin/sh\\nexit 5\\n")
Path("bin/main").chmod(0o755)
"""


def declared(folder: Path, code: str, **keys: str) -> Path:
    """Write a connector whose main.py is what prepares it."""
    return connector(folder, code, prepare='["python", "main.py"]', **{"command": '["bin/main"]', **keys})


def test_a_program_that_is_yet_to_be_made_may_be_declared_and_is_there_afterwards(tmp_path: Path) -> None:
    declaration = load(declared(tmp_path, BUILD))
    assert not (tmp_path / "bin").exists()
    assert prepare(declaration).command == ("bin/main",)
    assert (tmp_path / "bin" / "main").exists()


def test_an_action_script_that_is_yet_to_be_made_is_found_afterwards(tmp_path: Path) -> None:
    (tmp_path / "setup.json").write_text(json.dumps({"tools": {"look": {"entry": "bin/main"}}}), encoding="utf-8")
    folder = declared(tmp_path, BUILD, setup='"setup.json"')
    with (folder / "conformance.toml").open("a", encoding="utf-8") as file:
        file.write("[actions.look]\ngood = [{}]\n")
    declaration = load(folder)
    assert declaration.actions[0].script is None
    assert prepare(declaration).actions[0].script == tmp_path / "bin" / "main"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("print('first'); raise SystemExit('the compiler is unhappy')", r"code 1.*first\n.*the compiler is unhappy"),
        ("", r"has ended well, and still: .*starts `bin/main`"),
        ("import sys; sys.exit('input' if sys.stdin.read() else 0)", "has ended well"),
        ("import os; sys = os.environ['MQTT_HOST']", "KeyError: 'MQTT_HOST'"),
    ],
)
def test_what_cannot_be_prepared_says_why(
    tmp_path: Path, code: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MQTT_HOST", "the-tester-s-own-broker")
    with pytest.raises(PrepareError, match=f"(?s)prepare: `python main.py` in {tmp_path}.*{says}"):
        prepare(load(declared(tmp_path, code)))


def test_preparing_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iot2mqtt_conformance.preparing.PREPARED_WITHIN", 0.5)
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
    with pytest.raises(PrepareError, match="has not ended within"):
        prepare(load(declared(tmp_path, code)))


def test_where_preparing_fails_nothing_is_judged_and_the_exit_code_is_3(tmp_path: Path) -> None:
    result = run_suite("--iot2mqtt-services=embedded", cwd=declared(tmp_path, "raise SystemExit('no compiler')"))
    assert result.returncode == 3, result.stdout
    assert "no compiler" in result.stdout + result.stderr


def test_the_clauses_are_listed_without_preparing(tmp_path: Path) -> None:
    result = run_suite("--iot2mqtt-services=embedded", "--collect-only", "-q", cwd=declared(tmp_path, BUILD))
    assert result.returncode == 0, result.stdout
    assert not (tmp_path / "bin").exists()
