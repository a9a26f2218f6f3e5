"""Faults of another library in how it tells the time: 5, 6, 21, 22, 24."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from tests.sdk.brokers import Recorder
from tests.sdk.workshop import Workshop, lamps

from iot2mqtt_sdk import BaseConnector

ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns")


class Switch(BaseConnector):
    update_interval = None

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Any] = []

    def set_device_state(self, device_id: str, device_config: Any, state: Any) -> Any:
        self.taken.append(dict(state))
        self.publish_state(device_id, {**device_config, **state})
        return True


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def served(workshop: Workshop, seen: Recorder, **document: Any) -> Switch:
    switch = workshop.serve(Switch, lamps("lamp", **document))
    seen.wait_status("online")
    return switch


def ago(seconds: float, hours: float = 0.0) -> str:
    return (datetime.now(timezone(timedelta(hours=hours))) - timedelta(seconds=seconds)).isoformat()


def test_fault_05_every_timestamp_carries_its_offset(workshop: Workshop, seen: Recorder, zone: str) -> None:
    assert zone
    switch = served(workshop, seen)
    switch.publish_event("lamp", "pressed")
    seen.command("lamp", {"power": True})
    seen.command("nobody", {})
    seen.wait("devices/lamp/events")
    stamps = [found.json["timestamp"] for found in seen.all if b'"timestamp"' in found.payload]
    assert len(stamps) >= 4
    for stamp in stamps:
        moment = datetime.fromisoformat(stamp)
        assert moment.utcoffset() is not None
        assert abs((datetime.now(UTC) - moment).total_seconds()) < 60


def test_fault_06_offsets_are_converted_and_unreadable_stamps_refused(
    workshop: Workshop, seen: Recorder, zone: str
) -> None:
    assert zone
    switch = served(workshop, seen)
    good = [ago(0), ago(0, 9), ago(0, -3.5), ago(20), datetime.now(UTC).replace(tzinfo=None).isoformat()]
    for stamp in good:
        assert seen.command("lamp", {"good": stamp}, timestamp=stamp)["status"] == "success", stamp
    stale = [ago(40), ago(600, 9), ago(600, -3.5)]
    for stamp in stale:
        assert seen.command("lamp", {"bad": stamp}, timestamp=stamp)["error"]["code"] == "stale_command", stamp
    stamps: tuple[Any, ...] = ("yesterday", "", 12, {}, "2025-02-30T00:00:00Z")
    for unreadable in stamps:
        answer = seen.command("lamp", {"bad": unreadable}, timestamp=unreadable)
        assert answer["error"]["code"] == "invalid_command", unreadable
    assert len(switch.taken) == len(good)
    assert all("good" in values for values in switch.taken)


def test_fault_21_retained_commands_and_disabled_devices_do_nothing(workshop: Workshop, seen: Recorder) -> None:
    seen.publish("devices/lamp/cmd", {"id": "old", "values": {"power": 1}}, retain=True)
    seen.publish("groups/all/cmd", {"id": "old", "values": {"power": 1}}, retain=True)
    seen.settle()
    document = {
        "devices": [{"device_id": "lamp"}, {"device_id": "off", "enabled": False}],
        "groups": [{"group_id": "all", "devices": ["lamp"]}],
    }
    switch = workshop.serve(Switch, document)
    seen.wait_status("online")
    assert seen.command("off", {"power": 2})["error"]["code"] == "device_disabled"
    assert seen.command("lamp", {"power": 3})["status"] == "success"
    assert switch.taken == [{"power": 3}]
    assert seen.of("groups/all/cmd/response") == []


def test_fault_22_a_command_id_is_executed_once_in_order_and_within_its_time(
    workshop: Workshop, seen: Recorder
) -> None:
    switch = served(workshop, seen)
    for number in range(30):
        for _ in range(3):
            seen.publish("devices/lamp/cmd", {"id": f"n{number}", "values": {"n": number}})
    seen.response("lamp", "n29")
    seen.command("lamp", {"n": 30})
    assert [values["n"] for values in switch.taken] == list(range(31))
    assert len(seen.of("devices/lamp/cmd/response")) == 31


def test_fault_24_uptime_counts_from_the_start_and_online_follows_the_device(
    workshop: Workshop, seen: Recorder
) -> None:
    reachable = [True]

    class Lamp(BaseConnector):
        def get_device_state(self, device_id: str, device_config: Any) -> Any:
            if not reachable[0]:
                raise ConnectionError(f"{device_id} does not answer {device_config}")
            return {"power": True}

    def online() -> bool:
        mark = seen.mark()
        seen.publish("meta/request/devices_list", {})
        answer: bool = seen.wait("meta/devices_list", since=mark).json[0]["online"]
        return answer

    began = time.monotonic()
    workshop.serve(Lamp)
    seen.wait("devices/lamp/availability", lambda found: found.json == "online")
    assert online()
    seen.publish("meta/request/info", b"")
    first = seen.wait("meta/info").json["uptime"]
    reachable[0] = False
    seen.wait("devices/lamp/availability", lambda found: found.json == "offline")
    assert not online()
    mark = seen.mark()
    reachable[0] = True
    seen.wait("devices/lamp/availability", lambda found: found.json == "online", since=mark)
    assert online()
    seen.publish("meta/request/info", b"")
    second = seen.wait("meta/info", count=2).json["uptime"]
    assert 0 <= first < second <= time.monotonic() - began


def test_a_time_zone_that_does_not_exist_changes_no_stamp() -> None:
    code = "from iot2mqtt_sdk.clock import Clock; print(Clock().now().utcoffset())"
    said = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TZ": "Nowhere/Land"}, capture_output=True, check=True
    )
    assert said.stdout.strip() == b"0:00:00"
