"""The harness runs the real connector; what it replaces behaves as the real thing does."""

import math
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from iot2mqtt_sdk import BaseConnector, ConfigurationError, InitializationError
from iot2mqtt_sdk.runtime.device import OFFLINE_AFTER
from iot2mqtt_sdk.testing import Event, FakeDevice, Harness, MakeHarness, MemoryClient, VirtualClock, engine

DEVICES = [{"device_id": "desk"}, {"device_id": "door"}]
GROUPS = [{"group_id": "all", "devices": ["desk", "door"]}]


class Lamps(BaseConnector):
    fakes: dict[str, FakeDevice]

    def initialize_connection(self) -> None:
        self.fakes = {device["device_id"]: FakeDevice({"power": False}) for device in self.config["devices"]}

    def get_device_state(self, device_id: str, _config: Any) -> Any:
        return self.fakes[device_id].read()

    def set_device_state(self, device_id: str, _config: Any, state: Mapping[str, Any]) -> Any:
        return self.fakes[device_id].write(state)


class AsyncLamps(Lamps):
    async def get_device_state(self, device_id: str, _config: Any) -> Any:
        return await self.fakes[device_id].aread()

    async def set_device_state(self, device_id: str, _config: Any, state: Mapping[str, Any]) -> Any:
        return await self.fakes[device_id].awrite(state)


@pytest.fixture(params=[Lamps, AsyncLamps])
def lamps(request: pytest.FixtureRequest, connector_harness: MakeHarness) -> Harness[Lamps]:
    return connector_harness(request.param, devices=DEVICES, groups=GROUPS, update_interval=10)


# ---------------------------------------------------------------------- time
def test_devices_are_polled_once_at_the_start_and_then_once_an_interval(lamps: Harness[Lamps]) -> None:
    desk = lamps.connector.fakes["desk"]
    assert desk.reads == 1
    lamps.poll()
    lamps.poll()
    assert desk.reads == 3
    lamps.advance(9.999)
    assert desk.reads == 3
    lamps.advance(0.001)
    assert desk.reads == 4


def test_fractions_of_a_second_that_do_not_add_up_exactly_lose_no_poll(connector_harness: MakeHarness) -> None:
    lamps = connector_harness(Lamps, devices=DEVICES, update_interval=0.1)
    lamps.advance(0.3)
    assert lamps.connector.fakes["desk"].reads == 4


def test_an_hour_passes_in_moments_and_a_failing_device_comes_back_by_itself(lamps: Harness[Lamps]) -> None:
    desk = lamps.connector.fakes["desk"]
    desk.fail(OSError("no route"))
    lamps.advance(3600)
    assert lamps.availability("desk") == "offline"
    assert lamps.availability("door") == "online"
    assert "no route" in lamps.errors("desk")[0]["message"]
    assert len(lamps.errors("desk")) > OFFLINE_AFTER
    desk.recover()
    lamps.advance(100)
    assert lamps.availability("desk") == "online"


def test_the_same_calls_publish_the_same_messages_at_the_same_times() -> None:
    def life() -> list[object]:
        with Harness(Lamps, devices=DEVICES, groups=GROUPS, update_interval=10) as lamps:
            lamps.connector.fakes["desk"].delay = 4
            lamps.send("desk", {"power": True})
            lamps.send("door", {"power": True})
            lamps.command_group("all", power=False)
            lamps.advance(35)
        return list(lamps.published)

    assert life() == life()


def test_two_slow_devices_are_slow_at_the_same_time(lamps: Harness[Lamps]) -> None:
    for fake in lamps.connector.fakes.values():
        fake.delay = 3
    assert lamps.command_group("all", power=True).status == "success"
    assert lamps.clock.monotonic() == 3


def test_a_device_that_never_answers_is_told_of_and_holds_nobody_up(lamps: Harness[Lamps]) -> None:
    lamps.connector.fakes["desk"].delay = math.inf
    lamps.advance(100)
    assert lamps.errors("desk")[0]["error_code"] == "TIMEOUT"
    assert lamps.availability("desk") == "offline"
    assert lamps.command("door", power=True).status == "success"
    lamps.stop()
    assert lamps.status == "offline"
    for thread in [thread for thread in threading.enumerate() if thread.name == "iot2mqtt-turn"]:
        thread.join(5)
        assert not thread.is_alive()


