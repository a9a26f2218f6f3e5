"""BaseConnector against bad input, bad hooks, and many devices."""

import asyncio
import gc
import itertools
import time
import tracemalloc
from typing import Any

import pytest
from tests.sdk.brokers import Recorder
from tests.sdk.homes import Home, alive
from tests.sdk.workshop import Workshop, lamps
from tests.waiting import DEADLINE, wait_until

from iot2mqtt_sdk import BaseConnector, DeviceConfig, InitializationError, InstanceConfig


class Pushing(BaseConnector):
    """Devices that tell of themselves."""


@pytest.mark.parametrize(("result", "told"), [(True, {"a": 1}), (None, {"a": 1}), ({"a": 2}, {"a": 2}), ({}, {})])
def test_a_successful_response_carries_the_values_that_took_effect(
    workshop: Workshop, seen: Recorder, home: Any, result: Any, told: Any
) -> None:
    home.read = lambda *_: {"power": 1}
    home.write = lambda *_: result
    workshop.serve(home, lamps("odd"))
    seen.wait_status("online")
    assert seen.command("odd", {"a": 1})["result"] == told


def test_hooks_may_call_back_into_the_connector(workshop: Workshop, seen: Recorder, home: Any) -> None:
    def read(connector: Any, _config: Any) -> Any:
        connector.publish_state("good", {"from": "a hook"})
        connector.publish_event("odd", "read")
        return {"devices": sorted(connector.devices)}

    def write(connector: Any, _config: Any, state: Any) -> Any:
        connector.publish_state("odd", state)
        return True

    home.read, home.write = read, write
    workshop.serve(home, lamps("odd", "good"))
    assert seen.wait("devices/odd/state").json["state"] == {"devices": ["good", "odd"]}
    seen.wait("devices/good/state", lambda found: found.json["state"] == {"from": "a hook"})
    seen.command("odd", {"told": 1})
    seen.wait("devices/odd/state", lambda found: found.json["state"] == {"told": 1})
    seen.wait("devices/odd/events")


def test_a_failure_that_is_told_takes_a_device_offline_at_once_until_there_is_news(
    workshop: Workshop, seen: Recorder, home: Any
) -> None:
    connector = workshop.serve(home, lamps("good", update_interval=60))
    seen.wait("devices/good/availability", lambda found: found.json == "online")
    connector.publish_failure("good", "its process has died", code="PROCESS_DIED")
    connector.publish_failure("nobody", "never heard of")
    error = seen.wait("devices/good/error").json
    assert (error["error_code"], error["message"]) == ("PROCESS_DIED", "its process has died")
    assert error["retry_info"]["attempt"] > 0
    seen.wait("devices/good/availability", lambda found: found.json == "offline")
    connector.publish_state("good", {"power": 1})
    seen.wait("devices/good/availability", lambda found: found.json == "online", count=2)
    assert seen.of("devices/nobody/error") == []


def test_a_device_that_tells_of_itself_after_failures_is_polled_at_its_interval_again(
    workshop: Workshop, seen: Recorder, home: Any
) -> None:
    connector = workshop.serve(home, lamps("good", update_interval=2))
    seen.wait("devices/good/state")
    for _ in range(9):
        connector.publish_failure("good", "gone")
    connector.publish_state("good", {"power": 1})
    # After so many failures the next attempt would be sixteen seconds away.
    seen.wait("devices/good/state", lambda found: found.json["state"] == {"power": True}, count=2, seconds=10)


def test_names_of_an_author_do_not_collide_with_those_of_the_base_class(workshop: Workshop, seen: Recorder) -> None:
    class Author(Home):
        def initialize_connection(self) -> None:
            names = ("devices", "groups", "engine", "poller", "lock", "stop", "stopping", "wake", "settings", "loop")
            for name in names:
                setattr(self, f"_{name}", "the author's own")

        def _device(self) -> None:
            raise AssertionError("it is the author's own")

        _stop = _on_online = _on_meta = _info = _device

    workshop.serve(Author, lamps("good"))
    alive(seen)


def test_a_hook_that_fails_to_initialise_is_reported_with_its_cause(workshop: Workshop, seen: Recorder) -> None:
    class Broken(Home):
        async def initialize_connection(self) -> None:
            await asyncio.sleep(0)
            raise OSError("the hub is on fire")

    connector = workshop.make(Broken)
    with pytest.raises(InitializationError, match="the hub is on fire"):
        connector.start()
    seen.wait_status("offline")
    assert {found.payload for found in seen.of("status")} == {b"offline"}


def test_sync_and_async_hooks_live_in_one_connector(workshop: Workshop, seen: Recorder) -> None:
    class Mixed(BaseConnector):
        async def initialize_connection(self) -> None:
            self.lock = asyncio.Lock()
            self.written: dict[str, Any] = {}

        async def get_device_state(self, device_id: str, device_config: Any) -> Any:
            async with self.lock:
                return {"of": device_config["device_id"], **self.written.get(device_id, {})}

        def set_device_state(self, device_id: str, device_config: Any, state: Any) -> Any:
            assert device_config
            self.written[device_id] = dict(state)
            return True

        async def cleanup_connection(self) -> None:
            async with self.lock:
                self.written.clear()

    connector = workshop.serve(Mixed, lamps("a", "b", "c"))
    seen.wait_status("online")
    for name in ("a", "b", "c"):
        assert seen.command(name, {"n": name})["status"] == "success"
        seen.wait(f"devices/{name}/state", lambda found, name=name: found.json["state"] == {"of": name, "n": name})  # type: ignore[misc]
    connector.stop()
    assert connector.written == {}


