"""BaseConnector when hooks, commands and names are not what they should be."""

import logging
import math
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.sdk.brokers import Recorder
from tests.sdk.homes import Home, alive
from tests.sdk.workshop import Workshop, lamps
from tests.waiting import DEADLINE

from iot2mqtt_sdk import CommandError, PayloadError


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"in": value}
    return value


def leave(*_: Any) -> Any:
    sys.exit(3)


def fail(*_: Any) -> Any:
    raise ConnectionError("no answer")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "INVALID_STATE: must return a dict"),
        ([], "INVALID_STATE: must return a dict"),
        ("on", "INVALID_STATE: must return a dict"),
        (7, "INVALID_STATE: must return a dict"),
        ({"raw": b"\x00"}, "INVALID_STATE: type bytes"),
        ({"what": object()}, "INVALID_STATE: type object"),
        ({"deep": nested(100)}, "INVALID_STATE: 64 levels"),
        pytest.param({"long": "x" * 10_000_000}, "INVALID_STATE: bytes of JSON", id="10 MB"),
        pytest.param({"digits": 10**5000}, "INVALID_STATE: thousands of digits", id="huge"),
        ({"a/b": 1}, "INVALID_STATE: property of odd"),
        ({"": 1}, "INVALID_STATE: property of odd"),
        pytest.param({"p\ud800": 1}, "INVALID_STATE: property of odd", id="surrogate"),
        pytest.param({"p" * 70_000: 1}, "INVALID_STATE: nothing can be published", id="long name"),
        (leave, "CONNECTION_FAILED: called for the end of the program"),
        (fail, "CONNECTION_FAILED: ConnectionError: no answer"),
    ],
)
def test_a_state_that_cannot_be_is_told_and_harms_no_other_device(
    workshop: Workshop, seen: Recorder, home: Any, value: Any, told: str
) -> None:
    home.read = value if callable(value) else lambda *_: value
    workshop.serve(home, lamps("odd", "good", update_interval=0.05))
    error = seen.wait("devices/odd/error", count=2).json
    code, reason = told.split(": ", 1)
    assert error["error_code"] == code
    assert reason in error["message"]
    assert len(error["message"]) < 1000
    alive(seen)
    assert seen.of("devices/odd/state") == []


def test_sets_times_and_infinities_are_published_as_json(workshop: Workshop, seen: Recorder, home: Any) -> None:
    home.read = lambda *_: {"set": {1}, "nan": math.nan, "deep": nested(10)}
    workshop.serve(home, lamps("odd", "good"))
    assert seen.wait("devices/odd/state").json["state"] == {"set": [1], "nan": None, "deep": nested(10)}


def refuse(*_: Any) -> Any:
    raise CommandError(404, {"not": "a text"}, "yes")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda *_: [], "returned a list"),
        (lambda *_: "ok", "returned a str"),
        (lambda *_: 1, "returned a int"),
        (lambda *_: 0, "returned a int"),
        (lambda *_: {"raw": b"\x00"}, "type bytes"),
        (lambda *_: {"deep": nested(100)}, "64 levels"),
        (leave, "called for the end of the program"),
        (fail, "ConnectionError: no answer"),
        (refuse, "not"),
    ],
)
def test_a_command_is_answered_whatever_its_hook_does(
    workshop: Workshop, seen: Recorder, home: Any, write: Any, reason: str
) -> None:
    home.read = lambda *_: {"power": 1}
    home.write = write
    workshop.serve(home, lamps("odd", "good"))
    seen.wait_status("online")
    response = seen.command("odd", {"power": 1})
    assert response["status"] == "error"
    assert reason in response["error"]["message"]
    assert isinstance(response["error"]["code"], str)
    alive(seen)


