"""Faults of another library in how it serves devices: 7 to 13, 18 to 20, 23, 31."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.sdk.brokers import Recorder
from tests.sdk.workshop import Workshop, lamps
from tests.waiting import DEADLINE

from iot2mqtt_sdk import BaseConnector, CommandError, ConfigurationError


class Home(BaseConnector):
    """Devices whose name says what they do."""

    hang = threading.Event()

    def get_device_state(self, device_id: str, device_config: Any) -> Any:
        if device_id.startswith("slow"):
            self.hang.wait(DEADLINE)
        if device_id.startswith("broken"):
            raise ConnectionError("no answer")
        return device_config.get("state", {"power": True})

    def set_device_state(self, device_id: str, device_config: Any, state: Any) -> Any:
        if device_id.startswith("slow"):
            self.hang.wait(DEADLINE)
        if device_id.startswith("broken"):
            raise ConnectionError("no answer")
        if device_id.startswith("unwilling"):
            return False
        if "colour" in state:
            raise CommandError("unsupported_property", f"{device_config['device_id']} has no colour")
        return True


@pytest.fixture(autouse=True)
def hang() -> Iterator[threading.Event]:
    Home.hang = threading.Event()
    yield Home.hang
    Home.hang.set()


def test_fault_07_every_refused_command_gets_a_code(workshop: Workshop, seen: Recorder) -> None:
    document = lamps("lamp", "unwilling")
    document["devices"].append({"device_id": "off", "enabled": False})
    workshop.serve(Home, document)
    seen.wait_status("online")
    codes = {
        "stale_command": seen.command("lamp", {}, timestamp="2020-01-01T00:00:00Z"),
        "unknown_device": seen.command("nobody", {}),
        "device_disabled": seen.command("off", {}),
        "invalid_command": seen.command("lamp", "on"),
        "unsupported_property": seen.command("lamp", {"colour": 1}),
        "device_error": seen.command("unwilling", {"power": 1}),
    }
    assert {response["error"]["code"] for response in codes.values()} == set(codes)
    for code, response in codes.items():
        assert response["status"] == "error"
        assert response["error"]["code"] == code
        assert response["error"]["message"]
        assert isinstance(response["error"]["retriable"], bool)


def test_fault_08_an_exception_in_a_command_reaches_the_error_topic(workshop: Workshop, seen: Recorder) -> None:
    class Writer(Home):
        update_interval = None

    workshop.serve(Writer, {"devices": [{"device_id": "broken"}]})
    seen.wait_status("online")
    assert "no answer" in seen.command("broken", {"power": 1})["error"]["message"]
    error = seen.wait("devices/broken/error", lambda found: found.json["error_code"] == "COMMAND_FAILED").json
    assert "no answer" in error["message"]
    assert error["severity"] == "error"


def test_fault_09_a_slow_command_holds_up_no_other_device(workshop: Workshop, seen: Recorder) -> None:
    workshop.serve(Home, lamps("slow", "lamp", update_interval=3600))
    seen.wait_status("online")
    seen.publish("devices/slow/cmd", {"id": "s", "values": {"power": 1}, "timeout": 60_000})
    for number in range(20):
        assert seen.command("lamp", {"n": number})["status"] == "success"
    seen.publish("meta/request/info", b"")
    seen.wait("meta/info")
    assert seen.of("devices/slow/cmd/response") == []


def test_fault_10_a_hanging_device_delays_no_other_poll(workshop: Workshop, seen: Recorder) -> None:
    workshop.serve(Home, lamps("slow", "lamp", "fan", update_interval=0.2))
    first = seen.wait("devices/lamp/state")
    last = seen.wait("devices/lamp/state", count=11)
    assert seen.of("devices/slow/state") == []
    assert last.at - first.at < DEADLINE / 3  # of the DEADLINE that the slow one takes
    seen.wait("devices/fan/state", count=8)


def test_fault_11_five_failing_devices_of_ten_stop_nothing(workshop: Workshop, seen: Recorder) -> None:
    names = [f"broken{number}" for number in range(5)] + [f"lamp{number}" for number in range(5)]
    workshop.serve(Home, lamps(*names, update_interval=0.05))
    for number in range(5):
        seen.wait(f"devices/broken{number}/error", count=5)
    mark = seen.mark()
    for number in range(5):
        seen.wait(f"devices/lamp{number}/state", since=mark)
    assert seen.of("status")[-1].payload == b"online"


def test_fault_11_a_failing_device_comes_back_by_itself(workshop: Workshop, seen: Recorder) -> None:
    connector = workshop.serve(Home, lamps("lamp", update_interval=0.05))
    seen.wait("devices/lamp/state")
    connector.config["devices"][0]["state"] = None
    seen.wait("devices/lamp/availability", lambda found: found.json == "offline")
    errors = [found.json for found in seen.of("devices/lamp/error")]
    assert [error["retry_info"]["attempt"] for error in errors] == list(range(1, len(errors) + 1))
    mark = seen.mark()
    connector.config["devices"][0]["state"] = {"power": False}
    seen.wait("devices/lamp/state", lambda found: found.json["state"] == {"power": False}, since=mark)
    seen.wait("devices/lamp/state", since=mark, count=5)


def test_fault_12_an_entry_without_device_id_is_named_before_anything_starts(workshop: Workshop) -> None:
    workshop.configure({"devices": [{"device_id": "lamp"}, {"name": "fan"}]})
    with pytest.raises(ConfigurationError, match=r"box\.json is malformed: devices\[1\]\.device_id None"):
        Home()


def test_fault_18_state_may_change_while_it_is_published(workshop: Workshop, seen: Recorder) -> None:
    shared: dict[str, Any] = {"nested": {}}
    stop = threading.Event()

    class Sharing(BaseConnector):
        def get_device_state(self, device_id: str, device_config: Any) -> Any:
            return (device_id, device_config) and shared

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            shared["nested"][f"k{number % 50}"] = number
            shared["nested"].pop(f"k{(number * 7) % 50}", None)

    thread = threading.Thread(target=change)
    connector = workshop.serve(Sharing, lamps(*(f"lamp{n}" for n in range(5)), update_interval=0.02))
    thread.start()
    try:
        seen.wait("devices/lamp3/state", count=20)
        assert len(connector.devices) == 5
    finally:
        stop.set()
        thread.join()
    assert [found.payload for found in seen.all if found.topic.endswith("/error")] == []


def test_fault_19_a_partial_get_leaves_the_retained_state_whole(workshop: Workshop, seen: Recorder) -> None:
    connector = workshop.serve(Home, {"update_interval": 3600, "devices": [{"device_id": "lamp"}]})
    seen.wait("devices/lamp/state")
    connector.config["devices"][0]["state"] = {"power": False, "level": 7}
    mark = seen.mark()
    seen.publish("devices/lamp/get", {"properties": ["level", "nonsense"]})
    part = seen.wait("devices/lamp/state", since=mark)
    assert part.json["state"] == {"level": 7}, "the device is read, and no old answer is served"
    late = Recorder(int(seen._client.port), seen.base)
    try:
        assert late.wait("devices/lamp/state").json["state"] == {"power": True}
    finally:
        late.close()
    connector.config["devices"][0]["state"] = {}
    mark = seen.mark()
    seen.publish("devices/lamp/get", b"")
    assert seen.wait("devices/lamp/state", since=mark).json["state"] == {}


def test_fault_20_a_device_without_state_is_told_of(workshop: Workshop, seen: Recorder) -> None:
    connector = workshop.serve(Home, {"update_interval": 0.05, "devices": [{"device_id": "lamp", "state": None}]})
    connector.config["devices"][0]["state"] = None
    error = seen.wait("devices/lamp/error").json
    assert error["error_code"] == "INVALID_STATE"
    assert "must return a dict" in error["message"]
    seen.wait("devices/lamp/availability", lambda found: found.json == "offline")


def test_fault_23_a_group_command_is_answered_member_by_member(workshop: Workshop, seen: Recorder) -> None:
    document = lamps("lamp", "unwilling", "outsider", update_interval=3600)
    members = ["lamp", "unwilling", "nobody", "lamp"]
    document["groups"] = [{"group_id": "all", "devices": members}, {"group_id": "one", "devices": ["lamp"]}]
    workshop.serve(Home, document)
    seen.wait_status("online")
    seen.publish("groups/all/cmd", {"id": "g1", "values": {"power": 1}})
    answer = seen.wait("groups/all/cmd/response").json
    assert (answer["cmd_id"], answer["status"]) == ("g1", "partial")
    assert {name: result["status"] for name, result in answer["results"].items()} == {
        "lamp": "success",
        "unwilling": "error",
    }
    seen.publish("groups/one/cmd", {"id": "g2", "power": 1})
    assert seen.wait("groups/one/cmd/response").json["error"]["code"] == "invalid_command"
    seen.publish("groups/one/cmd", {"id": "g3", "values": {"power": 1}})
    assert seen.wait("groups/one/cmd/response", count=2).json["status"] == "success"
    assert len(seen.of("groups/all/cmd/response")) == 1


@pytest.mark.parametrize("name", ["a/b", "a+b", "a#", "", None, 7, "a\nb", "a\x00b", "a\x7fb", "a\ud800b", "x" * 2000])
def test_fault_31_a_device_id_that_no_topic_can_hold_is_refused(workshop: Workshop, name: Any) -> None:
    workshop.configure({"devices": [{"device_id": "lamp"}, {"device_id": name, "friendly_name": "Kitchen / lamp"}]})
    with pytest.raises(ConfigurationError, match=r"box\.json is malformed: devices\[1\]\.device_id"):
        Home()


def test_a_command_that_waits_behind_a_hanging_poll_is_answered_in_time(workshop: Workshop, seen: Recorder) -> None:
    workshop.serve(Home, lamps("slow"))
    seen.wait_status("online")
    began = time.monotonic()
    response = seen.command("slow", {"power": 1}, timeout=300)
    assert response["error"]["code"] == "timeout"
    assert 0.3 <= time.monotonic() - began < DEADLINE / 3
