"""A broker as the suite sees it: a child process on a fixed loopback port, without memory of earlier starts."""

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from iot2mqtt_conformance.launch import LaunchError, Process, connector_environment, eventually
from iot2mqtt_conformance.ports import free_port, in_use, listens

START_LIMIT = 15.0
PORTS_TRIED = 4
LAST_LINES = 5


class ServiceError(Exception):
    """A service cannot be had; the message says what to install or mend."""


class PortTakenError(ServiceError):
    """Somebody else listens where the broker should."""


class Broker:
    """A broker program. Each start forgets sessions and retained messages, and keeps the port.

    Attributes:
        name: What it is, with its version.
        port: Where it listens; one that is chosen here may still change until the first start has succeeded.
        died: Set when it ends without having been asked to.
    """

    host = "127.0.0.1"

    def __init__(
        self, name: str, command: Sequence[str], *, config: str | None = None, port: int | None = None
    ) -> None:
        self.name = name
        self.port = port or free_port()
        self.died = asyncio.Event()
        self._command = list(command)
        self._config = config
        self._process: Process | None = None
        self._folder: Path | None = None
        self._ports_left = 1 if port else PORTS_TRIED
        self._up = False

    async def start(self) -> None:
        """Start it and wait until it listens: itself, and nobody else in its place.

        Raises:
            ServiceError: It cannot be started, ended, or did not listen in time, such as when its port is in use.
        """
        while True:
            try:
                await self._attempt()
            except PortTakenError:
                self._ports_left -= 1
                if self._ports_left < 1:
                    raise
                self.port = free_port()
            else:
                self._ports_left = 1
                return

    async def _attempt(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="iot2mqtt-broker-"))
        file = self._folder / "broker.conf"
        file.write_text((self._config or "").format(port=self.port), encoding="utf-8")
        words = [part.format(port=self.port, config=file) for part in self._command]
        process = Process(
            words, cwd=self._folder, env=connector_environment({}), label=self.name, on_exit=lambda _code: self._ended()
        )
        self._process = process
        try:
            await process.start()
            pid = process.pid or 0
            self._up = await eventually(lambda: listens(pid, self.port), seconds=START_LIMIT, unless=process.exited)
        except LaunchError as error:
            raise ServiceError(f"{self.name} could not be started: {error}") from None
        finally:
            ended = process.exited.is_set()
            if not self._up:
                await self.stop()
        if not self._up:
            raise self._failure(ended=ended)

    def _failure(self, *, ended: bool) -> ServiceError:
        said = f"its last lines: {self.said()}"
        if in_use(self.port):
            return PortTakenError(
                f"port {self.port} of {self.host} is already in use, so {self.name} cannot listen on it; {said}"
            )
        how = "ended at once" if ended else f"did not listen within {START_LIMIT:.0f} s"
        return ServiceError(f"{self.name} was started on port {self.port} and {how}; {said}")

    def _ended(self) -> None:
        if self._up:
            self.died.set()

    async def stop(self) -> None:
        """Stop it; a second call does nothing."""
        self._up = False
        if self._process is not None:
            await self._process.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def last_lines(self) -> list[str]:
        """Return what it printed last."""
        return list(self._process.lines) if self._process else []

    def said(self) -> str:
        """Return what it printed last, in one line, for a sentence."""
        return " | ".join(self.last_lines()[-LAST_LINES:]) or "none"
