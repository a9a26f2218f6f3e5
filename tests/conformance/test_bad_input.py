"""Connectors and brokers that fail, as their author meets it: one diagnosis, never a traceback of the suite."""

import re
import shutil
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.conformance.suite_runs import REFERENCES, connector, run_suite

DEADLINE = 60.0
OURS = re.compile(r"INTERNALERROR|ExceptionGroup|Event loop is closed|File \".*iot2mqtt_conformance")
EXITS_AT_ONCE = """
import sys
print("bulbs: 0 found")
sys.exit("no bulb at 10.0.0.7, giving up")
"""
HANGS = """
import signal
print("looking for the bridge")
signal.pause()
"""
TRACEBACK = """
import json

def configured():
    return json.loads("{'single': 'quotes'}")

configured()
"""
FLOOD = r"""
import os, signal
os.write(2, b"caf\xe9 \x00 is open\n" + b"y" * 3_000_000 + b"\n")
for number in range(40_000):
    print("line", number)
print("and now it waits", flush=True)
signal.pause()
"""
LEAVES_A_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print("child", child.pid, flush=True)
sys.exit(5)
"""


def assert_one_diagnosis(result: "subprocess.CompletedProcess[str]", *says: str) -> None:
    said = result.stdout + result.stderr
    assert result.returncode == 1, said
    assert OURS.search(said) is None, said
    assert re.search(r"\b1 failed, \d+ skipped in ", result.stdout.splitlines()[-1]), said
    for text in says:
        assert text in result.stdout, said


@pytest.mark.parametrize("services", ["local", pytest.param("embedded", marks=pytest.mark.soak)])
@pytest.mark.parametrize(
    ("code", "says"),
    [
        (EXITS_AT_ONCE, ["ended with exit code 1", "stdout: bulbs: 0 found", "stderr: no bulb at 10.0.0.7, giving up"]),
        (HANGS, ["did not connect to the broker within 3 s (start_deadline)", "stdout: looking for the bridge"]),
        (TRACEBACK, ["ended with exit code 1", "in configured", "stderr: json.decoder.JSONDecodeError: Expecting"]),
    ],
    ids=["exits at once", "hangs before CONNECT", "traceback"],
)
def test_a_connector_that_never_comes_online_is_told_once_with_its_last_lines(
    tmp_path: Path, code: str, says: list[str], services: str
) -> None:
    folder = connector(tmp_path, code, start_deadline="3")
    result = run_suite(f"--iot2mqtt-services={services}", cwd=folder)
    assert_one_diagnosis(result, *says)
    assert result.stdout.count(says[-1]) == 1


def test_a_flood_of_output_is_bounded_in_the_diagnosis(tmp_path: Path) -> None:
    began = time.monotonic()
    result = run_suite(cwd=connector(tmp_path, FLOOD, start_deadline="3"))
    assert time.monotonic() - began < DEADLINE
    assert_one_diagnosis(result, "did not connect to the broker", "stdout: and now it waits")
    assert len(result.stdout) < 20_000


def test_a_script_whose_interpreter_is_missing_is_one_sentence(tmp_path: Path) -> None:
    script = tmp_path / "main.sh"
    script.write_text("#!/no/such/shell\n", encoding="utf-8")
    script.chmod(0o755)
    result = run_suite(cwd=connector(tmp_path, "", command='["./main.sh"]'))
    assert_one_diagnosis(result, "./main.sh cannot be started in", "the interpreter that its first line names")


def test_a_peripheral_that_does_not_start_is_one_sentence(tmp_path: Path) -> None:
    folder = connector(tmp_path, HANGS)
    with (folder / "conformance.toml").open("a", encoding="utf-8") as file:
        file.write('[[peripherals]]\nname = "bulb"\nready = "line:ready"\n')
        file.write('command = ["python", "-c", "raise SystemExit(\'the bulb is broken\')"]\n')
    result = run_suite(cwd=folder)
    assert_one_diagnosis(result, "the peripheral boot:bulb was not ready (line:ready)", "the bulb is broken")


def test_nothing_that_a_connector_started_outlives_the_run(tmp_path: Path) -> None:
    result = run_suite(cwd=connector(tmp_path, LEAVES_A_CHILD))
    assert_one_diagnosis(result, "ended with exit code 5")
    found = re.search(r"stdout: child (\d+)", result.stdout)
    assert found is not None
    pid = int(found[1])
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


# ---------------------------------------------------------------------- brokers that die
KILLER = """
import os, runpy
import psutil

if os.environ["INSTANCE_NAME"].startswith(RUN):
    facts = ["ppid", "cmdline", "create_time"]  # None where a process ends meanwhile
    family = [found for found in psutil.process_iter(facts) if found.info["ppid"] == os.getppid()]
    brokers = [child for child in family if any(WORD in part for part in child.info["cmdline"] or ())]
    CHOOSE(brokers, key=lambda broker: broker.info["create_time"]).kill()
runpy.run_path("connector.py", run_name="__main__")
"""


@pytest.mark.parametrize("services", ["local", pytest.param("embedded", marks=pytest.mark.soak)])
@pytest.mark.parametrize(
    ("run", "choose"),
    [
        pytest.param("commands", "min", id="of all scenarios"),
        pytest.param("restart", "max", id="of one scenario", marks=pytest.mark.soak),
    ],
)
def test_a_broker_that_is_killed_during_the_run_cuts_it_short_and_blames_no_connector(
    tmp_path: Path, run: str, choose: str, services: str
) -> None:
    """The connector is a good one; its launch in one scenario kills the oldest broker, or that scenario's own."""
    folder = shutil.copytree(REFERENCES / "simple", tmp_path / "simple")
    word = {"local": "mosquitto", "embedded": "amqtt_program"}[services]
    killer = KILLER.replace("RUN", repr(run)).replace("WORD", repr(word)).replace("CHOOSE", choose)
    (folder / "killer.py").write_text(killer, encoding="utf-8")
    declaration = folder / "conformance.toml"
    text = declaration.read_text(encoding="utf-8")
    declaration.write_text(text.replace('"connector.py"', '"killer.py"'), encoding="utf-8")
    result = run_suite(f"--iot2mqtt-services={services}", cwd=folder)
    said = result.stdout + result.stderr
    assert result.returncode == 3, said
    name = word.partition("_")[0]
    assert re.search(rf"the broker {name} \S+ died while scenarios were running, so nothing is judged", said), said
    assert said.count("died while scenarios were running") == 1, said
    assert OURS.search(said) is None, said
    assert "FAILED" not in said
    assert " passed" not in result.stdout.splitlines()[-1]
