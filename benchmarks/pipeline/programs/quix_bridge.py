"""Quix Streams' MQTT source, which makes the records that our bridge makes."""

import os
import time
from typing import Any

from quixstreams import Application
from quixstreams.sources.community.mqtt import MQTTSource

from iot2mqtt_pipeline.record import encode_raw
from iot2mqtt_pipeline.topics import device_of


def key(message: Any, _payload: Any) -> bytes:
    """Return the key of a record."""
    return device_of(message.topic).encode()


def value(message: Any, _payload: Any) -> bytes:
    """Return a record."""
    topic = message.topic
    return encode_raw(topic=topic, device_id=device_of(topic), payload=message.payload, arrived=time.time())


def moment(_message: Any, _payload: Any) -> None:
    """Leave the time of a record to Kafka."""


def main() -> None:
    """Carry messages until stopped."""
    app = Application(broker_address=os.environ["KAFKA_BOOTSTRAP_SERVERS"], loglevel="WARNING")
    source = MQTTSource(
        topic="cmnd/#",
        client_id=os.environ["MQTT_CLIENT_ID"],
        server=os.environ["MQTT_HOST"],
        port=int(os.environ["MQTT_PORT"]),
        tls_enabled=False,
        key_setter=key,
        value_setter=value,
        timestamp_setter=moment,
        payload_deserializer=None,
        qos=1,
    )
    topic = app.topic(os.environ["KAFKA_RAW_TOPIC"], key_serializer="bytes", value_serializer="bytes")
    app.add_source(source, topic)
    app.run()


if __name__ == "__main__":
    main()
