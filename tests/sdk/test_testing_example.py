"""The example of docs/testing.md: a connector of two lamps, and its tests."""

from collections.abc import Mapping
from typing import Any

import pytest

from iot2mqtt_sdk import BaseConnector, CommandError
from iot2mqtt_sdk.testing import FakeDevice, Harness, MakeHarness


class Bulb:
    """Stands for the library of the lamps' manufacturer, which needs real lamps."""

    def __init__(self, address: str) -> None:
        raise ConnectionError(f"there is no lamp at {address}")


# --8<-- [start:connector]
class Lamps(BaseConnector):
    bulbs: dict[str, Any]

    def initialize_connection(self) -> None:
        self.bulbs = {device["device_id"]: Bulb(device["address"]) for device in self.config["devices"]}

    def get_device_state(self, device_id: str, _config: Any) -> Any:
        return self.bulbs[device_id].read()

    def set_device_state(self, device_id: str, _config: Any, state: Mapping[str, Any]) -> Any:
        if not isinstance(state.get("power"), bool):
            raise CommandError("invalid_value", "power must be true or false")
        return self.bulbs[device_id].write(state)


# --8<-- [end:connector]
# --8<-- [start:fixture]
class FakedLamps(Lamps):
    def initialize_connection(self) -> None:
        self.bulbs = {device["device_id"]: FakeDevice({"power": False}) for device in self.config["devices"]}


@pytest.fixture
def lamps(connector_harness: MakeHarness) -> Harness[FakedLamps]:
    return connector_harness(FakedLamps, devices=[{"device_id": "desk"}, {"device_id": "door"}], update_interval=10)


# --8<-- [end:fixture]
# --8<-- [start:state]
def test_the_state_of_a_lamp_is_published(lamps: Harness[FakedLamps]) -> None:
    lamps.connector.bulbs["desk"].state["power"] = True
    lamps.poll()
    assert lamps.state("desk") == {"power": True}


def test_a_lamp_is_switched(lamps: Harness[FakedLamps]) -> None:
    assert lamps.command("desk", power=True).status == "success"
    assert lamps.connector.bulbs["desk"].written == [{"power": True}]


def test_what_is_no_boolean_is_refused(lamps: Harness[FakedLamps]) -> None:
    assert lamps.command("desk", power="bright").code == "invalid_value"


# --8<-- [end:state]
# --8<-- [start:failure]
def test_a_lamp_that_is_unplugged_is_offline_until_it_is_back(lamps: Harness[FakedLamps]) -> None:
    lamps.connector.bulbs["desk"].fail()
    lamps.advance(60)
    assert lamps.errors("desk")[0]["error_code"] == "CONNECTION_FAILED"
    assert lamps.availability("desk") == "offline"
    lamps.connector.bulbs["desk"].recover()
    lamps.advance(120)
    assert lamps.availability("desk") == "online"


def test_a_slow_lamp_does_not_delay_the_other(lamps: Harness[FakedLamps]) -> None:
    lamps.connector.bulbs["desk"].delay = 8
    assert lamps.command("desk", power=True).code == "timeout"
    began = lamps.clock.monotonic()
    assert lamps.command("door", power=True).status == "success"
    assert lamps.clock.monotonic() == began


def test_the_state_is_published_again_after_a_reconnection(lamps: Harness[FakedLamps]) -> None:
    lamps.disconnect()
    assert lamps.status == "offline"
    before = len(lamps.states("desk"))
    lamps.reconnect()
    assert lamps.status == "online"
    assert len(lamps.states("desk")) > before


# --8<-- [end:failure]
