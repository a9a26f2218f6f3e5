"""`iot2mqtt run` with a broker and simulated devices of its own."""

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.sdk.cli.command import IOT2MQTT, Running, at, call

from iot2mqtt_conformance.ports import free_port


@pytest.fixture
def runtime(tmp_path: Path) -> dict[str, str]:
    """Where brokers leave their notes, for this test alone."""
    return {"XDG_RUNTIME_DIR": str(tmp_path / "runtime")}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A new connector, whose simulated hub has a port of its own."""
    assert call("new", "oven", cwd=tmp_path).returncode == 0
    _set_port(tmp_path / "oven" / "instances" / "oven.json", free_port())
    return tmp_path / "oven"


@pytest.fixture
def taken() -> Iterator[None]:
    """Port 1883 is taken, by us if by nobody else."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", 1883))
            listener.listen()
        except OSError:
            pass  # somebody else has it, which is as good
        yield


def _set_port(instance: Path, port: int, host: str = "127.0.0.1") -> None:
    document = json.loads(instance.read_text(encoding="utf-8"))
    document["connection"] = {"host": host, "port": port}
    instance.write_text(json.dumps(document), encoding="utf-8")


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.usefixtures("taken")
def test_a_new_connector_runs_with_nothing_else_and_can_be_commanded(
    made: Path, tmp_path: Path, runtime: dict[str, str]
) -> None:
    with Running(IOT2MQTT, "run", "--broker", "embedded", cwd=made, variables=runtime) as running:
        running.wait_for("online: IoT2mqtt/v1/instances/oven")
        broker = int(running.wait_for(r"broker: 127\.0\.0\.1:(\d+)").group(1))
        hub = int(running.wait_for(r"simulated hub: 127\.0\.0\.1:(\d+)").group(1))
        assert broker != 1883
        sent = call("send", "oven", "light1", "power=true", "brightness=40", cwd=tmp_path, **runtime)
        assert (sent.returncode, sent.stdout) == (0, "light1 took power=true brightness=40\n")
        with Running(IOT2MQTT, "watch", cwd=tmp_path, variables=runtime) as watching:
            watching.wait_for(r"oven/devices/light1/state/brightness 40")
            # amqtt would send what it keeps twice, if it were not mended.
            assert len([line for line in watching.lines if line.endswith("oven/status online")]) <= 1
        assert running.end(signal.SIGINT) == 0
    assert not is_open(broker)
    assert not is_open(hub)
    assert "Traceback" not in running.output
    unreachable = call("send", "oven", "light1", "power=true", cwd=tmp_path, MQTT_PORT=str(broker), **runtime)
    assert "cannot be reached" in unreachable.stderr


def test_the_connectors_exit_code_is_passed_on(connector: Path, tmp_path: Path, runtime: dict[str, str]) -> None:
    with Running(IOT2MQTT, "run", str(connector), "--broker", "embedded", variables=runtime) as running:
        running.wait_for("online: ")
        call("send", "kitchen", "light1", "crash=true", "--timeout", "0.5", cwd=tmp_path, **runtime)
        assert running.process.wait(30) == 3


def test_a_signal_counts_whichever_thread_the_system_hands_it_to(connector: Path, runtime: dict[str, str]) -> None:
    with Running(IOT2MQTT, "run", str(connector), "--broker", "embedded", variables=runtime) as running:
        running.wait_for("online: ")
        run = running.process.pid
        another = next(int(task.name) for task in Path(f"/proc/{run}/task").iterdir() if int(task.name) != run)
        # Python sends signals to whole processes, and to threads of its own.
        assert ctypes.CDLL(None).tgkill(run, another, signal.SIGTERM) == 0
        assert running.process.wait(30) == 0


def test_a_connector_that_does_not_end_is_killed_by_the_second_signal(connector: Path, runtime: dict[str, str]) -> None:
    # It waits for the signal itself: a handler could run before `pause`, which would then wait for another one.
    stubborn = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print("ready", flush=True)
while signal.sigwait({signal.SIGTERM}):
    print("never", flush=True)
