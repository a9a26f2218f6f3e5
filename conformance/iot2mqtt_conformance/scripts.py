"""Calls an action script: one process a call, fed on stdin, with all that it writes and how it ends."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import cast

from iot2mqtt_conformance.launch import LaunchError, connector_environment, wholly

KEPT = 65_536
"""Bytes of each stream that are kept."""
DRAIN = 1.0
"""Seconds that the streams may stay open after the end: what the script has started may hold them."""
BLANKS = b" " * 400_000
"""More than a pipe holds: once they are written, the script reads. JSON allows blanks before an object."""


class _Script(asyncio.SubprocessProtocol):
    """Takes what asyncio tells of the process."""

    def __init__(self) -> None:
        self.output = {1: bytearray(), 2: bytearray()}
        self.exited = asyncio.Event()
        self.silent = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.ended_at = 0.0
        self.transport: asyncio.SubprocessTransport | None = None
        self._open = {1, 2}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.output[fd] += data[: KEPT - len(self.output[fd])]

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        del exc
        self._open.discard(fd)
        if not self._open:
            self.silent.set()

    def process_exited(self) -> None:
        self.ended_at = asyncio.get_running_loop().time()
        self.exited.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()


class Call:
    """One call of a script: `.py` runs under the suite's interpreter, anything else by itself.

    Args:
        script: The script.
        cwd: Where it runs: the connector's folder.
        env: Variables beyond those of the suite.
    """

    def __init__(self, script: Path, *, cwd: Path, env: Mapping[str, str]) -> None:
        self._command = [sys.executable, str(script)] if script.suffix == ".py" else [str(script)]
        self._cwd = cwd
        self._env = connector_environment(env)
        # What a module prints while it is imported is kept from stdout only while Python buffers it.
        self._env.pop("PYTHONUNBUFFERED", None)
        self._script = _Script()
        self._began = 0.0

    async def start(self) -> None:
        """Start the process.

        Raises:
            LaunchError: It cannot be started.
        """
        loop = asyncio.get_running_loop()
        start = loop.subprocess_exec(
            lambda: self._script, *self._command, cwd=self._cwd, env=self._env, start_new_session=True
        )
        try:
            await wholly(start)
        except OSError as error:
            raise LaunchError(f"the action script {self._command[-1]} cannot be started: {error.strerror}") from None
        self._began = loop.time()
        self._stdin = cast("asyncio.WriteTransport", self._transport.get_pipe_transport(0))
        self._stdin.set_write_buffer_limits(0)

    @property
    def _transport(self) -> asyncio.SubprocessTransport:
        return cast("asyncio.SubprocessTransport", self._script.transport)

    async def reading(self, seconds: float) -> bool:
        """Return whether the script has begun to read its input: more blanks are gone than a pipe holds."""
        self._stdin.write(BLANKS)
        waits = [asyncio.create_task(event.wait()) for event in (self._script.writable, self._script.exited)]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
        return self._script.writable.is_set() and not self._script.exited.is_set()

    def ask(self, text: bytes) -> None:
        """Write the input, and that it ends there."""
        self._stdin.write(text)
        self._stdin.close()

    def terminate(self) -> float:
        """Send SIGTERM and return when."""
        with suppress(ProcessLookupError):
            self._transport.send_signal(signal.SIGTERM)
        return asyncio.get_running_loop().time()

    async def ended(self, seconds: float) -> bool:
        """Wait for the end; whether it came in time."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._script.exited.wait(), seconds)
        return self._script.exited.is_set()

    def took(self, since: float | None = None) -> float:
        """Return the seconds until the end, from the start or from another time."""
        now = asyncio.get_running_loop().time()
        end = self._script.ended_at if self._script.exited.is_set() else now
        return round(end - (self._began if since is None else since), 3)

    async def close(self) -> None:
        """Take what is left of the output, and end everything that the script has started."""
        if self._script.transport is None or self._script.transport.is_closing():
            return
        await wholly(self._end_all())

    async def _end_all(self) -> None:
        if self._script.exited.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._script.silent.wait(), DRAIN)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._transport.get_pid(), signal.SIGKILL)
        await self._script.exited.wait()
        self._transport.close()

    @property
    def code(self) -> int | None:
        """The exit code, negative where a signal ended it; None while it runs."""
        return self._transport.get_returncode()

    def said(self, fd: int) -> str:
        """Return what it wrote to stdout (1) or stderr (2)."""
        return self._script.output[fd].decode("utf-8", "replace")
