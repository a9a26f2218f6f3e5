"""The Prometheus endpoint, asked over HTTP while a connector runs on a real broker."""

import http.client
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.sdk.live import SECONDS, Ear, mosquitto, write_instance

from iot2mqtt_conformance.ports import free_port
from iot2mqtt_sdk import BaseConnector
from iot2mqtt_sdk.errors import ConfigurationError
from iot2mqtt_sdk.properties import Property

ROOT = "IoT2mqtt/v1/instances/kitchen"
DEVICES = [{"device_id": "lamp"}, {"device_id": "broken"}, {"device_id": "spare", "enabled": False}]
Samples = dict[tuple[str, str], float]


class House(BaseConnector):
    update_interval = 0.1
    properties: ClassVar[Any] = {"power": Property(bool, writable=True)}

    def get_device_state(self, device_id: str, device_config: Any) -> Any:  # noqa: ARG002
        if device_id == "broken":
            raise OSError("unplugged")
        return {"power": True}

    def set_device_state(self, device_id: str, device_config: Any, state: Any) -> Any:  # noqa: ARG002
        return True


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Set what a connector of the instance `kitchen` needs; its broker and its metrics have a free port each."""
    write_instance(tmp_path, "kitchen", devices=DEVICES)
    variables = {
        "INSTANCE_NAME": "kitchen",
        "CONNECTOR_TYPE": "house",
        "IOT2MQTT_PATH": str(tmp_path),
        "MQTT_HOST": "127.0.0.1",
        "MQTT_PORT": str(free_port()),
        "METRICS_PORT": str(free_port()),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def house(environment: dict[str, str]) -> Iterator[BaseConnector]:
    connector = House()
    assert environment
    yield connector
    connector.stop()


def ask(variables: dict[str, str], path: str = "/metrics") -> str:
    connection = http.client.HTTPConnection("127.0.0.1", int(variables["METRICS_PORT"]), timeout=SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def samples(variables: dict[str, str]) -> Samples:
    """Return each value by name and labels."""
    return {
        (sample.name, ",".join(sorted(sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(ask(variables))
        for sample in family.samples
    }


def eventually(look: Callable[[], Samples], wanted: Callable[[Samples], bool]) -> Samples:
    """Ask until the figures are as wanted."""
    pause = threading.Event()
    for _ in range(int(SECONDS / 0.05)):
        found = look()
        if wanted(found):
            return found
        pause.wait(0.05)
    raise AssertionError(f"the figures never were as wanted; they are {found}")


def test_polls_commands_and_devices_are_counted(
    house: BaseConnector, environment: dict[str, str], tmp_path: Path
) -> None:
    with mosquitto(tmp_path, int(environment["MQTT_PORT"])) as port:
        ear = Ear(port)
        house.start()
        ear.until(f"{ROOT}/devices/broken/availability", '"offline"'.__eq__)
        for number, values in enumerate(({"power": True}, {"power": 5}, {"colour": "red"}, {"power": False})):
            body = json.dumps({"id": str(number), "values": values})
            ear.publish(f"{ROOT}/devices/lamp/cmd", body)
        ear.until(f"{ROOT}/devices/lamp/cmd/response", after=3)
        found = samples(environment)
        ear.close()
        house.stop()
    assert found["iot2mqtt_connector_info", "house,kitchen"] == 1
    assert found["iot2mqtt_connected", ""] == 1
    assert found["iot2mqtt_devices", ""] == 2, "one of three is disabled"
    assert found["iot2mqtt_devices_online", ""] == 1
    assert found["iot2mqtt_commands_total", "success"] == 2
    assert found["iot2mqtt_commands_total", "invalid_value"] == 1
    assert found["iot2mqtt_commands_total", "unsupported_property"] == 1
    assert found["iot2mqtt_poll_failures_total", ""] >= 2
    assert found["iot2mqtt_polls_total", ""] > found["iot2mqtt_poll_failures_total", ""]
    assert found["iot2mqtt_messages_received_total", ""] >= 4
    assert found["iot2mqtt_messages_published_total", ""] >= 8
    assert found["iot2mqtt_reconnects_total", ""] == 0
    assert found["iot2mqtt_poll_duration_seconds_bucket", "+Inf"] == found["iot2mqtt_poll_duration_seconds_count", ""]
    assert found["iot2mqtt_poll_duration_seconds_count", ""] == found["iot2mqtt_polls_total", ""]


def test_a_broker_that_goes_and_comes_back_is_seen(
    house: BaseConnector, environment: dict[str, str], tmp_path: Path
) -> None:
    port = int(environment["MQTT_PORT"])
    with mosquitto(tmp_path, port):
        house.start()
        eventually(lambda: samples(environment), lambda found: found["iot2mqtt_connected", ""] == 1)
    eventually(lambda: samples(environment), lambda found: found["iot2mqtt_connected", ""] == 0)
    with mosquitto(tmp_path, port):
        found = eventually(lambda: samples(environment), lambda found: found["iot2mqtt_connected", ""] == 1)
        assert found["iot2mqtt_reconnects_total", ""] == 1
        house.stop()


def test_the_port_is_closed_with_the_connector(
    house: BaseConnector, environment: dict[str, str], tmp_path: Path
) -> None:
    with mosquitto(tmp_path, int(environment["MQTT_PORT"])):
        house.start()
        assert "iot2mqtt_polls_total" in ask(environment)
        house.stop()
    with pytest.raises(ConnectionRefusedError):
        ask(environment)


def test_a_port_that_is_taken_is_named_and_nothing_starts(house: BaseConnector, environment: dict[str, str]) -> None:
    port = int(environment["METRICS_PORT"])
    words = f"metrics cannot be served on 127.0.0.1:{port}: .*METRICS_PORT"
    with socket.create_server(("127.0.0.1", port)), pytest.raises(ConfigurationError, match=words):
        house.start()
    assert not house.mqtt.connected


WITHOUT = """
import sys
sys.modules["prometheus_client"] = None

from iot2mqtt_sdk import BaseConnector
raise SystemExit(BaseConnector.run())
"""


def test_without_prometheus_client_one_sentence_says_what_to_install(environment: dict[str, str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT], env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert ended.returncode == 2
    assert "METRICS_PORT is set, and prometheus-client is not installed: pip install 'iot2mqtt-sdk[metrics]'" in (
        ended.stderr
    )
    assert "Traceback" not in ended.stderr


LIGHT = """
import sys
import iot2mqtt_sdk.connector

heavy = {"prometheus_client", "pydantic", "iot2mqtt_sdk.homeassistant", "iot2mqtt_sdk.metrics"}
print(sorted(heavy & sys.modules.keys()))
"""


def test_a_connector_that_asks_for_neither_loads_neither() -> None:
    ended = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, timeout=SECONDS, check=True)
    assert ended.stdout.strip() == "[]"