def test_a_device_that_hangs_is_told_of_and_comes_back(
    workshop: Workshop, seen: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iot2mqtt_sdk.runtime.polling.HANGING", 0.2)
    gate = threading.Event()

    class Hanging(Home):
        read = lambda _self, _config: {"power": gate.wait(DEADLINE)}  # noqa: E731

    workshop.serve(Hanging, lamps("odd", "good"))
    error = seen.wait("devices/odd/error").json
    assert error["error_code"] == "TIMEOUT"
    assert "does not return" in error["message"]
    assert seen.wait("devices/odd/availability").json == "offline"
    alive(seen)
    assert len(seen.of("devices/odd/error")) == 1
    gate.set()
    seen.wait("devices/odd/availability", lambda found: found.json == "online")
    seen.wait("devices/odd/state", count=3)


def test_a_device_that_fails_and_then_hangs_is_told_of(
    workshop: Workshop, seen: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iot2mqtt_sdk.runtime.polling.HANGING", 0.2)
    gate = threading.Event()
    reads: list[int] = []

    class Failing(Home):
        def read(self, _config: Any) -> Any:
            reads.append(1)
            if len(reads) == 1:
                raise ConnectionError("no answer")
            return {"power": gate.wait(DEADLINE)}

    workshop.serve(Failing, lamps("odd"))
    errors = [seen.wait("devices/odd/error", count=number).json["error_code"] for number in (1, 2)]
    gate.set()
    assert errors == ["CONNECTION_FAILED", "TIMEOUT"]
    seen.wait("devices/odd/state")


def test_a_flood_of_commands_for_a_hanging_device_is_refused_and_not_kept(
    workshop: Workshop, seen: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iot2mqtt_sdk.runtime.desk.WAITING", 10)
    gate = threading.Event()

    class Hanging(Home):
        read = lambda _self, _config: {"power": 1}  # noqa: E731
        write = lambda _self, _config, _state: gate.wait(DEADLINE)  # noqa: E731

    workshop.serve(Hanging, lamps("odd", "good", update_interval=3600))
    seen.wait("devices/odd/state")
    for number in range(30):
        seen.publish("devices/odd/cmd", {"id": f"c{number}", "values": {}, "timeout": 60_000})
    response = seen.response("odd", "c29")
    assert (response["error"]["code"], response["error"]["retriable"]) == ("device_error", True)
    gate.set()
    assert seen.response("odd", "c9")["status"] == "success"
    assert len(seen.of("devices/odd/cmd/response")) >= 20


@pytest.mark.parametrize("level", ["", pytest.param("x" * 60_000, id="long")])
def test_nothing_is_published_to_a_topic_that_the_contract_forbids(
    workshop: Workshop, seen: Recorder, level: str
) -> None:
    workshop.serve(Home, lamps("good"))
    seen.wait_status("online")
    for kind in ("devices", "groups"):
        seen.publish(f"{kind}/{level}/cmd", {"id": "x", "values": {}})
        seen.publish(f"{kind}/{level}/get", b"")
    alive(seen)
    answers = [found.topic for found in seen.all if found.topic.endswith("/cmd/response")]
    assert not any("//" in topic for topic in answers)


@pytest.mark.parametrize("name", ["a/b", "a+", "#", "", "a\nb"])
def test_publishing_for_a_name_that_no_topic_can_hold_is_refused(workshop: Workshop, seen: Recorder, name: str) -> None:
    connector = workshop.serve(Home, lamps("good"))
    publications: list[Callable[[], None]] = [
        lambda: connector.publish_state(name, {"a": 1}),
        lambda: connector.publish_event(name, "pressed"),
        lambda: connector.mqtt.publish_error(name, "X", "x"),
        lambda: connector.mqtt.publish_telemetry(name, {}),
    ]
    for publish in publications:
        with pytest.raises(PayloadError, match="cannot be a topic level"):
            publish()
    alive(seen)


@pytest.fixture(autouse=True)
def no_unforeseen(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing may fail in a way that nobody foresaw."""
    with caplog.at_level(logging.WARNING):
        yield
    assert "nobody foresaw" not in caplog.text
