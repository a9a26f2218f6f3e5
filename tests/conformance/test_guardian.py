"""A suite that is killed takes everything with it: connectors, what they have started, simulators, brokers."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.conformance.suite_runs import connector

DEADLINE = 90.0
FAMILY = """
import os, pathlib, signal, subprocess, sys
sleeper = [sys.executable, "-c", "import signal; signal.pause()"]
children = [
    subprocess.Popen(sleeper),
    subprocess.Popen(sleeper, start_new_session=True),
    subprocess.Popen(sleeper, start_new_session=True, env=ENVIRONMENT),
]
# This one's parent is gone by the time that anybody looks.
left_alone = [sys.executable, "-c", f"import subprocess; print(subprocess.Popen({sleeper!r}, start_new_session=True, "
    "stdout=subprocess.DEVNULL).pid)"]
orphan = subprocess.run(left_alone, stdout=subprocess.PIPE, text=True, check=True).stdout
pids = [os.getpid(), *(child.pid for child in children), int(orphan)]
pathlib.Path("pids").write_text(" ".join(map(str, pids)))
signal.pause()
"""


def lives(pid: int) -> bool:
    """Whether a process runs; who has ended may wait to be buried by nobody."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def suite(folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the suite in a process of its own, which may end in any way."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "--iot2mqtt-conformance", "-p", "no:randomly", *options]
    with (folder / "said").open("wb") as said:
        run = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
    try:
        yield run
    finally:
        run.kill()
        run.wait()


@contextmanager
def told(folder: Path) -> Iterator[Callable[[], str]]:
    """Make a named pipe, and offer to wait for what a program writes into it."""
    pipe = folder / "pids"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    def wait() -> str:
        readable, _, _ = select.select([end], [], [], DEADLINE)
        assert readable, (folder / "said").read_text()
        return os.read(end, 1000).decode()

    try:
        yield wait
    finally:
        os.close(end)


# A worker of xdist outlives its controller for a moment, and ends the connector before its guardian looks: who is then
# neither marked nor the child of anybody is not found.
@pytest.mark.parametrize(
    ("options", "environment"),
    [((), '{"PATH": os.environ["PATH"]}'), (("-n", "1"), "None")],
    ids=["alone", "with a worker"],
)
def test_nothing_outlives_a_suite_that_is_killed(tmp_path: Path, options: tuple[str, ...], environment: str) -> None:
    code = FAMILY.replace("ENVIRONMENT", environment)
    with told(tmp_path) as pids, suite(connector(tmp_path, code), *options) as run:
        family = [psutil.Process(int(pid)) for pid in pids().split()]
        helpers = psutil.Process(run.pid).children(recursive=True)
        assert any("mosquitto" in process.name() or "python" in process.name() for process in helpers)
        os.kill(run.pid, signal.SIGKILL)
        limit = time.monotonic() + DEADLINE
        while left := [process for process in {*family, *helpers} if lives(process.pid)]:
            assert time.monotonic() < limit, left
            psutil.wait_procs(left, timeout=0.05)


def test_a_guardian_that_is_killed_is_replaced(tmp_path: Path) -> None:
    code = """
import psutil, subprocess, sys
from iot2mqtt_conformance.guardian import guardian
first = guardian().environment()
for process in psutil.Process().children():
    process.kill()
    process.wait()
assert guardian().environment() == first
program = [sys.executable, "-c", "import signal; signal.pause()"]
print(subprocess.Popen(program, env=first, stdout=subprocess.DEVNULL, start_new_session=True).pid, flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True)
    assert not lives(int(done.stdout))
