"""Faults of another library in what it publishes: 13 and 14."""

import json
import math
from datetime import UTC, datetime
from typing import Any

from tests.sdk.brokers import Recorder
from tests.sdk.workshop import Workshop, lamps

from iot2mqtt_sdk import BaseConnector


def refuse(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


class Odd(BaseConnector):
    state: Any = None

    def get_device_state(self, device_id: str, device_config: Any) -> Any:
        return (device_id, device_config) and self.state


def test_fault_13_a_datetime_in_the_state_is_published_as_iso_8601(workshop: Workshop, seen: Recorder) -> None:
    Odd.state = {"since": datetime(2025, 10, 13, 10, 30, tzinfo=UTC)}
    workshop.serve(Odd)
    assert seen.wait("devices/lamp/state").json["state"] == {"since": "2025-10-13T10:30:00.000Z"}
    seen.wait("devices/lamp/state", count=3)


def test_fault_14_every_payload_is_strict_json(workshop: Workshop, seen: Recorder) -> None:
    Odd.state = {"on": True, "none": None, "word": "auto", "nan": math.nan, "infinite": -math.inf, "list": [math.nan]}
    workshop.serve(Odd, lamps("lamp"))
    seen.wait("devices/lamp/state", count=2)
    payloads = {
        name: json.loads(seen.wait(f"devices/lamp/state/{name}").payload, parse_constant=refuse) for name in Odd.state
    }
    expected = {"on": True, "none": None, "word": "auto", "nan": None, "infinite": None, "list": [None]}
    assert payloads == expected
    assert json.loads(seen.of("devices/lamp/state")[0].payload, parse_constant=refuse)["state"] == expected
