# Written as connectors for IoT2mqtt are: only the import of the SDK is new.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ARG001, S310
import json
import os
import signal
import sys
import time
from urllib.request import Request, urlopen

from iot2mqtt_sdk import MQTTClient

INSTANCE_NAME = os.getenv("INSTANCE_NAME")
SENSOR_API = os.environ["SENSOR_API"]
CAMERA_API = os.environ["CAMERA_API"]

mqtt = MQTTClient(instance_id=INSTANCE_NAME)


def call(url, method="GET"):
    with urlopen(Request(url, method=method), timeout=5) as answer:
        return json.load(answer)


def on_command(topic, payload):
    device_id = topic.split("/")[-2]
    if "snapshot" in payload:
        mqtt.publish_event(device_id, "snapshot_taken", call(f"{CAMERA_API}/snapshot", "POST"))
    elif "sensor_read" in payload:
        mqtt.publish_state(device_id, call(f"{SENSOR_API}/read"))
    elif "id" in payload:
        mqtt.publish(f"devices/{device_id}/cmd/response", {"cmd_id": payload["id"], "status": "success"})


def signal_handler(signum, frame):
    mqtt.publish(f"IoT2mqtt/v1/instances/{INSTANCE_NAME}/status", "offline", qos=1, retain=True)
    time.sleep(0.5)
    mqtt.disconnect()
    sys.exit(0)


if os.getenv("HANDLE_SIGNALS"):
    signal.signal(signal.SIGTERM, signal_handler)
    signal.signal(signal.SIGINT, signal_handler)

mqtt.connect()
mqtt.publish(f"IoT2mqtt/v1/instances/{INSTANCE_NAME}/status", "online", retain=True)
mqtt.subscribe("devices/+/cmd", on_command)

while True:
    sensor_state = call(f"{SENSOR_API}/state")
    camera_state = call(f"{CAMERA_API}/state")
    mqtt.publish_state("hub", {**sensor_state, **camera_state})
    time.sleep(0.2)
