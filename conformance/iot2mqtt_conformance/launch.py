"""Starts programs: the connector, and the simulated devices beside it. Nothing started here outlives the rig.

A program is treated as a container treats its first process: SIGTERM goes to it alone, SIGKILL takes everything of its
process group, and so does its own end.
"""

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import psutil

from iot2mqtt_conformance.guardian import guardian

LONGEST_LINE = 4096
"""Bytes of a line that are kept; the rest of it is counted."""
KEPT_LINES = 50
MOST_LINES = 20_000
"""Lines that are told of as they come; of what is printed after them, at the end, only the last."""
CHUNK = 65_536
MOST_CHUNKS = 16
"""Chunks of CHUNK bytes that a pipe can hold at the end of a program: Linux allows 1 MiB."""
GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL when the rig is taken down."""
STEP = 0.02
"""Seconds between two looks at what the system tells no one of."""

_CONTRACT = ("MQTT_", "IOT2MQTT_")
_STREAMS = ((1, "stdout"), (2, "stderr"))
_CONTRACT_NAMES = {"INSTANCE_NAME", "CONNECTOR_TYPE", "MODE", "LOG_LEVEL", "TZ", "UPDATE_INTERVAL"}


class LaunchError(Exception):
    """A program could not be started, or did not become ready; the message says which and why."""


def connector_environment(overrides: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without the contract's variables, with the overrides on top.

    `python` means the interpreter that runs the suite: its folder comes first on PATH.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in _CONTRACT_NAMES and not name.startswith(_CONTRACT)
    }
    inherited["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)])
    return {**inherited, **overrides}


async def wholly(work: Coroutine[Any, Any, object]) -> None:
    """Do what must not be left half done, and only then heed that all is given up.

    asyncio would leave open the pipes of a process that was just being started, and leave alone one that was just
    being ended.
    """
    task = asyncio.ensure_future(work)
    given_up: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            given_up = error
    if given_up is not None:
        raise given_up from task.exception()
    task.result()


class _Lines:
    """Makes lines of the bytes of one stream."""

    def __init__(self, on_line: Callable[[str], object]) -> None:
        self._on_line = on_line
        self._rest = bytearray()
        self._lost = 0

    def feed(self, data: bytes) -> None:
        *whole, rest = data.split(b"\n")
        for part in whole:
            self._append(part)
            self._tell()
        self._append(rest)

    def end(self) -> None:
        """The stream is over: what stands without a newline is a line as well."""
        if self._rest:
            self._tell()

    def _append(self, part: bytes) -> None:
        kept = part[: LONGEST_LINE - len(self._rest)]
        self._rest += kept
        self._lost += len(part) - len(kept)

    def _tell(self) -> None:
        text = self._rest.decode("utf-8", "replace").rstrip("\r")
        self._on_line(f"{text}… ({self._lost} more bytes)" if self._lost else text)
        self._rest.clear()
        self._lost = 0


class _Child(asyncio.SubprocessProtocol):
    """Takes what asyncio tells of a program.

    The end is known the moment it comes, also where a grandchild outside the process group holds the pipes open: what
    the program itself has printed is in them by then.
    """

    def __init__(self, streams: Mapping[int, _Lines], on_exit: Callable[[int], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self.closed = self._loop.create_future()
        self.lives = False
        self._streams, self._on_exit = streams, on_exit

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.SubprocessTransport", transport)
        self.lives = True

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._streams[fd].feed(data)

    def process_exited(self) -> None:
        self.kill_group()
        for fd in self._streams:
            self._pipe(fd).pause_reading()
        # What asyncio has read but not yet handed over comes first.
        self._loop.call_soon(self._finish)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.closed.set_result(None)

    def _pipe(self, fd: int) -> asyncio.ReadTransport:
        return cast("asyncio.ReadTransport", self.transport.get_pipe_transport(fd))

    def _finish(self) -> None:
        for fd, lines in self._streams.items():
            pipe = self._pipe(fd).get_extra_info("pipe")
            with suppress(BlockingIOError):
                for _ in range(MOST_CHUNKS):
                    lines.feed(b"" if pipe.closed else os.read(pipe.fileno(), CHUNK))
            lines.end()
        self.transport.close()
        self._on_exit(self.transport.get_returncode() or 0)

    def kill_group(self) -> None:
        """Kill everything that is left of the process group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.transport.get_pid(), signal.SIGKILL)


