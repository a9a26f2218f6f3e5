"""The same connector directly on paho-mqtt: one loop, one device after the other, commands in the callback.

It honours far fewer clauses than BaseConnector does.
"""

import json
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

NAME = os.environ["INSTANCE_NAME"]
ROOT = f"IoT2mqtt/v1/instances/{NAME}"
CONFIG = json.loads((Path(os.environ["IOT2MQTT_PATH"]) / "instances" / f"{NAME}.json").read_text(encoding="utf-8"))
POWER: dict[str, bool] = {}
STOP = Event()


def stamp() -> str:
    """Return the time."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def publish_state(client: mqtt.Client, device_id: str) -> None:
    """Publish a lamp's state and its one property."""
    power = POWER.get(device_id, False)
    body = {"timestamp": stamp(), "device_id": device_id, "state": {"power": power}}
    client.publish(f"{ROOT}/devices/{device_id}/state", json.dumps(body), qos=1, retain=True)
    client.publish(f"{ROOT}/devices/{device_id}/state/power", json.dumps(power), qos=1, retain=True)


def on_connect(client: mqtt.Client, *_: Any) -> None:
    """Subscribe."""
    client.subscribe([(f"{ROOT}/devices/+/cmd", 1), (f"{ROOT}/devices/+/get", 1)])


def on_subscribe(client: mqtt.Client, *_: Any) -> None:
    """Go online."""
    client.publish(f"{ROOT}/status", "online", qos=1, retain=True)


def on_message(client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
    """Obey."""
    device_id = message.topic.split("/")[-2]
    command = json.loads(message.payload)
    POWER[device_id] = command["values"]["power"]
    answer = {"cmd_id": command["id"], "timestamp": stamp(), "status": "success", "result": command["values"]}
    client.publish(f"{ROOT}/devices/{device_id}/cmd/response", json.dumps(answer), qos=1)
    publish_state(client, device_id)


def main() -> None:
    """Poll until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: STOP.set())
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"iot2mqtt_{NAME}")
    client.will_set(f"{ROOT}/status", "offline", qos=1, retain=True)
    client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
    client.connect(os.environ["MQTT_HOST"], int(os.environ["MQTT_PORT"]))
    client.loop_start()
    due = time.monotonic()
    while not STOP.wait(max(0.0, due - time.monotonic())):
        due = max(due + CONFIG["update_interval"], time.monotonic())
        for device in CONFIG["devices"]:
            time.sleep(device.get("hangs", 0))
            publish_state(client, device["device_id"])
    client.publish(f"{ROOT}/status", "offline", qos=1, retain=True).wait_for_publish(1)
    client.disconnect()


main()
