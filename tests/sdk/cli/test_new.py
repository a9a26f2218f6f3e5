"""`iot2mqtt new`: what it makes works at once, and is called what its author calls it."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.sdk.cli.command import REPOSITORY, call, environment

from iot2mqtt_sdk.cli import _templates

TEMPLATES = _templates.find()
BIN = Path(sys.executable).parent


@pytest.fixture
def made(tmp_path: Path) -> Path:
    result = call("new", "oven-door", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    return tmp_path / "oven-door"


def test_a_new_connector_bears_its_name_and_nothing_of_the_reference(made: Path) -> None:
    manifest = json.loads((made / "manifest.json").read_text(encoding="utf-8"))
    setup = json.loads((made / "setup.json").read_text(encoding="utf-8"))
    declared = tomllib.loads((made / "conformance.toml").read_text(encoding="utf-8"))
    assert (manifest["domain"], manifest["name"], setup["display_name"]) == ("oven-door", "Oven door", "Oven door")
    assert declared["connector"]["name"] == "oven-door"
    assert "class OvenDoorConnector(BaseConnector):" in (made / "connector.py").read_text(encoding="utf-8")
    code = [file for file in made.rglob("*") if file.is_file() and file.name != "README.md"]
    texts = {file: file.read_text(encoding="utf-8") for file in code}
    for word in ("simple", "LampHub", "reference_connectors", "--8<--", "{title}", "{class}"):
        assert [file.name for file, text in texts.items() if word in text] == []


def test_a_new_connector_passes_check_and_lint(made: Path) -> None:
    checked = call("check", cwd=made)
    assert (checked.returncode, checked.stdout) == (0, "")
    # To its author the SDK is no first party, as it is here.
    options = ["--config", str(REPOSITORY / "pyproject.toml"), "--ignore", "INP001,T201,I001", "--no-cache", str(made)]
    for command in (["check", *options], ["format", "--check", *options[:2], "--no-cache", str(made)]):
        linted = subprocess.run([BIN / "ruff", *command], capture_output=True, text=True, check=False)
        assert linted.returncode == 0, linted.stdout


@pytest.mark.slow
def test_a_new_connector_honours_the_contract(made: Path) -> None:
    # What it is generated from is judged by all clauses: these are the ones that a new name and instance could break.
    only = "--iot2mqtt-clauses=I2M-S*"
    judged = subprocess.run(
        [BIN / "pytest", "--iot2mqtt-conformance", "-q", "-p", "no:cacheprovider", only],
        cwd=made,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_the_next_steps_name_commands_and_devices_that_there_are(tmp_path: Path) -> None:
    printed = call("new", "oven", cwd=tmp_path).stdout
    readme = (tmp_path / "oven" / "README.md").read_text(encoding="utf-8")
    instance = json.loads((tmp_path / "oven" / "instances" / "oven.json").read_text(encoding="utf-8"))
    for text in (printed, readme):
        assert "iot2mqtt run --broker embedded" in text
        assert f"iot2mqtt send oven {instance['devices'][0]['device_id']} power=true" in text


@pytest.mark.parametrize("name", ["", "9lives", "a/b", "..", "oven door", "öfen", "x" * 41, "base"])
def test_a_name_that_cannot_be_a_connectors_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    result = call("new", "--", name, cwd=tmp_path)
    assert result.returncode == 2
    assert "Error: " in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "oven").mkdir()
    (tmp_path / "oven" / "notes.txt").write_text("mine", encoding="utf-8")
    result = call("new", "oven", cwd=tmp_path)
    assert result.returncode == 1
    assert "the folder oven is not empty" in result.stderr
    assert [file.name for file in (tmp_path / "oven").iterdir()] == ["notes.txt"]


def test_an_unknown_template_is_answered_with_those_there_are(tmp_path: Path) -> None:
    result = call("new", "oven", "--template", "cobol", cwd=tmp_path)
    assert result.returncode == 2
    assert f"simple ({TEMPLATES['simple'].description})" in result.stderr


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_replacement_of_a_template_finds_its_text(name: str) -> None:
    template = TEMPLATES[name]
    texts = [
        file.read_text(encoding="utf-8")
        for file in template.folder.rglob("*")
        if file.suffix != ".pyc" and file.is_file()
    ]
    texts = [text for text in texts if "[replace]" not in text]
    assert [old for old in template.replace if not any(old in text for text in texts)] == []


def test_every_template_is_put_into_the_wheel() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included == {f"reference_connectors/{name}": f"iot2mqtt_sdk/templates/{name}" for name in TEMPLATES}