def test_time_does_not_go_backwards() -> None:
    with pytest.raises(ValueError, match="backwards"):
        VirtualClock().advance(-1)


# ---------------------------------------------------------------------- commands
def test_a_command_is_answered_and_followed_by_the_new_state(lamps: Harness[Lamps]) -> None:
    response = lamps.command("desk", power=True)
    assert (response.status, dict(response.result), response.code) == ("success", {"power": True}, None)
    assert lamps.state("desk") == {"power": True}
    assert lamps.state("door") == {"power": False}


def test_a_command_to_a_slow_device_takes_its_time_and_times_out(lamps: Harness[Lamps]) -> None:
    lamps.connector.fakes["desk"].delay = 2
    assert lamps.command("desk", power=True).status == "success"
    assert lamps.clock.monotonic() == 2
    identity = lamps.send("desk", {"power": False}, timeout=1)
    assert lamps.response(identity) is None
    lamps.advance(1)
    response = lamps.response(identity)
    assert response is not None
    assert response.code == "timeout"


def test_a_command_that_is_too_old_is_refused(lamps: Harness[Lamps]) -> None:
    fresh, stale = lamps.send("desk", {"power": True}, age=29), lamps.send("desk", {"power": True}, age=31)
    lamps.advance(0)
    assert [lamps.response(identity).code for identity in (fresh, stale)] == [None, "stale_command"]  # type: ignore[union-attr]


def test_a_group_with_one_failing_device_answers_for_each(lamps: Harness[Lamps]) -> None:
    lamps.connector.fakes["desk"].fail()
    response = lamps.command_group("all", power=True)
    assert response.status == "partial"
    assert response.results["desk"]["error"]["code"] == "device_error"


def test_a_get_returns_the_state_or_the_part_that_was_asked_for(lamps: Harness[Lamps]) -> None:
    lamps.connector.fakes["desk"].state = {"power": True, "level": 5}
    assert lamps.get("desk", "level", "nothing") == {"level": 5}
    assert lamps.get("desk") == {"power": True, "level": 5}


def test_what_never_comes_is_said(lamps: Harness[Lamps]) -> None:
    lamps.disconnect()
    with pytest.raises(AssertionError, match="no response to command-1 within 60 s"):
        lamps.command("desk", power=True)


# ---------------------------------------------------------------------- the connection
def test_what_happens_while_the_broker_is_away_is_published_afterwards(lamps: Harness[Lamps]) -> None:
    lamps.disconnect()
    assert lamps.status == "offline"
    before = len(lamps.published)
    lamps.connector.publish_event("desk", "pressed", {"times": 2})
    lamps.connector.publish_state("door", {"power": "unknown"})
    assert len(lamps.published) == before
    lamps.reconnect()
    assert lamps.status == "online"
    assert lamps.events("desk") == [Event("pressed", {"times": 2})]
    assert lamps.states("door")[-2:] == [{"power": "unknown"}, {"power": False}]


def test_stopping_cleans_up_and_says_offline(connector_harness: MakeHarness) -> None:
    class Closing(Lamps):
        closed = False

        def cleanup_connection(self) -> None:
            self.closed = True

    lamps = connector_harness(Closing, devices=DEVICES)
    lamps.stop()
    lamps.stop()
    assert lamps.connector.closed
    assert lamps.on("status") == ["online", "offline"]


# ---------------------------------------------------------------------- what goes wrong
def test_a_failed_initialisation_is_raised() -> None:
    class Broken(Lamps):
        def initialize_connection(self) -> None:
            raise OSError("no hub")

    harness = Harness(Broken, devices=DEVICES)
    with pytest.raises(InitializationError, match="no hub"), harness:
        pass
    assert harness.status == "offline"


def test_a_wrong_instance_file_is_raised() -> None:
    with pytest.raises(ConfigurationError, match="stands there twice"):
        Harness(Lamps, devices=[DEVICES[0], DEVICES[0]])


