"""What the pages show is run, loaded or looked up."""

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from iot2mqtt_conformance.contract import contract_folder, schema_fault
from iot2mqtt_conformance.declaration import load
from iot2mqtt_pipeline.cli import cli as pipeline
from iot2mqtt_sdk.cli import cli
from tests.conformance.suite_runs import connector, run_suite
from tests.docs.pages import DOCS, PAGES, README, REPOSITORY, Block, blocks, text

PROGRAMS = [block for block in blocks("python") if ".main()" in block.code]
DECLARATIONS = [block for block in blocks("toml") if "[connector]" in block.code]
DOCUMENTS = blocks("json")
SCHEMAS = {file.stem for file in (contract_folder() / "schemas").glob("*.json")}
INSTANCE_KEY = '"devices": ['


def only(language: str, page: Path, heading: str) -> str:
    (block,) = [block for block in blocks(language, page) if block.heading == heading]
    return block.code


def instance() -> str:
    return only("json", DOCS / "connector.md", "The instance file")


def test_there_are_examples_of_every_kind() -> None:
    assert len(PROGRAMS) >= 3
    assert len(DECLARATIONS) >= 3
    assert len(DOCUMENTS) >= 10


@pytest.mark.slow
def test_the_three_files_of_the_readme_are_a_connector_that_honours_every_judged_clause(tmp_path: Path) -> None:
    (tmp_path / "lamp.py").write_text(only("python", README, "The smallest connector"), encoding="utf-8")
    (tmp_path / "instance.json").write_text(only("json", README, "The smallest connector"), encoding="utf-8")
    declaration = tmp_path / "conformance.toml"
    declaration.write_text(only("toml", README, "Judge your own connector"), encoding="utf-8")
    result = run_suite(cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert re.search(r"lamp: \d+ pass", result.stdout)


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_a_connector_of_the_pages_comes_online(block: Block, tmp_path: Path) -> None:
    connector(tmp_path, block.code)
    (tmp_path / "instance.json").write_text(instance(), encoding="utf-8")
    result = run_suite("--iot2mqtt-clauses=I2M-STATUS-02", cwd=tmp_path)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("block", DECLARATIONS, ids=str)
def test_a_declaration_of_the_pages_loads(block: Block, tmp_path: Path) -> None:
    named = re.findall(r'^id = "(.+)"$', block.code, re.MULTILINE) or ["lamp"]
    (tmp_path / "conformance").mkdir()
    for place in (tmp_path, tmp_path / "conformance"):
        devices = [{"device_id": name} for name in named]
        (place / "instance.json").write_text(json.dumps({"devices": devices}), encoding="utf-8")
    (tmp_path / "conformance.toml").write_text(block.code, encoding="utf-8")
    assert load(tmp_path).name == "lamp"


@pytest.mark.parametrize("block", DOCUMENTS, ids=str)
def test_a_document_of_the_pages_fits_its_schema(block: Block) -> None:
    schema = block.heading if block.heading in SCHEMAS else "instance" if INSTANCE_KEY in block.code else None
    assert schema is not None, f"nobody knows what the JSON below {block.heading!r} is"
    assert schema_fault(schema, json.loads(block.code)) is None


def test_every_payload_has_an_example_or_a_sentence() -> None:
    page = text(DOCS / "contract.md")
    files = {"instance", "manifest", "setup", "action_input", "action_output"}
    assert {name for name in SCHEMAS - files if f"\n### {name}\n" not in page} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_of_the_pages_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", text(REPOSITORY / "Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)(?:\w+=\S+ )?make ([a-z]+)", text(page), re.MULTILINE))
    assert named - targets == set()


def test_the_readme_names_the_two_commands_of_a_fresh_machine() -> None:
    (commands,) = [block.code for block in blocks("sh", README) if block.heading == "Try it"]
    assert [line.split("#")[0].split() for line in commands.splitlines()] == [["make", "demo"], ["make", "test"]]


def shell_words(program: str) -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.code.splitlines()]
    return [call.split() for line in lines for call in re.findall(rf"\b{program} ([a-z].*)", line)]


@pytest.mark.parametrize(("program", "group"), [("iot2mqtt", cli), ("iot2mqtt-pipeline", pipeline)])
def test_commands_of_the_pages_exist(program: str, group: click.Command) -> None:
    calls = shell_words(program)
    assert len(calls) > 3
    for words in calls:
        command = group
        for word in words:
            if not isinstance(command, click.Group):
                break
            assert word in command.commands, f"{program} {' '.join(words)}: there is no {word}"
            command = command.commands[word]


def test_suite_options_of_the_pages_exist_and_each_is_explained() -> None:
    command = [sys.executable, "-m", "pytest", "--help"]
    said = subprocess.run(command, cwd=DOCS, capture_output=True, text=True, check=True).stdout
    known = set(re.findall(r"--iot2mqtt-[a-z]+", said))
    named = {option for page in PAGES for option in re.findall(r"--iot2mqtt-[a-z]+", text(page))}
    explained = set(re.findall(r"^\| `(--iot2mqtt-[a-z]+)", text(DOCS / "conformance.md"), re.MULTILINE))
    assert named - known == set()
    assert explained == known


@pytest.mark.parametrize("page", [*PAGES, REPOSITORY / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text(page))
    assert [link for link in links if not (page.parent / link).exists()] == []
