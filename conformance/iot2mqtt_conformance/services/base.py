"""A broker as the suite sees it: a child process on a fixed loopback port, without memory of earlier starts."""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

from iot2mqtt_conformance.launch import LaunchError, Process, answers, connector_environment
from iot2mqtt_conformance.ports import free_port

START_LIMIT = 15.0


class ServiceError(Exception):
    """A service cannot be had; the message says what to install or mend."""


class Broker:
    """A broker program. Each start forgets sessions and retained messages, and keeps the port.

    Attributes:
        name: What it is, with its version.
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
        self._stopping = False

    async def start(self) -> None:
        """Start it and wait until it accepts connections.

        Raises:
            ServiceError: It ended or did not listen in time.
        """
        self._stopping = False
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
            await asyncio.wait_for(answers(self.port, process.exited), START_LIMIT)
        except (LaunchError, TimeoutError) as error:
            await self.stop()
            raise ServiceError(f"{self.name} did not start on port {self.port}: {error or 'no answer'}") from None
        if process.exited.is_set():
            lines = " | ".join(self.last_lines()[-3:]) or "it printed nothing"
            await self.stop()
            raise ServiceError(f"{self.name} did not start on port {self.port}: {lines}")

    def _ended(self) -> None:
        if not self._stopping:
            self.died.set()

    async def stop(self) -> None:
        """Stop it; a second call does nothing."""
        self._stopping = True
        if self._process is not None:
            self._process.signal(signal.SIGTERM)
            await self._process.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def last_lines(self) -> list[str]:
        """Return what it printed last."""
        return list(self._process.lines) if self._process else []