def test_variables_of_the_machine_make_no_difference_and_those_of_the_test_do(
    connector_harness: MakeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MQTT_QOS", "nonsense")
    lamps = connector_harness(Lamps, environment={"MQTT_QOS": "0"}, devices=DEVICES)
    (state,) = [message for message in lamps.published if message.suffix == "devices/desk/state"]
    assert (state.qos, state.retain, state.at) == (0, True, 0)


def test_polling_what_is_not_polled_is_an_error(connector_harness: MakeHarness) -> None:
    silent = connector_harness(BaseConnector, devices=DEVICES, update_interval=None)
    with pytest.raises(AssertionError, match="polls nothing"):
        silent.poll()


def test_a_hook_that_waits_for_real_is_named_after_a_while(
    connector_harness: MakeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    class Stuck(Lamps):
        def set_device_state(self, device_id: str, _config: Any, state: Any) -> Any:  # noqa: ARG002
            return release.wait()

    lamps = connector_harness(Stuck, devices=DEVICES)
    monkeypatch.setattr(engine, "PATIENCE", 0.05)
    with pytest.raises(AssertionError, match=r"has not returned within 0\.05 s of real time"):
        lamps.command("desk", power=True)
    release.set()


def test_a_fake_device_is_not_slow_where_nobody_moves_the_clock() -> None:
    device = FakeDevice({})
    device.delay = 1
    with pytest.raises(RuntimeError, match="once the harness has started"):
        device.read()


# ---------------------------------------------------------------------- without BaseConnector
# --8<-- [start:bridge]
def test_a_bridge_answers_a_command() -> None:
    mqtt = MemoryClient("bridge")
    mqtt.subscribe("devices/+/cmd", lambda _topic, payload: mqtt.publish_state("hub", payload["values"]))
    mqtt.connect()
    mqtt.receive("devices/hub/cmd", {"values": {"armed": True}})
    assert mqtt.state("hub") == {"armed": True}
    mqtt.disconnect()
    assert mqtt.status == "offline"


# --8<-- [end:bridge]
def test_a_client_in_memory_hears_what_it_is_subscribed_to_and_what_is_retained() -> None:
    mqtt = MemoryClient("bridge")
    heard: list[tuple[str, Any]] = []
    mqtt.connect()
    mqtt.receive("groups/all/state", {"power": True}, retain=True)
    mqtt.subscribe("groups/+/state", lambda topic, payload: heard.append((topic, payload)))
    mqtt.clock.settle()
    mqtt.receive("meta/other", {})
    topic = "IoT2mqtt/v1/instances/bridge/groups/all/state"
    assert heard == [(topic, {"power": True})]
    mqtt.publish("groups/all/state", {"power": False})
    mqtt.clock.settle()
    assert heard[1:] == [(topic, {"power": False})]
    mqtt.disconnect()


def test_a_client_in_memory_commands_and_gets_the_response() -> None:
    mqtt = MemoryClient("bridge")
    mqtt.connect()
    identity = mqtt.send_command("desk", {"power": True})
    assert mqtt.on("devices/desk/cmd")[0]["values"] == {"power": True}
    mqtt.receive("devices/desk/cmd/response", {"cmd_id": identity, "status": "success"})
    assert mqtt.wait_for_response(identity, 0) == {"cmd_id": identity, "status": "success"}
    mqtt.disconnect()


def test_whoever_does_not_test_pays_nothing() -> None:
    code = "import sys, iot2mqtt_sdk.connector, iot2mqtt_sdk.testing.plugin; print(*sorted(sys.modules))"
    connector = code.replace(", iot2mqtt_sdk.testing.plugin", "")
    plugin = code.replace(" iot2mqtt_sdk.connector,", "")
    said = [subprocess.check_output([sys.executable, "-c", line], text=True).split() for line in (connector, plugin)]
    assert [name for name in said[0] if name.startswith(("iot2mqtt_sdk.testing", "unittest"))] == []
    assert [
        name for name in said[1] if name.startswith(("paho", "iot2mqtt_sdk.connector", "iot2mqtt_sdk.client"))
    ] == []
