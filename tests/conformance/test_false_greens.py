"""Nothing skipped, missing, silent or dead may end in exit code 0."""

import subprocess
import sys
from pathlib import Path

import pytest

from iot2mqtt_conformance.fault import own_fault
from tests.conformance.suite_runs import REFERENCES, connector, run_suite

CONNECT = """
import os, signal
import paho.mqtt.client as mqtt

client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="tiny")
client.connect("127.0.0.1", int(os.environ["MQTT_PORT"]))
client.loop_start()
"""
SILENT_SOCKET = """
import os, signal, socket

connection = socket.create_connection(("127.0.0.1", int(os.environ["MQTT_PORT"])))
signal.pause()
"""
ONLINE = (
    CONNECT
    + """
root = f"{os.environ['MQTT_BASE_TOPIC']}/v1/instances/{os.environ['INSTANCE_NAME']}"
client.publish(f"{root}/status", "online", 1, retain=True).wait_for_publish()
"""
)
KILL_THE_BROKER = (
    ONLINE
    + """
import psutil

for process in psutil.Process(os.getppid()).children(recursive=True):
    if process.pid != os.getpid() and "mosquitto" in process.name():
        process.kill()
signal.pause()
"""
)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import sys; sys.exit(3)", "ended with exit code 3 before it was online"),
        ("import sys; sys.exit(0)", "ended with exit code 0 before it was online"),
        pytest.param("raise RuntimeError('out of cheese')", "RuntimeError: out of cheese", marks=pytest.mark.soak),
        ("import signal; signal.pause()", "never called MQTT_HOST:MQTT_PORT"),
        pytest.param(SILENT_SOCKET, "sent no CONNECT", marks=pytest.mark.soak),
        (CONNECT + "signal.pause()", "did not publish `online`"),
        (ONLINE + "signal.pause()", "did not answer meta/request/info"),
    ],
    ids=["exits", "exits with 0", "traceback", "hangs", "silent socket", "publishes nothing", "online and deaf"],
)
def test_a_connector_that_cannot_be_judged_gets_one_diagnosis(tmp_path: Path, code: str, says: str) -> None:
    result = run_suite(cwd=connector(tmp_path, code, start_deadline="2"))
    assert result.returncode == 1, result.stdout
    assert says in result.stdout
    assert "1 failed" in result.stdout
    assert "passed" not in result.stdout.splitlines()[-1]


def test_the_smoke_item_cannot_be_deselected_into_green(tmp_path: Path) -> None:
    result = run_suite("-k", "STATUS", cwd=connector(tmp_path, "import sys; sys.exit(0)"))
    assert result.returncode == 1, result.stdout


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "conformance.toml does not exist"),
        ("", "[connector] is missing"),
        ("[connector]\nnam = 'x'\n", "did you mean `name`"),
        ("[connector]\nname = 'x'\ncommand = ['no-such-program']\ninstance = 'instance.json'\n", "no-such-program"),
    ],
    ids=["missing", "empty", "unknown key", "command that does not exist"],
)
def test_a_wrong_declaration_is_a_usage_error(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / "conformance.toml").write_text(text, encoding="utf-8")
    result = run_suite(cwd=tmp_path)
    assert result.returncode == 4, result.stdout
    assert says in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_a_broker_that_dies_while_scenarios_run_cuts_the_run_short(tmp_path: Path) -> None:
    result = run_suite("--iot2mqtt-services=local", cwd=connector(tmp_path, KILL_THE_BROKER))
    assert result.returncode == 3, result.stdout
    assert "died while scenarios were running" in result.stdout + result.stderr


BROKEN_SCENARIO = """
from iot2mqtt_conformance.scenarios import SCENARIOS


async def play(stage):
    await stage.smoke_ended_or_passed()
    raise KeyError("no such thing")


def pytest_configure(config):
    SCENARIOS["kill"] = play
"""


