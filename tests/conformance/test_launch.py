"""Real programs: what they print, how they end, and that nothing of them is left."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from iot2mqtt_conformance.launch import (
    GRACE,
    KEPT_LINES,
    LONGEST_LINE,
    MOST_LINES,
    LaunchError,
    PeripheralProcess,
    Process,
    connector_environment,
    eventually,
)
from iot2mqtt_conformance.ports import free_port

DEADLINE = 15.0
CHILD_AND_PARENT = """
import os, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {child!r}], stdout=subprocess.PIPE, start_new_session={apart})
child.stdout.readline()
print(child.pid, flush=True)
{then}
"""
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
HOLDS_THE_PIPES = "import signal, sys; print('up', flush=True); signal.pause()"
Scenario = Callable[[], Awaitable[None]]


class Watched(Process):
    """A Python program, and all that was told of it."""

    def __init__(self, code: str, folder: Path, **rest: Any) -> None:
        self.told: list[tuple[str, str]] = []
        self.codes: list[int] = []
        self.ended_at = 0.0
        self.changed = asyncio.Event()
        super().__init__(
            [sys.executable, "-u", "-c", code],
            cwd=folder,
            env=connector_environment({}),
            label="program",
            on_line=self._line,
            on_exit=self._exit,
            **rest,
        )

    def _line(self, stream: str, line: str) -> None:
        self.told.append((stream, line))
        self.changed.set()

    def _exit(self, code: int) -> None:
        self.codes.append(code)
        self.ended_at = time.monotonic()

    async def says(self) -> str:
        """Wait for the first line."""
        await asyncio.wait_for(self.changed.wait(), DEADLINE)
        return self.told[0][1]

    async def ends(self) -> int:
        """Wait for the end, and return its code."""
        await asyncio.wait_for(self.exited.wait(), DEADLINE)
        return self.codes[0]

    def of(self, stream: str) -> list[str]:
        """Return the lines of one stream."""
        return [line for name, line in self.told if name == stream]


@asynccontextmanager
async def running(code: str, folder: Path) -> AsyncIterator[Watched]:
    process = Watched(code, folder)
    await process.start()
    try:
        yield process
    finally:
        await process.close()


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def run(scenario: Scenario) -> None:
    """Run a scenario as the suite does, with asyncio's own checks on."""
    asyncio.run(scenario(), debug=True)  # type: ignore[arg-type]


# ---------------------------------------------------------------------- output
def test_lines_of_both_streams_arrive_whole_and_in_order(tmp_path: Path) -> None:
    code = """
import sys
for number in range(3000):
    print("out", number)
    print("err", number, file=sys.stderr)
sys.stdout.write("no newline at the end")
"""

    async def scenario() -> None:
        async with running(code, tmp_path) as process:
            assert await process.ends() == 0
            assert process.of("stdout") == [*(f"out {n}" for n in range(3000)), "no newline at the end"]
            assert process.of("stderr") == [f"err {n}" for n in range(3000)]

    run(scenario)


def test_lines_and_characters_that_arrive_in_pieces_are_whole(tmp_path: Path) -> None:
    """A megabyte is read in chunks whose ends fall into lines, and into characters of two bytes."""
    code = "import sys; sys.stdout.buffer.write((chr(228) * 999 + 'x\\r\\n').encode() * 500)"

    async def scenario() -> None:
        async with running(code, tmp_path) as process:
            await process.ends()
            assert process.of("stdout") == ["\u00e4" * 999 + "x"] * 500

    run(scenario)


def test_a_line_without_end_is_cut_once_and_the_next_line_is_whole(tmp_path: Path) -> None:
    code = "print('x' * 5_000_000); print('next')"

    async def scenario() -> None:
        async with running(code, tmp_path) as process:
            await process.ends()
            long, after = process.of("stdout")
            assert long == "x" * LONGEST_LINE + f"… ({5_000_000 - LONGEST_LINE} more bytes)"
            assert after == "next"

    run(scenario)


def test_bytes_that_are_not_utf8_are_shown_and_break_nothing(tmp_path: Path) -> None:
    code = r"import sys; sys.stderr.buffer.write(b'caf\xe9 \x00\xff\nfine\n')"

    async def scenario() -> None:
        async with running(code, tmp_path) as process:
            await process.ends()
            assert process.of("stderr") == ["caf\ufffd \x00\ufffd", "fine"]

    run(scenario)


