"""A bridge as a process of its own; its arguments are one JSON object. SIGTERM ends it."""

import json
import logging
import signal
import sys
from threading import Event

from iot2mqtt_pipeline.adapters.kafka_out import KafkaOutbox
from iot2mqtt_pipeline.adapters.mqtt import MqttInbox
from iot2mqtt_pipeline.bridge import Bridge
from iot2mqtt_pipeline.settings import Mqtt


def main() -> None:
    given = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.INFO)
    stopping = Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    inbox = MqttInbox(settings=Mqtt(**given["mqtt"]), filters=given["filters"])
    Bridge(inbox=inbox, outbox=KafkaOutbox(client=given["kafka"]), topic=given["topic"]).run(stopping.is_set)


if __name__ == "__main__":
    main()
