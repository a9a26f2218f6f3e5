"""The command line, run as its user runs it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from iot2mqtt_sdk.contract.clauses import load_clauses
from iot2mqtt_sdk.contract.schemas import names

IOT2MQTT = str(Path(sys.executable).with_name("iot2mqtt"))
SECONDS = 30
CONNECTOR = """
from iot2mqtt_sdk import BaseConnector

class Connector(BaseConnector):
    def get_device_state(self, device_id, device_config):
        return {"power": True}

Connector.main()
"""


def environment(**variables: str) -> dict[str, str]:
    ours = ("MQTT_", "IOT2MQTT_", "INSTANCE_NAME", "PYTEST_")
    return {**{name: value for name, value in os.environ.items() if not name.startswith(ours)}, **variables}


def call(*arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [IOT2MQTT, *arguments],
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    port = free_port()
    file = tmp_path / "mosquitto.conf"
    file.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n", encoding="utf-8")
    with subprocess.Popen(
        ["mosquitto", "-c", str(file)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        assert any(re.search(r"mosquitto version .* running", line) for line in process.stdout)
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield port
        process.terminate()


@pytest.fixture
def status(broker: int) -> Iterator[Callable[[str], None]]:
    """Wait for a word on the status topic of the instance `kitchen`."""
    said: list[str] = []
    news = threading.Condition()

    def take(_client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        with news:
            said.append(message.payload.decode())
            news.notify_all()

    def follow(client: paho.Client, _data: Any, _flags: Any, _reason: Any, _properties: Any) -> None:
        client.subscribe("IoT2mqtt/v1/instances/kitchen/status", 1)

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = take
    client.on_connect = follow
    client.connect("127.0.0.1", broker)
    client.loop_start()

    def wait_for(word: str) -> None:
        with news:
            assert news.wait_for(lambda: word in said, SECONDS), said

    yield wait_for
    client.disconnect()
    client.loop_stop()


@pytest.fixture
def connector(tmp_path: Path) -> Path:
    folder = tmp_path / "my connector"
    (folder / "instances").mkdir(parents=True)
    (folder / "connector.py").write_text(CONNECTOR, encoding="utf-8")
    instance = {"devices": [{"device_id": "light1"}], "update_interval": 60}
    (folder / "instances" / "kitchen.json").write_text(json.dumps(instance), encoding="utf-8")
    return folder


def commands(*path: str) -> Iterator[tuple[str, ...]]:
    text = call(*path, "--help").stdout
    listed = text.partition("Commands:\n")[2].partition("\n\n")[0]
    for line in listed.splitlines():
        name = (*path, line.split()[0])
        yield name
        yield from commands(*name)


def test_the_help_of_every_command_shows_an_example() -> None:
    found = list(commands())
    assert ("contract", "clauses") in found
    for name in found:
        example = call(*name, "--help").stdout.partition("Example")[2]
        assert f"iot2mqtt {' '.join(name)}" in example


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
    result = call("health", MQTT_HOST="127.0.0.1", MQTT_PORT=str(free_port()), INSTANCE_NAME="kitchen")
    assert result.returncode == 1
    assert "cannot be reached" in result.stderr