def test_a_flood_of_lines_is_bounded_and_its_last_lines_are_kept(tmp_path: Path) -> None:
    code = f"for number in range({MOST_LINES} * 3): print(number)"

    async def scenario() -> None:
        async with running(code, tmp_path) as process:
            await process.ends()
            assert len(process.told) == MOST_LINES + KEPT_LINES
            assert "only the last" in process.told[MOST_LINES - 1][1]
            assert process.told[-1] == ("stdout", str(MOST_LINES * 3 - 1))

    run(scenario)


# ---------------------------------------------------------------------- the end
@pytest.mark.parametrize("apart", [False, True], ids=["child in the group", "child in a group of its own"])
def test_an_end_is_seen_at_once_although_a_child_holds_the_pipes_open(tmp_path: Path, apart: bool) -> None:
    code = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session={apart})
print(child.pid)
print("last words " * 20, file=sys.stderr)
sys.exit(7)
"""

    async def scenario() -> None:
        async with running(code.format(apart=apart), tmp_path) as process:
            child = int(await process.says())
            try:
                gone_at = await asyncio.to_thread(_end_of, process.pid)
                assert await process.ends() == 7
                assert process.ended_at - gone_at < 0.25
                assert process.of("stderr") == [("last words " * 20)]
                if not apart:
                    assert await eventually(lambda: not lives(child), seconds=DEADLINE)
            finally:
                if apart:
                    os.kill(child, signal.SIGKILL)

    run(scenario)


def _end_of(pid: int | None) -> float:
    """Return when a process had ended, as the system tells it."""
    assert pid is not None
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return time.monotonic()
    import select

    try:
        select.select([descriptor], [], [], DEADLINE)
        return time.monotonic()
    finally:
        os.close(descriptor)


def test_a_signal_that_ends_a_program_is_its_negative_exit_code(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running("import signal; print('up'); signal.pause()", tmp_path) as process:
            await process.says()
            process.signal(signal.SIGTERM)
            assert await process.ends() == -signal.SIGTERM
            process.signal(signal.SIGTERM)
        assert process.codes == [-signal.SIGTERM]

    run(scenario)


@pytest.mark.parametrize("how", ["close", "kill", "end"])
def test_nothing_of_the_process_group_is_left(tmp_path: Path, how: str) -> None:
    then = "" if how == "end" else "signal.pause()"
    code = CHILD_AND_PARENT.format(child=STUBBORN, apart=False, then=then)

    async def scenario() -> None:
        async with running(code, tmp_path) as process:
            child = int(await process.says())
            if how == "kill":
                process.signal(signal.SIGKILL)
            if how != "close":
                await process.ends()
                assert await eventually(lambda: not lives(child), seconds=DEADLINE)
        assert not lives(child)

    run(scenario)


def test_sigterm_goes_to_the_program_alone(tmp_path: Path) -> None:
    child = """
import os, signal
signal.signal(signal.SIGTERM, lambda *_: os.write(2, b"the child was told\\n"))
print("up", flush=True)
while True:
    signal.pause()
"""
    then = "signal.sigwait([signal.SIGTERM])\nprint('told')\nchild.kill(); child.wait()"
    code = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
    code += CHILD_AND_PARENT.format(
        child="import signal; signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])\n" + child,
        apart=False,
        then=then,
    )

    async def scenario() -> None:
        async with running(code, tmp_path) as process:
            await process.says()
            process.signal(signal.SIGTERM)
            assert await process.ends() == 0
            assert process.of("stdout")[1:] == ["told"]
            assert process.of("stderr") == []

    run(scenario)


def test_a_program_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(STUBBORN, tmp_path) as process:
            await process.says()
            began = time.monotonic()
        assert process.codes == [-signal.SIGKILL]
        assert GRACE <= time.monotonic() - began < GRACE + 20

    run(scenario)


def test_a_program_that_is_being_ended_is_ended_where_all_is_given_up_meanwhile(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(STUBBORN, tmp_path) as process:
            await process.says()
            closing = asyncio.create_task(process.close())
            for _ in range(3):  # SIGTERM is sent, and the grace has begun
                await asyncio.sleep(0)
                closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            assert process.codes == [-signal.SIGKILL]

    run(scenario)


def test_starting_and_ending_makes_no_noise_of_asyncio(tmp_path: Path) -> None:
    """In a process of its own: what a destructor says after the loop has closed reaches no test otherwise."""
    script = f"""
