"""`iot2mqtt check`: what is wrong with a connector's files is found before anybody runs it."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from iot2mqtt_sdk.cli import cli

REPOSITORY = Path(__file__).parents[2]
CONNECTORS = [
    *(folder.parent for folder in (REPOSITORY / "reference_connectors").glob("*/conformance.toml")),
    *(file.parent for file in (REPOSITORY / "tests" / "sdk" / "setup_flows").glob("*/setup.json")),
]
SETUP: dict[str, Any] = {
    "display_name": "Lamp",
    "tools": {"probe": {"entry": "actions/probe.py"}},
    "flows": [
        {
            "id": "main",
            "name": "Main",
            "steps": [
                {
                    "id": "who",
                    "type": "form",
                    "schema": {
                        "fields": [
                            {"name": "name", "type": "text"},
                            {"name": "port", "type": "number"},
                            {"name": "on", "type": "checkbox"},
                        ]
                    },
                },
                {"id": "run", "type": "tool", "tool": "probe"},
                {"id": "pick", "type": "select", "items": "{{ tools.probe.result }}"},
                {"id": "write", "type": "instance", "instance": {"instance_id": "{{ form.who.name }}"}},
            ],
        }
    ],
}
MANIFEST = {"domain": "lamp", "name": "Lamp", "version": "1.0.0"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "actions").mkdir()
    (tmp_path / "actions" / "probe.py").touch()
    put(tmp_path, "setup.json", SETUP)
    put(tmp_path, "manifest.json", MANIFEST)
    return tmp_path


def put(folder: Path, name: str, document: Any) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(document), encoding="utf-8")


def check(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["check", str(folder), *options])


def lines(folder: Path) -> list[str]:
    result = check(folder)
    assert result.exit_code == (1 if result.stdout else 0)
    return result.stdout.splitlines()


def changed(where: str, value: Any) -> Any:
    """Return the setup with one place changed; None removes it."""
    document = copy.deepcopy(SETUP)
    *steps, last = [int(part) if part.isdecimal() else part for part in where.split("/")]
    place: Any = document
    for step in steps:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return document


def test_every_connector_of_ours_is_clean() -> None:
    assert len(CONNECTORS) >= 5
    assert {folder.name: lines(folder) for folder in CONNECTORS if lines(folder)} == {}


def test_a_clean_connector_has_no_findings_and_exits_with_0(folder: Path) -> None:
    assert lines(folder) == []
    assert json.loads(check(folder, "--json").stdout) == []


STEPS = "flows/0/steps"
GREET = {"id": "run", "type": "tool", "tool": "greet", "output_key": "probe"}


@pytest.mark.parametrize(
    ("where", "value", "expected"),
    [
        ("display_name", None, "setup.json: /display_name: is missing; add it"),
        ("colour", "red", "setup.json: /colour: there is no such key; remove it, or correct its spelling"),
        ("flows/0/id", "a b", "setup.json: /flows/0/id: String should match pattern"),
        (f"{STEPS}/0/type", "wizard", f"setup.json: /{STEPS}/0: Input tag 'wizard'"),
        (f"{STEPS}/0/schema/fields/1/type", "slider", f"setup.json: /{STEPS}/0/schema/fields/1: Input tag"),
        (f"{STEPS}/0/schema/fields/1/min", "1", f"setup.json: /{STEPS}/0/schema/fields/1/min: Input should be"),
        (f"{STEPS}/0/id", "pick", "setup.json: /flows/0: step id 'pick' is used twice"),
        (
            f"{STEPS}/3/instance/instance_id",
            "{{ form.who.nam }}",
            "setup.json: flows.main.write: {{ form.who.nam }} has",
        ),
        (f"{STEPS}/1", GREET, "setup.json: flows.main.run: there is no tool 'greet'"),
        ("tools/probe/entry", "actions/prob.py", "setup.json: tools.probe: entry 'actions/prob.py' does not exist"),
        (f"{STEPS}/2/items", "{{ form.who.name }}", "setup.json: flows.main.pick: items must be a list, and"),
        (f"{STEPS}/2/items", "a {{ tools.probe.result }}", "setup.json: flows.main.pick: items must be a list, and"),
        (f"{STEPS}/3/instance/update_interval", "{{ form.who.name }}", "update_interval must be a number, and"),
        (f"{STEPS}/3/instance/enabled", "{{ form.who.port }}", "enabled must be true or false, and"),
        (f"{STEPS}/3/instance/devices", "{{ form.who.port }}", "devices must be a list, and"),
        (f"{STEPS}/3/instance/config", "{{ form.who.on }}", "config must be an object, and"),
        (f"{STEPS}/1/conditions", {"form.who.port": "80"}, "condition on form.who.port never holds"),
        (f"{STEPS}/1/conditions", {"form.who.name": 80}, "condition on form.who.name never holds"),
        (f"{STEPS}/3/instance/connector_type", "bulb", "connector_type 'bulb' is not the manifest's domain 'lamp'"),
        (f"{STEPS}/0/schema/fields/1/secret", True, "flows.main.who.port: a secret is kept as one line of text"),
    ],
)
def test_a_fault_of_the_setup_is_one_line_with_file_and_place(
    folder: Path, where: str, value: Any, expected: str
) -> None:
    put(folder, "setup.json", changed(where, value))
    (found,) = lines(folder)
    assert found.startswith("setup.json: ")
    assert expected in found


def test_a_right_type_is_no_finding(folder: Path) -> None:
    instance = SETUP["flows"][0]["steps"][3]["instance"] | {
        "update_interval": "{{ form.who.port }}",
        "enabled": "{{ form.who.on }}",
        "devices": "{{ tools.probe.result }}",
        "config": "{{ tools.probe.result }}",
        "connector_type": "lamp",
    }
    put(folder, "setup.json", changed(f"{STEPS}/3/instance", instance))
    assert lines(folder) == []


def test_steps_that_nobody_reaches_are_found(folder: Path) -> None:
    late = {"id": "late", "type": "message"}
    put(folder, "setup.json", changed(STEPS, [*SETUP["flows"][0]["steps"], late]))
    assert lines(folder) == ["setup.json: flows.main.late: nobody reaches this step: 'write' before it ends the flow"]


def test_every_fault_has_a_line_of_its_own(folder: Path) -> None:
    put(folder, "setup.json", changed("display_name", 5) | {"version": 1, "x": 1})
    put(folder, "manifest.json", {"domain": "a/b", "name": ""})
    assert [line.partition(": ")[0] for line in lines(folder)] == ["setup.json"] * 3 + ["manifest.json"] * 3


@pytest.mark.parametrize(
    ("content", "mode", "complaint"),
    [
        ("#!/bin/sh\n", 0o644, "is not executable; run chmod +x"),
        ("echo\n", 0o755, "is no program; begin it with a line such as #!/bin/sh"),
        ("#!/bin/sh\n", 0o755, None),
        ("\x7fELF\0\0", 0o755, None),
    ],
)
def test_a_script_that_cannot_start_is_found(folder: Path, content: str, mode: int, complaint: str | None) -> None:
    script = folder / "actions" / "probe"
    script.write_text(content, encoding="utf-8")
    script.chmod(mode)
    put(folder, "setup.json", changed("tools/probe/entry", "actions/probe"))
    assert [complaint is not None and complaint in line for line in lines(folder)] == [True] * (complaint is not None)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("setup.json", b"{", "setup.json: the bytes are no JSON text: EOF while parsing an object at line 1"),
        ("manifest.json", b"\xff", "manifest.json: the bytes are no JSON text"),
        ("conformance.toml", b"[connector", "conformance.toml: cannot be read"),
        ("conformance.toml", b"connector = 5", "conformance.toml: connector: must be a table"),
        (
            "conformance.toml",
            b'[connector]\ninstance = "gone.json"',
            "conformance.toml: connector.instance: gone.json does not exist; create it",
        ),
        (
            "instances/kitchen.json",
            b'{"devices": [{"device_id": "a/b"}, {}]}',
            "instances/kitchen.json: /devices/0/device_id: ",
        ),
    ],
)
def test_a_malformed_file_is_named_with_the_place(folder: Path, name: str, content: bytes, expected: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    found = lines(folder)
    assert found[0].startswith(expected)


def test_the_instance_that_a_declaration_names_is_checked_too(folder: Path) -> None:
    (folder / "conformance.toml").write_text('[connector]\ninstance = "example.json"\n', encoding="utf-8")
    put(folder, "example.json", {"connection": {"port": "{port}"}, "devices": {}})
    (found,) = lines(folder)
    assert found.startswith("example.json: /devices: ")


def test_findings_as_json_have_file_path_and_message(folder: Path) -> None:
    put(folder, "manifest.json", MANIFEST | {"colour": "red"})
    result = check(folder, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == [
        {
            "file": "manifest.json",
            "path": "/colour",
            "message": "there is no such key; remove it, or correct its spelling",
        }
    ]


def test_a_folder_without_any_file_of_a_connector_is_a_finding(tmp_path: Path) -> None:
    (found,) = lines(tmp_path)
    assert "is no connector's folder" in found


def test_a_folder_that_does_not_exist_is_a_sentence(tmp_path: Path) -> None:
    result = check(tmp_path / "gone")
    assert result.exit_code == 2
    assert "does not exist" in result.output