BROKEN_JUDGE = """
from dataclasses import replace
from iot2mqtt_conformance.clauses import JUDGES


def judge(view, declaration):
    raise KeyError("no such thing")


def pytest_configure(config):
    JUDGES["I2M-STATUS-06"] = replace(JUDGES["I2M-STATUS-06"], function=judge)
"""
BROKEN_SUMMARY = """
from iot2mqtt_conformance import suite


def summary(judged):
    raise KeyError("no such thing")


def pytest_configure(config):
    suite.summary = summary
"""
BROKEN_BROKER = """
from iot2mqtt_conformance.services.base import Broker


async def stop(self):
    raise KeyError("no such thing")


def pytest_configure(config):
    Broker.stop = stop
"""


@pytest.mark.parametrize(
    ("code", "where", "workers", "services"),
    [
        (BROKEN_SCENARIO, "in the scenario kill", "0", "local"),
        pytest.param(BROKEN_SCENARIO, "in the scenario kill", "2", "embedded", marks=pytest.mark.soak),
        pytest.param(BROKEN_JUDGE, "in the judge of I2M-STATUS-06", "0", "embedded", marks=pytest.mark.soak),
        (BROKEN_JUDGE, "in the judge of I2M-STATUS-06", "2", "local"),
        (BROKEN_SUMMARY, "in the summary", "0", "local"),
        pytest.param(BROKEN_SUMMARY, "in the summary", "1", "local", marks=pytest.mark.soak),
        pytest.param(BROKEN_BROKER, "while simple was played", "0", "embedded", marks=pytest.mark.soak),
    ],
)
def test_an_error_of_the_suite_is_told_once_and_as_its_own(
    tmp_path: Path, code: str, where: str, workers: str, services: str
) -> None:
    (tmp_path / "broken_suite.py").write_text(code, encoding="utf-8")
    result = run_suite(
        "-p",
        "broken_suite",
        "-n",
        workers,
        f"--iot2mqtt-services={services}",
        "--iot2mqtt-clauses=I2M-STATUS-0[67]",
        cwd=REFERENCES / "simple",
        PYTHONPATH=str(tmp_path),
    )
    said = result.stdout + result.stderr
    assert result.returncode == 3, said
    assert said.count("the suite itself has an error") == 1
    assert f"{where}: KeyError: 'no such thing'" in said
    assert "broken_suite.py" in said
    assert "INTERNALERROR" not in said


def test_a_secret_of_the_command_line_is_not_shown_in_a_diagnosis(tmp_path: Path) -> None:
    command = (
        '["python", "main.py", "--password", "hunter2", "--api-key=abc123", "tcp://me:swordfish@lamp", "--port", "7"]'
    )
    result = run_suite(cwd=connector(tmp_path, "import sys; sys.exit(3)", command=command))
    assert result.returncode == 1, result.stdout
    assert "python main.py --password *** --api-key=*** tcp://me:***@lamp --port 7" in result.stdout
    for secret in ("hunter2", "abc123", "swordfish"):
        assert secret not in result.stdout


def test_choosing_no_clause_is_no_pass(tmp_path: Path) -> None:
    folder = connector(tmp_path, "import sys; sys.exit(0)")
    assert run_suite("--iot2mqtt-clauses=I2M-NOTHING-*", cwd=folder).returncode == 4
    assert run_suite("-k", "nosuchclause", cwd=folder).returncode == 5


def test_without_the_option_the_plugin_collects_nothing(tmp_path: Path) -> None:
    import subprocess
    import sys

    connector(tmp_path, "")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "."], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 5, result.stdout


def test_a_run_in_the_background_of_a_shell_judges_sigint_all_the_same(tmp_path: Path) -> None:
    # What a shell starts there ignores SIGINT, and a script that inherits that cannot take it any more.
    clauses = "--iot2mqtt-clauses=I2M-LIFE-02"
    suite = [sys.executable, "-m", "pytest", "--iot2mqtt-conformance", clauses, f"--iot2mqtt-report={tmp_path}"]
    done = subprocess.run(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *suite],
        cwd=REFERENCES / "shell",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_an_error_in_one_of_the_launches_side_by_side_names_their_scenario() -> None:
    group = ExceptionGroup("launches", [TypeError("boom")])
    group.add_note("in the scenario tls")
    assert "(in the scenario tls: TypeError: boom)" in own_fault(ExceptionGroup("scenarios", [group]))