import asyncio, gc, sys
from pathlib import Path
from iot2mqtt_conformance.launch import Process, connector_environment

CODE = {CHILD_AND_PARENT.format(child=HOLDS_THE_PIPES, apart=False, then="signal.pause()")!r}

async def main():
    said = [asyncio.Event() for _ in range(4)]
    programs = [
        Process(
            [sys.executable, "-c", CODE], cwd=Path("."), env=connector_environment({{}}), label="x",
            on_line=lambda *_rest, event=event: event.set(),
        )
        for event in said
    ]
    for program in programs:
        await program.start()
    for event in said:
        await event.wait()
    await asyncio.gather(*(program.close() for program in programs))
    ended = Process([sys.executable, "-c", ""], cwd=Path("."), env=connector_environment({{}}), label="x")
    await ended.start()
    await ended.exited.wait()

asyncio.run(main(), debug=True)
gc.collect()
"""
    result = subprocess.run(
        [sys.executable, "-X", "dev", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    noise = [line for line in result.stderr.splitlines() if "Executing" not in line]  # A slow machine is no fault.
    assert (result.returncode, noise) == (0, [])


# ---------------------------------------------------------------------- what cannot be started
def test_a_command_that_cannot_be_started_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("no program", encoding="utf-8")
    orphan = tmp_path / "orphan.sh"
    orphan.write_text("#!/no/such/interpreter\n", encoding="utf-8")
    orphan.chmod(0o755)

    async def start(*command: str, folder: Path = tmp_path) -> str:
        process = Process(list(command), cwd=folder, env=connector_environment({}), label="program")
        with pytest.raises(LaunchError) as refused:
            await process.start()
        await process.close()
        assert process.pid is None
        return str(refused.value)

    async def scenario() -> None:
        assert "no-such-program cannot be started" in await start("no-such-program")
        assert "interpreter" in await start("./orphan.sh")
        assert "Permission denied" in await start("./plain.txt")
        assert str(tmp_path / "away") in await start(sys.executable, folder=tmp_path / "away")

    run(scenario)


def test_python_means_the_interpreter_that_runs_the_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQTT_HOST", "elsewhere")
    monkeypatch.setenv("IOT2MQTT_PATH", "elsewhere")
    environment = connector_environment({"MODE": "test"})
    assert environment["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert "MQTT_HOST" not in environment
    assert "IOT2MQTT_PATH" not in environment
    assert environment["MODE"] == "test"


# ---------------------------------------------------------------------- peripherals
def peripheral(code: str, folder: Path, ready: str) -> PeripheralProcess:
    command = [sys.executable, "-u", "-c", code]
    return PeripheralProcess(command, cwd=folder, env=connector_environment({}), label="sim", ready=ready)


def test_a_peripheral_is_ready_when_it_says_so_or_listens(tmp_path: Path) -> None:
    port = free_port()
    listener = f"import signal, socket; s = socket.create_server(('127.0.0.1', {port})); signal.pause()"

    async def scenario() -> None:
        for code, ready in (
            ("import signal; print('all is up'); signal.pause()", "line:is up"),
            (listener, f"tcp:{port}"),
        ):
            device = peripheral(code, tmp_path, ready)
            await device.start(DEADLINE)
            await device.stop()

    run(scenario)


@pytest.mark.parametrize("ready", ["line:up", "tcp:{port}"])
def test_a_peripheral_that_ends_before_it_is_ready_is_told_of_with_its_last_lines(tmp_path: Path, ready: str) -> None:
    async def scenario() -> None:
        device = peripheral("raise RuntimeError('no such bulb')", tmp_path, ready.format(port=free_port()))
        with pytest.raises(LaunchError, match="RuntimeError: no such bulb"):
            await device.start(DEADLINE)
        await device.stop()

    run(scenario)
