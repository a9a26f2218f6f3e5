"""The process that asks: reads and commands pumps when the bridge says so."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from controller import ask
from worker import DeviceError, Worker


class Poller(Worker):
    """Asks the controller, a question at a time for each pump and any number side by side."""

    name = "poller"

    async def serve(self) -> None:
        """Tell all states at once, so that nobody waits for the next poll after a restart."""
        for device in self.devices:
            # What cannot be read is told when the bridge asks for it, before long.
            with suppress(DeviceError):
                self.tell(state=device, values=await self.get(device))

    async def get(self, device: str) -> dict[str, Any]:
        """Read a pump."""
        state: dict[str, Any] = await ask(self.connection, f"read {self.devices[device]}")
        return state

    async def set(self, device: str, values: Mapping[str, Any]) -> None:
        """Command a pump."""
        await ask(self.connection, f"write {self.devices[device]} {json.dumps(values)}")


if __name__ == "__main__":
    Poller.main()