def test_commands_of_one_device_take_effect_in_order(workshop: Workshop, seen: Recorder, home: Any) -> None:
    taken: list[int] = []
    home.read = lambda *_: {"power": 1}
    home.write = lambda _self, _config, state: taken.append(state["n"])
    workshop.serve(home, lamps("odd", "good"))
    seen.wait_status("online")
    for number in range(100):
        seen.publish("devices/odd/cmd", {"id": f"c{number}", "values": {"n": number}})
    seen.response("odd", "c99")
    assert taken == list(range(100))
    answered = [found.json["cmd_id"] for found in seen.of("devices/odd/cmd/response")]
    assert answered == [f"c{number}" for number in range(100)]


@pytest.mark.soak
def test_two_thousand_devices_are_all_read(workshop: Workshop, seen: Recorder) -> None:
    names = [f"d{number}" for number in range(2000)]
    got: set[str] = set()

    class Many(BaseConnector):
        async def get_device_state(self, device_id: str, device_config: Any) -> Any:
            got.add(device_config["device_id"])
            await asyncio.sleep(0.5)
            return {"of": device_id}

    began = time.monotonic()
    workshop.serve(Many, lamps(*names, update_interval=3))
    for name in names:
        seen.wait(f"devices/{name}/availability")
    assert len(got) == 2000
    assert time.monotonic() - began < DEADLINE


def test_invented_names_fill_no_memory(workshop: Workshop, seen: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "iot2mqtt")  # pytest would keep each refusal
    workshop.serve(Home, lamps("good", update_interval=3600))
    seen.wait_status("online")
    numbers = itertools.count()

    def flood(count: int) -> None:
        for _ in range(count):
            number = next(numbers)
            seen.publish(f"devices/invented{number}/cmd", {"id": f"{number}", "values": {}}, qos=0)
            seen.publish(f"devices/invented{number}/get", b"", qos=0)
            seen.publish(f"groups/invented{number}/cmd", {"values": {}}, qos=0)
        seen.command("good", {})

    def kept() -> int:
        with seen._news:
            seen.all.clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    # Not the process's memory: what other tests have left there comes and goes.
    tracemalloc.start()
    try:
        flood(400)
        # What the broker has not acknowledged yet is kept, and goes; what is kept for each name stays.
        wait_until(lambda: kept() < 300_000)
        before = kept()
        flood(400)
        wait_until(lambda: kept() - before < 80_000)
    finally:
        tracemalloc.stop()


def test_a_class_may_type_its_configuration(workshop: Workshop, seen: Recorder) -> None:
    class Lamp(DeviceConfig):
        address: int

    class Hub(InstanceConfig):
        speed: float = 1.5

    class Typed(BaseConnector):
        Config = Hub
        Device = Lamp

        def get_device_state(self, device_id: str, device_config: Lamp) -> Any:
            return {"of": device_id, "address": device_config.address + 1, "speed": self.config.speed}

    workshop.serve(Typed, {"devices": [{"device_id": "lamp", "address": 7}], "update_interval": 1})
    assert seen.wait("devices/lamp/state").json["state"] == {"of": "lamp", "address": 8, "speed": 1.5}
    workshop.configure({"devices": [{"device_id": "lamp", "address": "seven"}]})
    with pytest.raises(Exception, match=r"devices\[0\] of box is malformed: .*address"):
        Typed()


def test_what_devices_tells_is_a_copy(workshop: Workshop, seen: Recorder) -> None:
    connector = workshop.serve(Home, lamps("good"))
    seen.wait("devices/good/state")
    connector.devices["good"]["state"]["power"] = "spoiled"
    assert connector.devices["good"]["state"] == {"power": True}


def test_retained_topics_of_devices_that_are_gone_are_cleared(workshop: Workshop, seen: Recorder) -> None:
    for suffix in ("devices/old/state", "devices/old/state/power", "devices/old/availability", "groups/old/state"):
        seen.publish(suffix, {"gone": True}, retain=True)
    seen.publish("devices/good/state/level", 7, retain=True)
    seen.settle()
    connector = workshop.serve(Home, lamps("good", groups=[{"group_id": "all"}]))
    heard: list[str] = []
    connector.mqtt.route("devices/+/state", lambda message: heard.append(message.suffix))
    for suffix in ("devices/old/state", "devices/old/state/power", "devices/old/availability", "groups/old/state"):
        seen.wait(suffix, lambda found: found.payload == b"")
    assert not any(found.payload == b"" for found in seen.of("devices/good/state/level"))
    # The look at what is retained ends, and takes nobody else's route with it.
    wait_until(lambda: len(connector.mqtt._inbox._routes) <= 5)
    mark = len(heard)
    wait_until(lambda: len(heard) > mark + 2)


def test_a_get_of_a_device_that_has_told_nothing_is_told_so(workshop: Workshop, seen: Recorder) -> None:
    connector = workshop.serve(Pushing, lamps("lamp"))
    seen.wait_status("online")
    seen.publish("devices/lamp/get", b"")
    assert seen.wait("devices/lamp/error").json["error_code"] == "STATE_UNKNOWN"
    connector.publish_state("lamp", {"power": 1})
    seen.publish("devices/lamp/get", b"null")
    seen.wait("devices/lamp/state", count=2)


def test_a_disabled_device_publishes_nothing(workshop: Workshop, seen: Recorder) -> None:
    document = lamps("good")
    document["devices"].append({"device_id": "off", "enabled": False})
    connector = workshop.serve(Home, document)
    connector.publish_state("off", {"power": 1})
    seen.wait("devices/good/state", count=3)
    assert [found.topic for found in seen.all if "/off/" in found.topic] == []
