"""A bare paho-mqtt subscriber at QoS 1: it counts, acknowledges and does nothing else."""

import json
import os
import sys
import threading
import time
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

total = int(sys.argv[1])
warm = total // 20
times: list[float] = []
ended = threading.Event()
count = 0


def take(_client: mqtt.Client, _data: Any, _message: mqtt.MQTTMessage) -> None:
    """Count a message."""
    global count  # noqa: PLW0603 - nothing stands between paho and the count
    count += 1
    if count in (warm, total):
        times.append(time.monotonic())
        if count == total:
            ended.set()


client = mqtt.Client(
    CallbackAPIVersion.VERSION2,
    client_id=os.environ["MQTT_CLIENT_ID"],
    clean_session=False,
    protocol=mqtt.MQTTv311,
)
client.on_message = take
client.connect(os.environ["MQTT_HOST"], int(os.environ["MQTT_PORT"]))
client.loop_start()
if not ended.wait(120):
    sys.exit(f"only {count} of {total} messages came")
client.disconnect()
client.loop_stop()
sys.stdout.write(json.dumps({"rate": (total - warm) / (times[1] - times[0])}) + "\n")
