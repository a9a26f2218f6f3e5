"""`iot2mqtt new`: what it makes works at once, and is called what its author calls it."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.sdk.cli.command import REPOSITORY, call, environment

from iot2mqtt_sdk.cli import _templates

TEMPLATES = _templates.find()
BIN = Path(sys.executable).parent
NEEDED = {"node": "npm", "go": "go", "shell": "mosquitto_sub"}
"""Programs without which what is made of a template cannot run."""


def new(template: str, folder: Path) -> Path:
    """Make a connector of a template."""
    result = call("new", "oven-door", "--template", template, cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / "oven-door"


def texts(folder: Path) -> dict[str, str]:
    """Return the texts of a folder's files by path."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8") for file in files}


@pytest.fixture(scope="module", params=TEMPLATES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is made of each template, to be looked at only."""
    return new(request.param, tmp_path_factory.mktemp(request.param))


def test_a_new_connector_bears_its_name_and_nothing_of_the_reference(made: Path) -> None:
    manifest = json.loads((made / "manifest.json").read_text(encoding="utf-8"))
    setup = json.loads((made / "setup.json").read_text(encoding="utf-8"))
    declared = tomllib.loads((made / "conformance.toml").read_text(encoding="utf-8"))
    assert (manifest["domain"], manifest["name"], setup["display_name"]) == ("oven-door", "Oven door", "Oven door")
    assert declared["connector"]["name"] == "oven-door"
    for document in (made / "conformance" / "instance.json", made / "instances" / "oven-door.json"):
        instance = json.loads(document.read_text(encoding="utf-8"))
        assert (instance["instance_id"], instance["connector_type"]) == ("oven-door", "oven-door")
    found = texts(made)
    for text in (
        "reference_connectors",
        "--8<--",
        "{title}",
        "{class}",
        "{lower}",
        "{needs}",
        "{files}",
        "LampHub",
        "PumpHouse",
    ):
        assert [path for path, content in found.items() if text in content] == []


def test_a_new_connector_holds_what_its_readme_names_and_nothing_that_was_built(made: Path) -> None:
    found = texts(made)
    assert {"README.md", "Dockerfile", ".gitignore", "conformance.toml", "instances/oven-door.json"} <= set(found)
    assert "template.toml" not in found
    parts = {part for path in found for part in path.split("/")}
    assert parts.isdisjoint({"node_modules", "bin", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache"})
    rows = [row for row in found["README.md"].splitlines() if row.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert [name for name in named if not list(made.rglob(name.rstrip("/")))] == []


def test_a_new_connector_in_python_is_a_class_of_its_own_that_passes_lint(tmp_path: Path) -> None:
    made = new("simple", tmp_path)
    assert "class OvenDoorConnector(BaseConnector):" in (made / "connector.py").read_text(encoding="utf-8")
    # To its author the SDK is no first party, as it is here.
    options = ["--config", str(REPOSITORY / "pyproject.toml"), "--ignore", "INP001,T201,I001", "--no-cache", str(made)]
    for command in (["check", *options], ["format", "--check", *options[:2], "--no-cache", str(made)]):
        linted = subprocess.run([BIN / "ruff", *command], capture_output=True, text=True, check=False)
        assert linted.returncode == 0, linted.stdout


def test_a_new_connector_passes_check(made: Path) -> None:
    checked = call("check", cwd=made)
    assert (checked.returncode, checked.stdout) == (0, "")


@pytest.mark.skipif(shutil.which("go") is None, reason="go is not installed")
def test_a_new_connector_in_go_is_a_module_of_its_own_in_gos_form(tmp_path: Path) -> None:
    made = new("go", tmp_path)
    assert "module example.com/oven-door\n" in (made / "go.mod").read_text(encoding="utf-8")
    assert (made / "cmd" / "oven-door" / "main.go").is_file()
    formed = subprocess.run(["gofmt", "-l", "."], cwd=made, capture_output=True, text=True, check=False)
    assert (formed.returncode, formed.stdout) == (0, "")


def judged(made: Path, template: str, clauses: str) -> None:
    """Judge what was made of a template."""
    if template in NEEDED and shutil.which(NEEDED[template]) is None:
        pytest.skip(f"{NEEDED[template]} is not installed")
    result = subprocess.run(
        [BIN / "pytest", "--iot2mqtt-conformance", "-q", "-p", "no:cacheprovider", f"--iot2mqtt-clauses={clauses}"],
        cwd=made,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "template", ["simple", "node", *(pytest.param(one, marks=pytest.mark.soak) for one in NEEDED if one != "node")]
)
def test_a_new_connector_is_prepared_and_comes_online_under_its_name(template: str, tmp_path: Path) -> None:
    # Each run begins with that; the clause is the quickest one. One template in Python stands for all of them here.
    judged(new(template, tmp_path), template, "I2M-FILE-03")


@pytest.mark.soak
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_connector_honours_the_contract(template: str, tmp_path: Path) -> None:
    judged(new(template, tmp_path), template, "*")


def test_the_next_steps_name_commands_and_devices_that_there_are(tmp_path: Path) -> None:
    printed = call("new", "oven", cwd=tmp_path).stdout
    readme = (tmp_path / "oven" / "README.md").read_text(encoding="utf-8")
    instance = json.loads((tmp_path / "oven" / "instances" / "oven.json").read_text(encoding="utf-8"))
    for text in (printed, readme):
        assert "iot2mqtt run --broker embedded" in text
        assert f"iot2mqtt send oven {instance['devices'][0]['device_id']} power=true" in text


def test_a_name_that_would_put_one_file_over_another_is_refused(tmp_path: Path) -> None:
    result = call("new", "simulator", "--template", "go", cwd=tmp_path)
    assert result.returncode == 2
    assert "'simulator' names something in the template already" in result.stderr


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
    assert f"choose one of {', '.join(TEMPLATES)}" in result.stderr


def test_help_says_of_each_template_what_it_is() -> None:
    words = call("new", "--help").stdout.split()
    assert next(iter(TEMPLATES)) == "simple"
    for name, template in TEMPLATES.items():
        told = [name, *template.description.split()]
        assert any(words[at : at + len(told)] == told for at in range(len(words))), name


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_replacement_of_a_template_finds_its_text(name: str) -> None:
    template = TEMPLATES[name]
    sources = [template.folder / path for path in included(name)]
    files = [file for source in sources for file in ([source] if source.is_file() else source.rglob("*"))]
    found = [file.read_text(encoding="utf-8") for file in files if file.is_file() and file.suffix != ".pyc"]
    found = [text for text in found if "[replace]" not in text]
    assert [old for old in template.replace if not any(old in text for text in found)] == []


def included(name: str) -> set[str]:
    """Return what the wheel takes of a template's folder; `.` is all of it."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    table = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    ours = {Path(source): Path(target) for source, target in table.items() if Path(source).parts[1] == name}
    folder = Path("reference_connectors", name)
    places = {source.relative_to(folder): target for source, target in ours.items()}
    assert all(target == Path("iot2mqtt_sdk", "templates", name) / source for source, target in places.items())
    return {source.as_posix() for source in places}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_is_put_into_the_wheel_without_what_was_built_in_its_folder(name: str) -> None:
    template = TEMPLATES[name]
    taken = included(name)
    own = {file.relative_to(template.folder) for file in template._own()} | {Path(_templates.DECLARATION)}
    assert [path.as_posix() for path in own if taken.isdisjoint({".", path.parts[0]})] == []
    if template.ignore and set(template.ignore) != {"__pycache__/"}:
        assert taken.isdisjoint({".", *(ignored.rstrip("/") for ignored in template.ignore)})
