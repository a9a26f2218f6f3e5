"""The process that listens: holds a connection on which the controller tells of gates that open and close."""

import asyncio
from contextlib import suppress
from typing import Any

from controller import TIMEOUT, document, opened
from worker import DeviceError, Worker

AGAIN = 1.0
"""Seconds until the controller is called again."""


class Listener(Worker):
    """Keeps what it hears, answers from it, and passes on each change at once."""

    name = "listener"

    def __init__(self) -> None:
        super().__init__()
        self._heard: dict[str, dict[str, Any]] = {}
        self._trouble = ""
        self._told = asyncio.Event()

    async def serve(self) -> None:
        """Listen, and call again whenever the connection ends."""
        self._trouble = "the controller has told nothing yet"
        while True:
            try:
                await self._listen()
            except DeviceError as error:
                self._fail(str(error))
            await asyncio.sleep(AGAIN)

    async def get(self, device: str) -> dict[str, Any]:
        """Return what was heard of a gate last; right after the start that takes a moment to come."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._told.wait(), TIMEOUT)
        try:
            return self._heard[self.devices[device]]
        except KeyError:
            raise DeviceError(self._trouble) from None

    async def _listen(self) -> None:
        async with opened(self.connection) as (reader, writer):
            writer.write(b"watch\n")
            while (line := await reader.readline()).endswith(b"\n"):
                address, _, rest = line.decode("utf-8", "replace").partition(" ")
                self._hear(address, document(rest))
            raise DeviceError("the controller hung up" + (", in the middle of a line" if line else ""))

    def _fail(self, trouble: str) -> None:
        """Tell why nothing is heard any more, once and not at each attempt to hear something again."""
        if trouble != self._trouble:
            for device in self.devices:
                self.tell(failure=device, error=trouble)
        self._trouble = trouble
        self._heard.clear()
        self._told.set()

    def _hear(self, address: str, values: dict[str, Any]) -> None:
        before, self._heard[address] = self._heard.get(address), values
        self._trouble = ""
        self._told.set()
        for device, its_address in self.devices.items():
            if its_address == address:
                self.tell(state=device, values=values)
                if before is not None and before != values:
                    self.tell(event=device, name="opened" if values.get("open") else "closed")


if __name__ == "__main__":
    Listener.main()