"""
    (connector / "connector.py").write_text(stubborn, encoding="utf-8")
    with Running(IOT2MQTT, "run", str(connector), "--broker", "embedded", variables=runtime) as running:
        running.wait_for("ready")
        running.process.send_signal(signal.SIGTERM)
        running.wait_for("never")
        assert running.end(signal.SIGTERM) == 137


def test_an_instance_for_a_real_device_starts_no_simulated_one(made: Path, runtime: dict[str, str]) -> None:
    _set_port(made / "instances" / "oven.json", free_port(), host="127.0.0.2")
    with Running(IOT2MQTT, "run", "--broker", "embedded", cwd=made, variables=runtime) as running:
        running.wait_for("online: ")
        assert running.end(signal.SIGTERM) == 0
    assert "simulated" not in running.output
    refused = call("run", str(made), "--simulate")
    assert refused.returncode == 1
    assert re.search("instances/oven.json is not made for the simulated devices", refused.stderr)


def test_simulated_devices_run_beside_the_users_own_broker(made: Path, broker: int) -> None:
    with Running(IOT2MQTT, "run", "--simulate", cwd=made, variables=at(broker)) as running:
        running.wait_for("online: ")
        hub = int(running.wait_for(r"simulated hub: 127\.0\.0\.1:(\d+)").group(1))
        assert call("send", "oven", "light1", "power=true", cwd=made, **at(broker)).returncode == 0
        assert running.end(signal.SIGTERM) == 0
    assert not is_open(hub)


def test_a_simulated_device_that_somebody_plays_already_is_not_started_twice(
    made: Path, runtime: dict[str, str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
        _set_port(made / "instances" / "oven.json", port)
        with Running(IOT2MQTT, "run", "--broker", "embedded", cwd=made, variables=runtime) as running:
            running.wait_for(f"127.0.0.1:{port} is taken, and whoever listens there is used as the simulated hub")
            running.wait_for("online: ")
            assert running.end(signal.SIGTERM) == 0


def test_a_simulated_device_that_does_not_start_is_named_with_its_last_words(made: Path) -> None:
    (made / "simulator.py").write_text("raise SystemExit('no room at the hub')\n", encoding="utf-8")
    result = call("run", "--simulate", cwd=made)
    assert result.returncode == 1
    assert "the simulated hub was not ready" in result.stderr
    assert "no room at the hub" in result.stderr.splitlines()[-1]


def test_one_of_several_instances_must_be_named(connector: Path) -> None:
    (connector / "instances" / "cellar.json").write_text('{"devices": []}', encoding="utf-8")
    result = call("run", str(connector))
    assert result.returncode == 2
    assert "with --instance: there are cellar, kitchen" in result.stderr


def test_a_folder_without_instances_leads_to_setup(connector: Path) -> None:
    (connector / "instances" / "kitchen.json").unlink()
    result = call("run", str(connector))
    assert result.returncode == 2
    assert "iot2mqtt setup" in result.stderr


def test_a_connector_in_another_language_is_started_by_its_declared_command(tmp_path: Path) -> None:
    (tmp_path / "instances").mkdir()
    (tmp_path / "instances" / "kitchen.json").write_text('{"devices": []}', encoding="utf-8")
    (tmp_path / "main.sh").write_text('echo "I serve $INSTANCE_NAME"; exit 7\n', encoding="utf-8")
    (tmp_path / "conformance.toml").write_text('[connector]\ncommand = ["sh", "main.sh"]\n', encoding="utf-8")
    result = call("run", str(tmp_path))
    assert (result.returncode, result.stdout) == (7, "I serve kitchen\n")


def prepared_by(folder: Path, *command: str) -> Path:
    """Write a connector that serves once a command has prepared it."""
    (folder / "instances").mkdir()
    (folder / "instances" / "kitchen.json").write_text('{"devices": []}', encoding="utf-8")
    declared = f'[connector]\nprepare = {json.dumps(command)}\ncommand = ["./served"]\n'
    (folder / "conformance.toml").write_text(declared, encoding="utf-8")
    return folder


def test_a_connector_that_must_be_built_is_built_before_each_start(tmp_path: Path) -> None:
    source = tmp_path / "source"
    folder = prepared_by(tmp_path, "sh", "-c", "echo building; cp source served; chmod +x served")
    for word in ("first", "second"):
        source.write_text(f"#!/bin/sh\necho {word}\n", encoding="utf-8")
        result = call("run", str(folder))
        assert (result.returncode, result.stdout) == (0, f"{word}\n")
        assert "building" in result.stderr


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["sh", "-c", "echo no compiler here; exit 9"], "ended with code 9: what it printed says what is missing"),
        (["no-such-compiler", "all"], "cannot be started: No such file or directory; is it installed?"),
        ([], "[connector] prepare is no command"),
    ],
)
def test_a_connector_that_cannot_be_built_is_not_started_and_one_sentence_says_why(
    tmp_path: Path, command: list[str], says: str
) -> None:
    result = call("run", str(prepared_by(tmp_path, *command)))
    assert (result.returncode, result.stdout) == (1, "")
    last = result.stderr.splitlines()[-1]
    assert last.startswith("Error: ")
    assert says in last


def test_npm_is_run_only_where_it_has_not_installed_what_is_locked(tmp_path: Path) -> None:
    folder = prepared_by(tmp_path, "npm", "ci")
    tools = tmp_path / "tools"
    tools.mkdir()
    # It stands in for npm, which leaves this note of what it has installed.
    note = "mkdir -p node_modules; echo installing; touch node_modules/.package-lock.json"
    for file, text in ((tools / "npm", f"#!/bin/sh\n{note}\n"), (folder / "served", "#!/bin/sh\n")):
        file.write_text(text, encoding="utf-8")
        file.chmod(0o755)
    (folder / "package-lock.json").write_text("{}", encoding="utf-8")
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    assert "installing" in call("run", str(folder), PATH=path).stderr
    assert "installing" not in call("run", str(folder), PATH=path).stderr
    later = (folder / "node_modules" / ".package-lock.json").stat().st_mtime + 5
    os.utime(folder / "package-lock.json", (later, later))
    assert "installing" in call("run", str(folder), PATH=path).stderr


def test_without_amqtt_the_embedded_broker_says_what_to_install(connector: Path, tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    text = "raise ModuleNotFoundError('No module named amqtt', name='amqtt')"
    (tmp_path / "without" / "amqtt.py").write_text(text, encoding="utf-8")
    result = call("run", str(connector), "--broker", "embedded", PYTHONPATH=str(tmp_path / "without"))
    assert result.returncode == 1
    assert result.stderr == ("Error: the embedded broker is not installed: run pip install 'iot2mqtt-sdk[embedded]'\n")


def test_the_note_of_a_broker_that_was_killed_leads_nobody_astray(tmp_path: Path, runtime: dict[str, str]) -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    note = tmp_path / "runtime" / "iot2mqtt" / "embedded_broker.json"
    note.parent.mkdir(parents=True)
    port = free_port()
    note.write_text(json.dumps({"pid": os.getpid(), "port": port}), encoding="utf-8")
    assert f":{port} cannot be reached" in call("send", "oven", "lamp", "power=true", cwd=tmp_path, **runtime).stderr
    note.write_text(json.dumps({"pid": ended.pid, "port": port}), encoding="utf-8")
    assert str(port) not in call("send", "oven", "lamp", "power=true", cwd=tmp_path, **runtime).stderr


def test_a_broker_that_is_named_comes_before_the_embedded_one(tmp_path: Path, runtime: dict[str, str]) -> None:
    note = tmp_path / "runtime" / "iot2mqtt" / "embedded_broker.json"
    note.parent.mkdir(parents=True)
    note.write_text(json.dumps({"pid": os.getpid(), "port": free_port()}), encoding="utf-8")
    port = free_port()
    (tmp_path / ".env").write_text(f"MQTT_HOST=127.0.0.1\nMQTT_PORT={port}\n", encoding="utf-8")
    assert f":{port} cannot be reached" in call("send", "oven", "lamp", "power=true", cwd=tmp_path, **runtime).stderr
