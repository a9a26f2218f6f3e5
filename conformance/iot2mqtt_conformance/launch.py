"""Starts programs: the connector, and the simulated devices beside it. Nothing started here outlives the rig."""

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

LONGEST_LINE = 4096
KEPT_LINES = 50
GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL when the rig is taken down."""

_CONTRACT = ("MQTT_", "IOT2MQTT_")
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
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None before the start."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the program.

        Raises:
            LaunchError: It does not exist or cannot be executed.
        """
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=self._cwd,
                env=self._env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                limit=1024 * 1024,
            )
        except OSError as error:
            raise LaunchError(f"{self._command[0]} cannot be started in {self._cwd}: {error.strerror}") from None
        self._watch = asyncio.create_task(self._follow(self._process))

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        readers = [
            asyncio.create_task(self._read(name, stream))
            for name, stream in (("stdout", process.stdout), ("stderr", process.stderr))
            if stream is not None
        ]
        try:
            code = await process.wait()
            # A child that lives on may hold the pipes open: what was printed until now must do.
            await asyncio.wait(readers, timeout=0.5)
            self._on_exit(code)
            self.exited.set()
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)

    async def _read(self, name: str, stream: asyncio.StreamReader) -> None:
        rest = b""
        while chunk := await stream.read(65_536):
            *whole, rest = (rest + chunk).split(b"\n")
            if len(rest) > LONGEST_LINE:
                whole, rest = [*whole, rest], b""
            for line in whole:
                self._take(name, line)
        if rest:
            self._take(name, rest)

    def _take(self, name: str, line: bytes) -> None:
        text = line[:LONGEST_LINE].decode("utf-8", "replace").rstrip("\r")
        self.lines.append(text)
        self._on_line(name, text)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program alone."""
        if self._process is not None and not self.exited.is_set():
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def close(self) -> None:
        """End the program and everything that it started: SIGTERM, then SIGKILL of the group."""
        if self._process is None or self._watch is None:
            return
        self.signal(signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.exited.wait(), GRACE)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await asyncio.gather(self._watch, return_exceptions=True)


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
