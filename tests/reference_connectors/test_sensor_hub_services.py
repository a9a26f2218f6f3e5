"""The services of the sensor hub, each alone: what they answer, and what they make of it when somebody else fails."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from iot2mqtt_conformance.ports import free_port
from tests.reference_connectors.sensor_hub_parts import HUB, Handler, call, fault, service, simulator, until

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")

READING = {"sensor_id": "door", "type": "motion", "motion_detected": True}


@contextmanager
def serial_handler(folder: Path, port: int, *, timeout: float = 2.0) -> Iterator[int]:
    sensors = [{"sensor_id": "temp", "type": "temperature", "address": "temp_living_room"}]
    settings = {"port": f"tty-{port}", "baudrate": 9600, "timeout": timeout, "sensors": sensors}
    with service(["python", "serial_handler.py"], settings, folder) as own:
        yield own


@contextmanager
def http_poller(folder: Path, port: int) -> Iterator[int]:
    sensors = [{"sensor_id": "front door/1", "url": f"http://127.0.0.1:{port}/motion_front_door"}]
    settings = {"poll_interval": 0.1, "timeout": 10, "sensors": sensors}
    with service(["node", "http_poller/index.js"], settings, folder) as own:
        yield own


@contextmanager
def aggregator(folder: Path, handler: int, *, ttl: float = 60) -> Iterator[int]:
    """Run the aggregator beside a handler for both kinds of devices."""
    devices = [{"device_id": "door", "type": "motion", "handler": "http"}]
    urls = dict.fromkeys(("SERIAL_HANDLER_URL", "HTTP_POLLER_URL"), f"http://127.0.0.1:{handler}")
    with service(["python", "state_aggregator.py"], {"cache_ttl": ttl, "devices": devices}, folder, **urls) as own:
        yield own


@pytest.fixture
def handler() -> Iterator[Handler]:
    made = Handler(free_port())
    made.answers["/sensor/door"] = (200, READING)
    yield made
    with suppress(OSError):
        made.close()


def reads(handler: Handler) -> int:
    return handler.asked.count("/sensor/door")


# ---------------------------------------------------------------- the serial handler
def test_the_serial_handler_answers_as_documented(tmp_path: Path) -> None:
    port = free_port()
    with simulator(port, "--calm"), serial_handler(tmp_path, port) as own:
        assert call(own, "/sensor/temp/cached")[1]["error"] == "NO_READING"
        status, reading = call(own, "/sensor/temp")
        assert status == 200
        assert 15 < reading.pop("value") < 30
        assert reading.pop("timestamp").endswith("Z")
        assert reading == {"sensor_id": "temp", "type": "temperature", "unit": "°C", "quality": "good"}
        assert call(own, "/sensors")[1]["sensors"] == [{"sensor_id": "temp", "type": "temperature"}]
        assert call(own, "/health")[1]["status"] == "healthy"
        assert call(own, "/errors")[1] == {"errors": [], "count": 0}
        fault(port, "temp_living_room", "silent")
        status, error = call(own, "/sensor/temp")
        assert (status, error["error"], error["message"]) == (503, "READ_TIMEOUT", "Sensor did not respond")
        assert call(own, "/sensor/temp/cached")[1]["quality"] == "good"
        assert call(own, "/errors")[1]["errors"][0]["sensor_id"] == "temp"


def test_a_late_answer_is_not_taken_for_the_answer_to_the_next_question(tmp_path: Path) -> None:
    port = free_port()
    with simulator(port, "--calm"), serial_handler(tmp_path, port, timeout=0.3) as own:
        fault(port, "temp_living_room", "slow 0.5")
        assert call(own, "/sensor/temp")[1]["error"] == "READ_TIMEOUT"
        fault(port, "temp_living_room", "refuse")
        until(lambda: call(own, "/sensor/temp")[1].get("error") == "READ_ERROR", "the sensor's own error")
        fault(port, "temp_living_room")
        # One answer behind, the first would be that error once more.
        error = until(lambda: (a := call(own, "/sensor/temp")[1].get("error", "none")) != "READ_TIMEOUT" and a, "any")
        assert error == "none"


def test_some_of_the_simulated_readings_fail_by_themselves(tmp_path: Path) -> None:
    port = free_port()
    good = 0
    failed: list[str] = []
    with simulator(port), serial_handler(tmp_path, port) as own:
        # One in twenty fails.
        while len(failed) < 2 and good < 600:
            status, answer = call(own, "/sensor/temp")
            good += status == 200
            failed += [answer["error"]] if status != 200 else []
    assert failed == ["READ_ERROR"] * 2
    assert good > 0


# ---------------------------------------------------------------- the poller
def test_the_poller_answers_as_documented(tmp_path: Path) -> None:
    port, path = free_port(), "/sensor/front%20door%2F1"
    with simulator(port, "--calm"), http_poller(tmp_path, port) as own:
        status, reading = call(own, path)
        assert status == 200
        assert isinstance(reading.pop("motion_detected"), bool)
        assert -70 < reading.pop("signal_strength") < -40
        assert reading.pop("timestamp").endswith("Z")
        assert reading == {"sensor_id": "front door/1", "type": "motion", "battery_level": 95.5}
        assert call(own, "/sensors")[1]["count"] == 1
        assert call(own, f"{path}/health")[1]["success_rate"] == 1
        fault(port, "motion_front_door", "500")
        error = until(lambda: (a := call(own, path))[0] == 503 and a[1], "an error")
        assert error["error"] == "BAD_STATUS"
        assert call(own, "/errors")[1]["errors"][0]["error"] == "BAD_STATUS"
        assert call(own, f"{path}/health")[1]["consecutive_failures"] > 0
        fault(port, "motion_front_door")
        until(lambda: call(own, path)[0] == 200, "a reading")
        assert call(own, "/errors")[1]["count"] == 0


def test_the_tests_of_the_poller_pass() -> None:
    result = subprocess.run(["node", "--test"], cwd=HUB / "http_poller", capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


# ---------------------------------------------------------------- the aggregator
def test_a_reading_is_kept_until_it_is_too_old_for_the_caller_or_is_refreshed(tmp_path: Path, handler: Handler) -> None:
    with aggregator(tmp_path, handler.port) as own:
        assert call(own, "/device/door")[1] == {**READING, "cached": False, "cache_age": 0.0}
        _, again = call(own, "/device/door")
        assert again["cached"] is True
        assert 0 < again["cache_age"] < 20
        assert reads(handler) == 1
        assert call(own, "/device/door", **{"Cache-Control": "max-age=0.0001"})[1]["cached"] is False
        assert call(own, "/device/door/force-refresh", "POST")[1]["cached"] is False
        assert reads(handler) == 3
        stats = call(own, "/cache/stats")[1]
        assert (stats["ttl"], stats["hits"], stats["misses"], stats["entries"]) == (60, 1, 2, 1)
        assert call(own, "/cache/clear", "POST")[1]["cleared"] == 1
        assert call(own, "/device/door")[1]["cached"] is False


def test_a_reading_is_forgotten_after_its_time(tmp_path: Path, handler: Handler) -> None:
    with aggregator(tmp_path, handler.port, ttl=0.3) as own:
        call(own, "/device/door")
        until(lambda: not call(own, "/device/door")[1]["cached"], "a fresh reading")
        assert reads(handler) == 2


def test_a_sensor_that_fails_is_told_at_once_and_does_not_open_the_circuit(tmp_path: Path, handler: Handler) -> None:
    with aggregator(tmp_path, handler.port) as own:
        call(own, "/device/door")
        handler.answers["/sensor/door"] = (503, {"error": "POLL_TIMEOUT", "message": "nothing"})
        for _ in range(5):
            status, answer = call(own, "/device/door", **{"Cache-Control": "max-age=0"})
            assert (status, answer["error"], answer["message"]) == (503, "POLL_TIMEOUT", "nothing")
        assert call(own, "/device/door")[0] == 503
        assert call(own, "/devices")[1]["devices"][0]["status"] == "offline"
        handler.answers["/sensor/door"] = (200, READING)
        assert call(own, "/device/door")[0] == 200
        assert call(own, "/devices")[1]["devices"][0]["status"] == "online"


@pytest.mark.parametrize("answer", [[], "text", None])
def test_an_answer_that_is_no_object_is_as_good_as_none(tmp_path: Path, handler: Handler, answer: Any) -> None:
    handler.answers["/sensor/door"] = (200, answer)
    with aggregator(tmp_path, handler.port) as own:
        assert call(own, "/device/door")[1]["error"] == "HANDLER_UNAVAILABLE"


def test_a_handler_that_is_away_is_not_asked_for_a_while_and_is_found_again(tmp_path: Path, handler: Handler) -> None:
    with aggregator(tmp_path, handler.port) as own:
        handler.close()
        codes = [call(own, "/device/door")[1]["error"] for _ in range(5)]
        assert codes == ["HANDLER_UNAVAILABLE"] * 3 + ["CIRCUIT_OPEN"] * 2
        health = call(own, "/health")[1]
        assert health["status"] == "degraded"
        assert health["handlers"]["http"]["status"] == "unreachable"
        assert call(own, "/errors")[1]["count"] == 2
        back = Handler(handler.port)
        back.answers["/sensor/door"] = (200, READING)
        until(lambda: call(own, "/device/door")[0] == 200, "a reading")
        health = call(own, "/health")[1]
        assert (health["status"], health["handlers"]["http"]["circuit"]) == ("healthy", "closed")
        back.close()


def test_wrong_questions_get_an_answer_in_json(tmp_path: Path, handler: Handler) -> None:
    with aggregator(tmp_path, handler.port) as own:
        found = {path: call(own, path)[0] for path in ("/device/nobody", "/nothing", "/device/", "/device/a/b")}
        assert set(found.values()) == {404}
        status, answer = call(own, "/cache/clear")
        assert (status, answer["error"]) == (405, "METHOD_NOT_ALLOWED")
        assert call(own, "/health", "BREW")[0] == 501
        with socket.create_connection(("127.0.0.1", own), 20) as connection:
            connection.sendall(b"\xff\xfe nonsense\r\n\r\n")
            assert b"BAD_REQUEST" in connection.makefile("rb").read()
        assert call(own, "/health")[0] == 200
