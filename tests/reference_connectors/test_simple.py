"""The files of the `simple` connector are what the project's own models and runner take."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from iot2mqtt_conformance.declaration import load
from iot2mqtt_conformance.ports import free_port
from iot2mqtt_sdk.contract.instance import InstanceConfig
from iot2mqtt_sdk.contract.manifest import Manifest
from iot2mqtt_sdk.contract.setup import Setup
from iot2mqtt_sdk.contract.setup_check import check
from tests.conformance.suite_runs import REFERENCES

SIMPLE = REFERENCES / "simple"


def read(name: str) -> Any:
    return json.loads((SIMPLE / name).read_text(encoding="utf-8"))


@contextmanager
def hub() -> Iterator[int]:
    """Run the simulated hub and yield its port."""
    port = free_port()
    command = [sys.executable, "simulator.py", "serve", "--port", str(port)]
    with subprocess.Popen(command, cwd=SIMPLE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "listens" in process.stdout.readline()
        yield port
        process.terminate()


def validate(request: str) -> dict[str, Any]:
    """Run the action script as a backend does: one JSON object in, one out."""
    result = subprocess.run(
        [sys.executable, "actions/validate.py"], cwd=SIMPLE, input=request, capture_output=True, text=True, check=True
    )
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def ask(**values: Any) -> dict[str, Any]:
    return validate(json.dumps({"tool": "validate", "input": values}))


def test_the_setup_file_and_the_manifest_are_valid() -> None:
    setup, manifest = Setup.model_validate(read("setup.json")), Manifest.model_validate(read("manifest.json"))
    assert manifest.domain == SIMPLE.name
    assert manifest.version == setup.version
    assert check(setup, SIMPLE) == []


def test_the_example_instance_is_one_that_the_sdk_takes() -> None:
    instance = InstanceConfig.from_document(read("conformance/instance.json"))
    assert [device.device_id for device in instance.devices] == ["light1", "light2", "thermo1"]


def test_the_action_lists_the_devices_of_the_hub_as_the_setup_flow_expects_them() -> None:
    with hub() as port:
        answer = ask(host="127.0.0.1", port=port)
    assert answer["ok"] is True
    assert {"address": "light1", "type": "light"} in answer["result"]["devices"]


def test_the_action_says_that_nothing_answers_and_that_trying_again_may_help() -> None:
    answer = ask(host="127.0.0.1", port=1)
    assert answer["ok"] is False
    assert answer["error"]["code"] == "unreachable"
    assert answer["error"]["retriable"] is True


@pytest.mark.parametrize(
    "banner", [b"SSH-2.0-OpenSSH_9.6\r\n", b"ok\n", b"ok 5\n", b"ok not json\n", b"\xff\xfe\n", b""]
)
def test_the_action_says_that_something_else_answers(banner: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        request = json.dumps({"tool": "validate", "input": {"host": "127.0.0.1", "port": server.getsockname()[1]}})
        command = [sys.executable, "actions/validate.py"]
        with subprocess.Popen(
            command, cwd=SIMPLE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            process.stdin.write(request.encode())
            process.stdin.close()
            process.stdin = None
            server.settimeout(20)
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(banner)
            output, _ = process.communicate(timeout=20)
    answer = json.loads(output)
    assert answer["ok"] is False
    assert answer["error"]["code"] == "not_a_hub"


def stimulus(name: str, port: int) -> int:
    """Run a declared stimulus and return its exit code."""
    _, *words = load(SIMPLE).stimuli[name]
    command = [sys.executable, *(word.replace("{port}", str(port)) for word in words)]
    return subprocess.run(command, cwd=SIMPLE, capture_output=True, check=False).returncode


def tell(port: int, line: str) -> str:
    with socket.create_connection(("127.0.0.1", port), 10) as connection, connection.makefile("rw") as stream:
        stream.write(f"{line}\n")
        stream.flush()
        return stream.readline().strip()


def test_the_declared_stimuli_act_on_the_hub() -> None:
    with hub() as port, socket.create_connection(("127.0.0.1", port), 10) as watcher, watcher.makefile("rw") as stream:
        stream.write("watch\n")
        stream.flush()
        assert stream.readline() == "event hub watching\n"
        assert stimulus("device_fails", port) == 0
        assert tell(port, "get light1").startswith("error")
        assert tell(port, "get light2").startswith("ok")
        assert stimulus("device_recovers", port) == 0
        assert tell(port, "get light1").startswith("ok")
        assert stimulus("event", port) == 0
        assert stream.readline() == "event light1 pressed\n"
        assert stimulus("device_slow", port) == 0
    assert stimulus("device_fails", port) == 1


def test_what_the_image_copies_exists_and_is_all_that_the_connector_imports() -> None:
    lines = (SIMPLE / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [word for line in lines if line.startswith("COPY reference_connectors/") for word in line.split()[1:-1]]
    assert all((REFERENCES.parent / name).exists() for name in copied)
    assert {Path(name).name for name in copied} == {"requirements.txt", "hub.py", "connector.py", "actions"}
