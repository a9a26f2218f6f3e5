# Written as connectors for IoT2mqtt are: only the import of the SDK is new.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ARG001, BLE001, DTZ005, PLW0603, PTH123
import json
import logging
import os
import signal
import sys
import time
from datetime import datetime

from iot2mqtt_sdk import MQTTClient

logging.basicConfig(level=logging.INFO)
logger = logging.getLogger(__name__)

instance_name = os.environ["INSTANCE_NAME"]
with open(f"{os.environ['IOT2MQTT_PATH']}/instances/{instance_name}.json") as f:
    config = json.load(f)
states = {device["device_id"]: {"power": False} for device in config["devices"]}
mqtt = MQTTClient(instance_id=instance_name)
running = True


def find_device_config(device_id):
    return next((d for d in config["devices"] if d["device_id"] == device_id), None)


def get_device_state(device_id, device_config):
    return states[device_id]


def set_device_state(device_id, device_config, values):
    if "fail" in values:
        raise RuntimeError("device does not answer")
    states[device_id] = {**states[device_id], **values}
    return True


def on_command(topic, payload):
    device_id = topic.split("/")[-2]
    device_config = find_device_config(device_id)
    if not device_config:
        return
    cmd_time = datetime.fromisoformat(payload["timestamp"])
    if (datetime.now() - cmd_time).total_seconds() > 30:
        logger.warning("Ignoring stale command")
        return
    try:
        result = set_device_state(device_id, device_config, payload.get("values", {}))
        if "id" in payload:
            response = {
                "cmd_id": payload["id"],
                "status": "success" if result else "error",
                "timestamp": datetime.now().isoformat(),
            }
            mqtt.publish(f"devices/{device_id}/cmd/response", response)
        mqtt.publish_state(device_id, get_device_state(device_id, device_config))
    except Exception as e:
        mqtt.publish_error(device_id, "COMMAND_FAILED", str(e))


def stop(signum, frame):
    global running
    running = False


signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
mqtt.subscribe("devices/+/cmd", on_command)
mqtt.connect(retry_interval=5, max_retries=-1)
while running:
    for device_id in states:
        mqtt.publish_state(device_id, get_device_state(device_id, find_device_config(device_id)))
    time.sleep(0.2)
mqtt.disconnect()
sys.exit(0)
