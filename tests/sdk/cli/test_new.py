"""`iot2mqtt new`: what it makes works at once, and is called what its author calls it."""

import json
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.sdk.cli.command import IOT2MQTT, REPOSITORY, Running, call, environment

from iot2mqtt_conformance.declaration import load
from iot2mqtt_conformance.ports import free_port
from iot2mqtt_sdk.cli import _templates, cli

TEMPLATES = _templates.find()
BIN = Path(sys.executable).parent
NEEDED = {"node": "npm", "go": "go", "shell": "mosquitto_sub", "sensor_hub": "node"}
"""Programs without which what is made of a template cannot run."""


@dataclass(frozen=True)
class Made:
    """A new connector, and what its author was told."""

    folder: Path
    printed: str


def typed(folder: Path, *arguments: str) -> Result:
    """Call the command line in a folder, but in this process: most of a short call would be the start of Python."""
    with chdir(folder):
        return CliRunner().invoke(cli, arguments)


def new(template: str, folder: Path) -> Made:
    """Make a connector of a template."""
    result = typed(folder, "new", "oven-door", "--template", template)
    assert result.exit_code == 0, result.output
    return Made(folder / "oven-door", result.output)


def texts(folder: Path) -> dict[str, str]:
    """Return the texts of a folder's files by path."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8") for file in files}


@pytest.fixture(scope="module", params=TEMPLATES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """What is made of each template, to be looked at only."""
    return new(request.param, tmp_path_factory.mktemp(request.param))


def test_a_new_connector_bears_its_name_and_nothing_of_the_reference(made: Made) -> None:
    manifest = json.loads((made.folder / "manifest.json").read_text(encoding="utf-8"))
    setup = json.loads((made.folder / "setup.json").read_text(encoding="utf-8"))
    declared = tomllib.loads((made.folder / "conformance.toml").read_text(encoding="utf-8"))
    assert (manifest["domain"], manifest["name"], setup["display_name"]) == ("oven-door", "Oven door", "Oven door")
    assert declared["connector"]["name"] == "oven-door"
    for document in (made.folder / "conformance" / "instance.json", made.folder / "instances" / "oven-door.json"):
        instance = json.loads(document.read_text(encoding="utf-8"))
        assert (instance["instance_id"], instance["connector_type"]) == ("oven-door", "oven-door")
    found = texts(made.folder)
    for text in (
        "reference_connectors",
        "--8<--",
        "{title}",
        "{class}",
        "{lower}",
        "{needs}",
        "{files}",
        "{first}",
        "{meanwhile}",
        "LampHub",
        "PumpHouse",
        "SensorHub",
        "class Zigbee2Mqtt(",
    ):
        assert [path for path, content in found.items() if text in content] == []


def test_a_new_connector_holds_what_its_readme_names_and_nothing_that_was_built(made: Made) -> None:
    found = texts(made.folder)
    assert {"README.md", "Dockerfile", ".gitignore", "conformance.toml", "instances/oven-door.json"} <= set(found)
    assert "template.toml" not in found
    parts = {part for path in found for part in path.split("/")}
    assert parts.isdisjoint({"node_modules", "bin", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache"})
    rows = [row for row in found["README.md"].splitlines() if row.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert [name for name in named if not list(made.folder.rglob(name.rstrip("/")))] == []


def test_an_image_of_a_new_connector_is_made_of_files_that_there_are(made: Made) -> None:
    lines = (made.folder / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    assert [name for names in copied for name in names if name != "." and not list(made.folder.glob(name))] == []
    assert any(copied)


@pytest.mark.parametrize("template", [name for name, each in TEMPLATES.items() if list(each.folder.glob("*.py"))])
def test_a_new_connector_in_python_is_a_class_of_its_own_that_passes_lint(template: str, tmp_path: Path) -> None:
    made = new(template, tmp_path).folder
    programs = [file.read_text(encoding="utf-8") for file in made.glob("*.py")]
    assert [text.count("class OvenDoorConnector(BaseConnector") for text in programs if "(BaseConnector" in text] == [1]
    # To its author the SDK is no first party, as it is here.
    options = ["--config", str(REPOSITORY / "pyproject.toml"), "--ignore", "INP001,T201,I001", "--no-cache", str(made)]
    for command in (["check", *options], ["format", "--check", *options[:2], "--no-cache", str(made)]):
        linted = subprocess.run([BIN / "ruff", *command], capture_output=True, text=True, check=False)
        assert linted.returncode == 0, linted.stdout


def test_a_new_connector_passes_check(made: Made) -> None:
    checked = typed(made.folder, "check")
    assert (checked.exit_code, checked.output) == (0, "no faults found\n")


def test_the_suite_takes_what_a_new_connector_declares(made: Made) -> None:
    declared = load(made.folder)
    assert (declared.name, declared.instance["instance_id"]) == ("oven-door", "oven-door")


@pytest.mark.skipif(shutil.which("go") is None, reason="go is not installed")
def test_a_new_connector_in_go_is_a_module_of_its_own_in_gos_form(tmp_path: Path) -> None:
    made = new("go", tmp_path).folder
    assert "module example.com/oven-door\n" in (made / "go.mod").read_text(encoding="utf-8")
    assert (made / "cmd" / "oven-door" / "main.go").is_file()
    formed = subprocess.run(["gofmt", "-l", "."], cwd=made, capture_output=True, text=True, check=False)
    assert (formed.returncode, formed.stdout) == (0, "")


def needs(template: str) -> None:
    """Skip a test where a program is missing without which what is made of a template cannot run."""
    if template in NEEDED and shutil.which(NEEDED[template]) is None:
        pytest.skip(f"{NEEDED[template]} is not installed")


@pytest.mark.soak
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_connector_honours_the_contract(template: str, tmp_path: Path) -> None:
    needs(template)
    result = subprocess.run(
        [IOT2MQTT, "conformance", "oven-door", "-q", "-p", "no:cacheprovider"],
        cwd=new(template, tmp_path).folder.parent,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def steps(text: str) -> list[str]:
    """Return the commands that a text tells to type, without those that install something."""
    return [line.strip() for line in text.splitlines() if re.match(r" *iot2mqtt ", line)]


def test_the_next_steps_are_those_that_the_new_connector_needs(made: Made) -> None:
    declared = tomllib.loads((made.folder / "conformance.toml").read_text(encoding="utf-8"))
    takes = {device["id"]: device["writable"] for device in declared.get("devices", [])}
    file = made.folder / "requirements.txt"
    packages = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    for text in (made.printed, (made.folder / "README.md").read_text(encoding="utf-8")):
        assert {"iot2mqtt check", "iot2mqtt run --broker embedded", "iot2mqtt watch"} <= set(steps(text))
        sent = re.findall(r"^ *iot2mqtt send oven-door (\S+) (\S+?)=(\S+)$", text, re.MULTILINE)
        assert len(sent) == declared["features"].get("commands", False)
        assert all(json.loads(value) in takes[device][name] for device, name, value in sent)
        told = re.search(r"^ *pip install -r requirements.txt$", text, re.MULTILINE)
        assert bool(told) == any(not line.startswith("iot2mqtt-sdk") for line in packages)


@pytest.mark.slow
@pytest.mark.parametrize(
    "template", [pytest.param(one, marks=() if one == "zigbee2mqtt" else pytest.mark.soak) for one in TEMPLATES]
)
def test_the_next_steps_lead_to_devices_that_tell_their_state_and_answer(template: str, tmp_path: Path) -> None:
    # zigbee2mqtt needs most of what runs: what is simulated must find the broker as well.
    needs(template)
    made = new(template, tmp_path)
    if TEMPLATES[template].port:
        # Somebody else may run what is made of this template.
        instance = made.folder / "instances" / "oven-door.json"
        text = instance.read_text(encoding="utf-8").replace(str(TEMPLATES[template].port), str(free_port()))
        instance.write_text(text, encoding="utf-8")
    runtime = {"XDG_RUNTIME_DIR": str(tmp_path / "runtime")}
    told = [step.split()[1:] for step in steps(made.printed)]
    (run,) = (step for step in told if step[0] == "run")
    with Running(IOT2MQTT, *run, cwd=made.folder, variables=runtime) as running:
        running.wait_for(r"broker: 127\.0\.0\.1:\d+")
        with Running(IOT2MQTT, "watch", cwd=tmp_path, variables=runtime) as watching:
            watching.wait_for(r"oven-door/devices/.+/state ")
        for step in told:
            if step[0] == "send":
                sent = call(*step, "--timeout", "20", cwd=tmp_path, **runtime)
                assert (sent.returncode, sent.stderr) == (0, "")
        assert running.end(signal.SIGINT) == 0
    assert "Traceback" not in running.output


def test_a_simulated_application_that_would_not_find_the_broker_is_not_started(tmp_path: Path) -> None:
    made = new("zigbee2mqtt", tmp_path).folder
    result = call("run", "--simulate", cwd=made, MQTT_HOST="192.0.2.1")
    assert result.returncode == 1
    assert "the simulated zigbee needs a broker on this machine: set MQTT_HOST=127.0.0.1" in result.stderr


def test_a_name_that_would_put_one_file_over_another_is_refused(tmp_path: Path) -> None:
    result = typed(tmp_path, "new", "simulator", "--template", "go")
    assert result.exit_code == 2
    assert "'simulator' names something in the template already" in result.output


@pytest.mark.parametrize("name", ["", "9lives", "a/b", "..", "oven door", "öfen", "x" * 41, "base"])
def test_a_name_that_cannot_be_a_connectors_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    result = typed(tmp_path, "new", "--", name)
    assert result.exit_code == 2
    assert "Error: " in result.output
    assert list(tmp_path.iterdir()) == []


def test_the_command_makes_a_connector_where_it_is_typed_and_refuses_without_a_traceback(tmp_path: Path) -> None:
    for code in (0, 1):
        result = call("new", "oven", cwd=tmp_path)
        assert (result.returncode, "Error: " in result.stderr) == (code, code > 0)
        assert "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["oven"]


def test_a_folder_with_something_in_it_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "oven").mkdir()
    (tmp_path / "oven" / "notes.txt").write_text("mine", encoding="utf-8")
    result = typed(tmp_path, "new", "oven")
    assert result.exit_code == 1
    assert "the folder oven is not empty" in result.output
    assert [file.name for file in (tmp_path / "oven").iterdir()] == ["notes.txt"]


def test_an_unknown_template_is_answered_with_those_there_are(tmp_path: Path) -> None:
    result = typed(tmp_path, "new", "oven", "--template", "cobol")
    assert result.exit_code == 2
    assert f"choose one of {', '.join(TEMPLATES)}" in result.output


def test_help_says_of_each_template_what_it_is(tmp_path: Path) -> None:
    words = typed(tmp_path, "new", "--help").output.split()
    assert next(iter(TEMPLATES)) == "simple"
    for name, template in TEMPLATES.items():
        told = [name, *template.description.split()]
        assert any(words[at : at + len(told)] == told for at in range(len(words))), name


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_replacement_of_a_template_finds_its_text(name: str) -> None:
    template = TEMPLATES[name]
    found = [file.read_text(encoding="utf-8") for file in template._own()]
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
