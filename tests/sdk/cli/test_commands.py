"""Commands that need no more than a folder or a broker."""

import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from tests.sdk.cli.command import IOT2MQTT, SECONDS, at, call, environment

from iot2mqtt_conformance.ports import free_port
from iot2mqtt_sdk.cli import cli
from iot2mqtt_sdk.contract.clauses import load_clauses
from iot2mqtt_sdk.contract.schemas import names


def commands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    for child, below in getattr(command, "commands", {}).items():
        yield from commands(f"{name} {child}", below)


def test_the_help_of_every_command_shows_an_example() -> None:
    found = dict(commands("iot2mqtt", cli))
    assert {"iot2mqtt new", "iot2mqtt watch", "iot2mqtt contract clauses"} < set(found)
    del found["iot2mqtt"]
    for name, command in found.items():
        text = command.get_help(click.Context(command, info_name=name))
        assert name in text.partition("Example")[2], name


def test_the_help_lists_every_command() -> None:
    printed = call("--help").stdout
    assert [name for name in cli.commands if f"\n  {name} " not in printed] == []


def test_the_version_is_that_of_the_distribution() -> None:
    assert re.search(r"\d+\.\d+\.\d+", call("--version").stdout)


def test_contract_clauses_prints_each_clause_once() -> None:
    lines = call("contract", "clauses").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [clause.id for clause in load_clauses()]


def test_contract_clauses_are_json_on_request() -> None:
    printed = json.loads(call("contract", "clauses", "--json").stdout)
    assert [clause["text"] for clause in printed] == [clause.text for clause in load_clauses()]


def test_contract_schemas_prints_names_and_on_request_the_schemas() -> None:
    assert call("contract", "schemas").stdout.split() == names()
    assert set(json.loads(call("contract", "schemas", "--json").stdout)) == set(names())


def test_conformance_ends_as_pytest_does_where_the_declaration_is_missing(tmp_path: Path) -> None:
    result = call("conformance", str(tmp_path))
    assert result.returncode == 4
    assert "conformance.toml does not exist" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_conformance_hands_further_arguments_to_pytest(connector: Path) -> None:
    (connector / "conformance.toml").write_text(
        '[connector]\nname = "tiny"\ncommand = ["python", "connector.py"]\ninstance = "instances/kitchen.json"\n',
        encoding="utf-8",
    )
    result = call("conformance", "--collect-only", "-q", "-k", "STATUS", cwd=connector)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "I2M-STATUS-01[tiny]" in result.stdout
    assert "I2M-CMD-01" not in result.stdout


def test_run_serves_the_named_instance_until_sigterm_and_exits_with_0(
    connector: Path, broker: int, status: Callable[[str], None]
) -> None:
    (connector / ".env").write_text(f"MQTT_HOST=127.0.0.1\nMQTT_PORT={broker}\n", encoding="utf-8")
    with subprocess.Popen([IOT2MQTT, "run", str(connector), "--instance", "kitchen"], env=environment()) as process:
        status("online")
        process.send_signal(signal.SIGTERM)
        status("offline")
        assert process.wait(SECONDS) == 0


def test_run_says_what_a_folder_without_a_connector_lacks(tmp_path: Path) -> None:
    result = call("run", str(tmp_path))
    assert result.returncode == 1
    assert "holds no connector" in result.stderr
    assert "Traceback" not in result.stderr


def health(folder: Path) -> subprocess.CompletedProcess[str]:
    return call("health", IOT2MQTT_PATH=str(folder), INSTANCE_NAME="kitchen")


def test_health_is_0_only_while_the_connector_answers(
    connector: Path, broker: int, status: Callable[[str], None]
) -> None:
    (connector / ".env").write_text(f"MQTT_HOST=127.0.0.1\nMQTT_PORT={broker}\n", encoding="utf-8")
    with subprocess.Popen([IOT2MQTT, "run", str(connector), "--instance", "kitchen"], env=environment()) as process:
        status("online")
        assert health(connector).returncode == 0
        process.terminate()
        status("offline")
        gone = health(connector)
    assert gone.returncode == 1
    assert "the connector does not answer" in gone.stderr


def test_health_names_a_broker_that_cannot_be_reached() -> None:
    result = call("health", cwd=None, INSTANCE_NAME="kitchen", **at(free_port()))
    assert result.returncode == 1
    assert "cannot be reached" in result.stderr
