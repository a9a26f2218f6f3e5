"""From a flow to a connector that is online: what setup writes is what the connector reads."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from iot2mqtt_conformance.ports import free_port

SIMPLE = Path(__file__).parents[2] / "reference_connectors" / "simple"
IOT2MQTT = str(Path(sys.executable).with_name("iot2mqtt"))
SECONDS = 30
LIGHT = "IoT2mqtt/v1/instances/hub_light1"


@contextmanager
def running(command: list[str], ready: str, cwd: Path) -> Iterator[None]:
    """Run a program from the line that says it is ready."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=cwd, stdout=pipe, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        assert any(re.search(ready, line) for line in process.stdout)
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield
        process.terminate()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[int]:
    port = free_port()
    with running([sys.executable, str(SIMPLE / "simulator.py"), "serve", "--port", str(port)], "listens", tmp_path):
        yield port


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    port = free_port()
    file = tmp_path / "mosquitto.conf"
    file.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n", encoding="utf-8")
    with running(["mosquitto", "-c", str(file)], "mosquitto version .* running", tmp_path):
        yield port


@pytest.fixture
def connector(tmp_path: Path, hub: int) -> Path:
    """A copy of the simple connector, with answers beside it."""
    leave = shutil.ignore_patterns("instances", "secrets", "__pycache__")
    folder = Path(shutil.copytree(SIMPLE, tmp_path / "simple", ignore=leave))
    answers = {"form": {"hub": {"host": "127.0.0.1", "port": hub}}, "selection": {"device": "light1 (light)"}}
    (tmp_path / "answers.json").write_text(json.dumps(answers), encoding="utf-8")
    return folder


def environment(**variables: str) -> dict[str, str]:
    ours = ("MQTT_", "IOT2MQTT_", "INSTANCE_NAME", "PYTEST_")
    return {**{name: value for name, value in os.environ.items() if not name.startswith(ours)}, **variables}


def setup(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [IOT2MQTT, "setup", str(folder), "--answers", str(folder.parent / "answers.json"), *options]
    return subprocess.run(
        command,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@contextmanager
def heard(broker: int) -> Iterator[Any]:
    """Listen to the instance; yields a function that waits for a message and returns its payload."""
    said: dict[str, bytes] = {}
    news = threading.Condition()

    def take(_client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        with news:
            said[message.topic] = bytes(message.payload)
            news.notify_all()

    def follow(client: paho.Client, _data: Any, _flags: Any, _reason: Any, _properties: Any) -> None:
        client.subscribe(f"{LIGHT}/#", 1)

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = take
    client.on_connect = follow
    client.connect("127.0.0.1", broker)
    client.loop_start()

    def payload(suffix: str) -> bytes:
        with news:
            assert news.wait_for(lambda: f"{LIGHT}/{suffix}" in said, SECONDS), said
            return said[f"{LIGHT}/{suffix}"]

    yield payload
    client.disconnect()
    client.loop_stop()


@pytest.mark.parametrize("as_on_a_host", [False, True])
def test_the_instance_that_setup_writes_brings_the_connector_online(
    connector: Path, broker: int, tmp_path: Path, *, as_on_a_host: bool
) -> None:
    host = tmp_path / "host"
    result = setup(connector, *(["--output", str(host)] if as_on_a_host else []))
    assert result.returncode == 0, result.stderr
    variables = {"MQTT_HOST": "127.0.0.1", "MQTT_PORT": str(broker)}
    if as_on_a_host:
        # A host mounts the folder of one connector where the connector looks for its instances.
        (host / "app").mkdir()
        (host / "app" / "instances").symlink_to(host / "instances" / "simple")
        variables["IOT2MQTT_PATH"] = str(host / "app")
    command = [IOT2MQTT, "run", str(connector), "--instance", "hub_light1"]
    with heard(broker) as payload, subprocess.Popen(command, env=environment(**variables)) as process:
        try:
            assert payload("status") == b"online"
            assert json.loads(payload("devices/light1/state"))["state"] == {"power": False, "brightness": 50}
        finally:
            process.terminate()
        assert process.wait(SECONDS) == 0


def test_what_setup_says_last_is_the_command_that_starts_the_connector(connector: Path) -> None:
    result = setup(connector)
    assert result.stdout.splitlines()[-2:] == [
        f"wrote {connector}/instances/hub_light1.json",
        f"start it: iot2mqtt run {connector} --instance hub_light1",
    ]


def test_a_second_run_refuses_with_one_sentence_and_asks_nothing(connector: Path) -> None:
    setup(connector)
    second = setup(connector)
    assert second.returncode == 1
    assert second.stderr == (
        f"Error: {connector}/instances/hub_light1.json exists; name another instance id, "
        "or replace it with --overwrite\n"
    )
    assert setup(connector, "--overwrite").returncode == 0


def test_a_hub_that_does_not_answer_is_told_in_the_words_of_the_script(connector: Path, tmp_path: Path) -> None:
    answers = {"form": {"hub": {"host": "127.0.0.1", "port": free_port()}}, "selection": {"device": "light1 (light)"}}
    (tmp_path / "answers.json").write_text(json.dumps(answers), encoding="utf-8")
    result = setup(connector)
    assert result.returncode == 1
    assert "no lamp hub answers at 127.0.0.1" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (connector / "instances").exists()


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("answers.json", "{", "answers.json is malformed"),
        ("answers.json", None, "answers.json cannot be read: No such file or directory"),
        ("simple/setup.json", None, "setup.json cannot be read: No such file or directory"),
        ("simple/setup.json", "[]", "setup.json is malformed"),
        ("simple/manifest.json", "{}", "manifest.json is malformed"),
    ],
)
def test_files_that_are_missing_or_malformed_are_named(
    connector: Path, tmp_path: Path, name: str, content: str | None, complaint: str
) -> None:
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    result = setup(connector)
    assert result.returncode == 1
    assert complaint in result.stderr
    assert len(result.stderr.splitlines()) == 1
