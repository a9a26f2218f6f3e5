"""A broker, and a connector at it."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from tests.sdk.cli.command import SECONDS, mosquitto

from iot2mqtt_conformance.ports import free_port

CONNECTOR = """
import os
from iot2mqtt_sdk import BaseConnector, CommandError

class Connector(BaseConnector):
    def initialize_connection(self):
        self.values = {"power": True}

    def get_device_state(self, device_id, device_config):
        return self.values

    def set_device_state(self, device_id, device_config, state):
        if "fan" in state:
            raise CommandError("unsupported_property", "there is no fan")
        if "crash" in state:
            os._exit(3)
        self.values.update(state)
        return True

Connector.main()
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    port = free_port()
    with mosquitto(tmp_path, port):
        yield port


@pytest.fixture
def connector(tmp_path: Path) -> Path:
    folder = tmp_path / "my connector"
    (folder / "instances").mkdir(parents=True)
    (folder / "connector.py").write_text(CONNECTOR, encoding="utf-8")
    instance = {"devices": [{"device_id": "light1"}], "update_interval": 60}
    (folder / "instances" / "kitchen.json").write_text(json.dumps(instance), encoding="utf-8")
    return folder


@pytest.fixture
def client(broker: int) -> Iterator[paho.Client]:
    """Somebody else at the broker."""
    connected = threading.Event()
    other = paho.Client(CallbackAPIVersion.VERSION2)
    other.on_connect = lambda *_: connected.set()
    other.connect("127.0.0.1", broker)
    other.loop_start()
    assert connected.wait(SECONDS)
    yield other
    other.disconnect()
    other.loop_stop()


@pytest.fixture
def say(client: paho.Client) -> Callable[[str, str], None]:
    """Publish what the broker keeps, below the instances."""

    def publish(suffix: str, payload: str) -> None:
        client.publish(f"IoT2mqtt/v1/instances/{suffix}", payload, qos=1, retain=True).wait_for_publish(SECONDS)

    return publish


@pytest.fixture
def status(client: paho.Client) -> Callable[[str], None]:
    """Wait for a word on the status topic of the instance `kitchen`."""
    said: list[str] = []
    news = threading.Condition()

    def take(_client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        with news:
            said.append(message.payload.decode())
            news.notify_all()

    client.on_message = take
    client.subscribe("IoT2mqtt/v1/instances/kitchen/status", 1)

    def wait_for(word: str) -> None:
        with news:
            assert news.wait_for(lambda: word in said, SECONDS), said

    return wait_for