class Process:
    """A program in a process group of its own, whose output arrives line by line."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        label: str,
        on_line: Callable[[str, str], object] = lambda _stream, _line: None,
        on_exit: Callable[[int], object] = lambda _code: None,
    ) -> None:
        self.label = label
        self.exited = asyncio.Event()
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._command, self._cwd, self._env = list(command), cwd, dict(env)
        self._on_line, self._on_exit = on_line, on_exit
        self._child: _Child | None = None
        self._count = 0
        self._untold: deque[tuple[str, str]] = deque(maxlen=KEPT_LINES)

    @property
    def pid(self) -> int | None:
        """The process id, or None before the start."""
        return self._child.transport.get_pid() if self._child else None

    async def start(self) -> None:
        """Start the program.

        Raises:
            LaunchError: It does not exist or cannot be executed.
        """
        streams = {fd: _Lines(partial(self._take, name)) for fd, name in _STREAMS}
        child = _Child(streams, self._end)
        start = asyncio.get_running_loop().subprocess_exec(
            lambda: child,
            *self._command,
            cwd=self._cwd,
            env={**self._env, **guardian().environment()},
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            await wholly(start)
        except FileNotFoundError:
            raise LaunchError(
                f"{self._command[0]} cannot be started in {self._cwd}: the program, the interpreter that its first line"
                " names, or the folder does not exist"
            ) from None
        except OSError as error:
            raise LaunchError(f"{self._command[0]} cannot be started in {self._cwd}: {error.strerror}") from None
        finally:
            if child.lives:
                self._child = child

    def _take(self, name: str, text: str) -> None:
        self.lines.append(text)
        self._count += 1
        if self._count > MOST_LINES:
            self._untold.append((name, text))
            return
        if self._count == MOST_LINES:
            text += f" (line {MOST_LINES:,}: of what comes after it only the last {KEPT_LINES} lines are written down)"
        self._on_line(name, text)

    def _end(self, code: int) -> None:
        for name, text in self._untold:
            self._on_line(name, text)
        self.exited.set()
        self._on_exit(code)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program alone; SIGKILL goes to all of its process group."""
        if self._child is None or self.exited.is_set():
            return
        if number is signal.SIGKILL:
            self._child.kill_group()
            return
        with suppress(ProcessLookupError):
            self._child.transport.send_signal(number)

    async def close(self) -> None:
        """End the program and everything that it started: SIGTERM, then SIGKILL of the group."""
        if self._child is not None:
            await wholly(self._end_child(self._child))

    async def _end_child(self, child: _Child) -> None:
        self.signal(signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.exited.wait(), GRACE)
        self.signal(signal.SIGKILL)
        await self.exited.wait()
        await child.closed
        group = child.transport.get_pid()
        await eventually(lambda: not _lives(group), seconds=GRACE)


def _lives(group: int) -> bool:
    """Whether anything of a process group runs: what is killed takes a moment to go, and may wait to be buried."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return any(_runs_in(process, group) for process in psutil.process_iter())


def _runs_in(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, psutil.Error):
        return False


async def eventually(condition: Callable[[], bool], *, seconds: float, unless: asyncio.Event | None = None) -> bool:
    """Look until a condition of the system holds, of which nothing tells.

    Args:
        condition: What is to hold.
        seconds: The deadline.
        unless: What ends the waiting in vain.
    """
    given_up = unless or asyncio.Event()
    limit = asyncio.get_running_loop().time() + seconds
    while not condition():
        if given_up.is_set() or asyncio.get_running_loop().time() > limit:
            return False
        with suppress(TimeoutError):
            await asyncio.wait_for(given_up.wait(), STEP)
    return True


class PeripheralProcess:
    """A simulated device: a program that says when it is ready."""

    def __init__(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], label: str, ready: str) -> None:
        self._ready = ready
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        self._process = Process(
            command, cwd=cwd, env=env, label=label, on_line=lambda _stream, line: self._lines.put_nowait(line)
        )

    async def start(self, seconds: float) -> None:
        """Start it and wait until it is ready.

        Args:
            seconds: The deadline.

        Raises:
            LaunchError: It cannot be started, ended, or was not ready in time.
        """
        await self._process.start()
        kind, _, what = self._ready.partition(":")
        waiting = asyncio.create_task(answers(int(what), self._process.exited) if kind == "tcp" else self._says(what))
        ended = asyncio.create_task(self._process.exited.wait())
        await asyncio.wait({waiting, ended}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        ready = waiting.done()
        for task in (waiting, ended):
            task.cancel()
        await asyncio.gather(waiting, ended, return_exceptions=True)
        if not ready or self._process.exited.is_set():
            lines = " | ".join(list(self._process.lines)[-5:]) or "nothing"
            raise LaunchError(
                f"the peripheral {self._process.label} was not ready ({self._ready}) within {seconds:.0f} s;"
                f" it printed: {lines}"
            )

    async def _says(self, text: str) -> None:
        while text not in await self._lines.get():
            pass

    async def stop(self) -> None:
        """End it."""
        await self._process.close()


async def answers(port: int, ended: asyncio.Event) -> None:
    """Return once a loopback port accepts connections, or the program that should listen has ended."""
    while not ended.is_set():
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), 0.02)
            continue
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return
