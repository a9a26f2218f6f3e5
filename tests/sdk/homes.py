"""Connectors whose hooks do what a test has put in."""

import asyncio
from typing import Any

from tests.sdk.brokers import Recorder

from iot2mqtt_sdk import BaseConnector


class Home(BaseConnector):
    """Reads and writes what a test has put in; the device `good` never fails."""

    read: Any = None
    write: Any = None

    def get_device_state(self, device_id: str, device_config: Any) -> Any:
        return {"power": True} if device_id == "good" else type(self).read(self, device_config)

    def set_device_state(self, device_id: str, device_config: Any, state: Any) -> Any:
        return True if device_id == "good" else type(self).write(self, device_config, state)


class AsyncHome(BaseConnector):
    read: Any = None
    write: Any = None

    async def get_device_state(self, device_id: str, device_config: Any) -> Any:
        await asyncio.sleep(0)
        return {"power": True} if device_id == "good" else type(self).read(self, device_config)

    async def set_device_state(self, device_id: str, device_config: Any, state: Any) -> Any:
        await asyncio.sleep(0)
        return True if device_id == "good" else type(self).write(self, device_config, state)


def alive(seen: Recorder) -> None:
    """The other device is read and takes commands, and the instance is online."""
    mark = seen.mark()
    seen.wait("devices/good/state", since=mark)
    assert seen.command("good", {"power": True})["status"] == "success"
    assert seen.of("status")[-1].payload == b"online"
