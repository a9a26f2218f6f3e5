"""Test a connector's hooks without a broker, without devices, and without waiting.

The connector runs as it does in earnest, poller, command desk and engine included. What is replaced is the link to the
broker (`MemoryClient`), the clock (`VirtualClock`), and the devices (`FakeDevice`). With pytest the fixture
`connector_harness` makes a `Harness`; elsewhere `Harness` is a context manager.

Each name is imported when it is first used: pytest loads this package in every run of whoever has installed it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iot2mqtt_sdk.testing.clock import VirtualClock
    from iot2mqtt_sdk.testing.device import FakeDevice
    from iot2mqtt_sdk.testing.harness import Harness, MakeHarness
    from iot2mqtt_sdk.testing.memory import MemoryClient
    from iot2mqtt_sdk.testing.records import Event, Published, Response

__all__ = ["Event", "FakeDevice", "Harness", "MakeHarness", "MemoryClient", "Published", "Response", "VirtualClock"]

_HOMES = {
    "Event": "records",
    "FakeDevice": "device",
    "Harness": "harness",
    "MakeHarness": "harness",
    "MemoryClient": "memory",
    "Published": "records",
    "Response": "records",
    "VirtualClock": "clock",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
