"""A worker's side of the socket: calls the bridge, and does what it is asked, many things at a time."""

import asyncio
import logging
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from protocol import LONGEST, ProtocolError, decode, encode, end_with_supervisor

_log = logging.getLogger("worker")

AGAIN = 0.2
"""Seconds until the bridge is called again."""


class DeviceError(Exception):
    """A device cannot be read or commanded; the message says why."""


class Worker:
    """What all workers have in common; a worker of one kind says what `serve`, `get` and `set` do.

    Attributes:
        name: How the bridge and the supervisor call it.
        connection: How the controller is reached.
        devices: The devices to serve: address by id.
    """

    name = ""

    def __init__(self) -> None:
        self.connection: Mapping[str, Any] = {}
        self.devices: Mapping[str, str] = {}
        self._writer: asyncio.StreamWriter | None = None

    # ------------------------------------------------------------------ what a worker fills in
    async def serve(self) -> None:
        """Work unasked; called once the bridge has said what to serve, and cancelled with its connection."""

    async def get(self, device: str) -> dict[str, Any]:
        """Return the state of a device.

        Raises:
            DeviceError: It cannot be read.
        """
        raise DeviceError(f"{device} cannot be read")

    async def set(self, device: str, values: Mapping[str, Any]) -> None:
        """Command a device.

        Raises:
            DeviceError: It does not take the values.
        """
        raise DeviceError(f"{device} takes no {', '.join(values)}")

    # ------------------------------------------------------------------ what it may use
    def tell(self, **line: Any) -> None:
        """Send the bridge a line; without a bridge it is lost, as it would be told anew to the next one."""
        if self._writer is not None:
            self._writer.write(encode(**line))

    @classmethod
    def main(cls) -> None:
        """Run until SIGTERM."""
        level = logging.getLevelNamesMapping().get(os.environ.get("LOG_LEVEL", "").upper(), logging.INFO)
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        # Ctrl-C in a terminal reaches all processes; when each of them stops is the supervisor's business.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        end_with_supervisor()
        asyncio.run(cls().run())

    # ------------------------------------------------------------------ the connection
    async def run(self) -> None:
        """Call the bridge, again and again, until this task is cancelled by SIGTERM."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is not None:
            loop.add_signal_handler(signal.SIGTERM, task.cancel)
        with suppress(asyncio.CancelledError):
            while True:
                try:
                    await self._talk(os.environ["BRIDGE_SOCKET"])
                except (OSError, ProtocolError, asyncio.LimitOverrunError) as error:
                    _log.debug("the bridge is away: %s", error)
                await asyncio.sleep(AGAIN)

    async def _talk(self, path: str) -> None:
        reader, self._writer = await asyncio.open_unix_connection(path, limit=LONGEST)
        try:
            self.tell(hello=self.name)
            orders = decode(await reader.readline())["configure"]
            self.connection, self.devices = orders["connection"], orders["devices"]
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.serve())
                while line := await reader.readline():
                    tasks.create_task(self._answer(decode(line)))
                raise ConnectionResetError("it has ended")
        except* (OSError, ProtocolError) as failures:
            _log.debug("the bridge is away: %s", failures.exceptions)
        finally:
            self._writer.close()
            self._writer = None

    async def _answer(self, question: Mapping[str, Any]) -> None:
        number = question["id"]
        try:
            if "get" in question:
                self.tell(id=number, ok=await self.get(question["get"]))
            else:
                await self.set(question["set"], question["values"])
                self.tell(id=number, ok=None)
        except (DeviceError, OSError, TimeoutError) as error:
            self.tell(id=number, error=str(error) or type(error).__name__)
