"""`iot2mqtt action`, run as its user runs it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

IOT2MQTT = str(Path(sys.executable).with_name("iot2mqtt"))
SECONDS = 30
SETUP = {
    "tools": {
        "echo": {"entry": "echo.sh", "secrets": ["password"]},
        "refuse": {"entry": "refuse.sh"},
        "wait": {"entry": "wait.sh"},
        "away": {"entry": "../away.sh"},
    }
}
SCRIPTS = {
    "echo.sh": 'text=$(cat)\necho "got $text" >&2\nprintf \'{"ok": true, "result": %s}\' "$text"\n',
    "refuse.sh": 'echo \'{"ok": false, "error": {"code": "denied", "message": "no", "retriable": false}}\'\n',
    "wait.sh": "sleep 300 &\necho $! >&2\nwait\n",
}


@pytest.fixture
def connector(tmp_path: Path) -> Path:
    folder = tmp_path / "lamp"
    folder.mkdir()
    (folder / "setup.json").write_text(json.dumps(SETUP))
    for name, body in SCRIPTS.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}")
        (folder / name).chmod(0o755)
    return folder


def call(connector: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [IOT2MQTT, "action", connector.name, *arguments],
        cwd=connector.parent,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.parametrize("way", ["argument", "stdin"])
def test_the_answer_goes_to_stdout_and_the_complaints_to_stderr_both_without_secrets(connector: Path, way: str) -> None:
    inputs = json.dumps({"host": "h", "password": "hunter2"})

    if way == "argument":
        result = call(connector, "echo", "--input", inputs)
    else:
        result = call(connector, "echo", "--input", "-", stdin=inputs)

    masked = {"tool": "echo", "input": {"host": "h", "password": "***"}}
    assert result.returncode == 0
    assert json.loads(result.stdout) == {"ok": True, "result": masked}
    assert result.stderr == f"got {json.dumps(masked)}\n"


def test_an_error_of_the_tool_exits_with_1_and_its_answer(connector: Path) -> None:
    result = call(connector, "refuse")

    assert result.returncode == 1
    assert json.loads(result.stdout)["error"]["code"] == "denied"


def test_the_timeout_may_be_given(connector: Path) -> None:
    result = call(connector, "wait", "--timeout", "0.3")

    assert result.returncode == 1
    assert json.loads(result.stdout)["error"]["code"] == "timeout"
    assert gone(int(result.stderr))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nothing"], "declares no tool 'nothing'; it declares: away, echo, refuse, wait"),
        (["away"], "leads out of the connector's folder"),
        (["echo", "--input", "{"], "--input must be a JSON object"),
        (["echo", "--input", "[1]"], "--input must be a JSON object"),
        (["echo", "--timeout", "0"], "--timeout"),
    ],
)
def test_what_cannot_be_run_exits_with_2_and_a_sentence(connector: Path, arguments: list[str], complaint: str) -> None:
    result = call(connector, *arguments)

    assert result.returncode == 2
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_script_with_the_command(connector: Path, number: signal.Signals) -> None:
    command = [IOT2MQTT, "action", str(connector), "wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        child = int(process.stderr.readline())
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=SECONDS)

    assert process.returncode == 1
    assert json.loads(stdout)["error"]["code"] == "terminated"
    assert stderr == b""
    assert gone(child)


def gone(pid: int) -> bool:
    """Tell whether a process has ended; a killed one may wait for its parent as a zombie."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (ProcessLookupError, FileNotFoundError):
        return True
