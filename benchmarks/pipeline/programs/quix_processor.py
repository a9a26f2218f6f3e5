"""Quix Streams with our decoder in it: raw records become measurements."""

import os

from quixstreams import Application

from benchmarks.pipeline.simulated import table
from iot2mqtt_pipeline.decoding import Decoder
from iot2mqtt_pipeline.record import read_raw


def main() -> None:
    """Decode until stopped."""
    decoder = Decoder(table(), "deadletter")

    def decoded(value: bytes) -> list[bytes]:
        return [one.encode() for one in decoder.measurements(read_raw(value))]

    app = Application(
        broker_address=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        consumer_group=os.environ["MQTT_CLIENT_ID"],
        auto_offset_reset="earliest",
        loglevel="WARNING",
    )
    raw = app.topic(os.environ["KAFKA_RAW_TOPIC"], value_deserializer="bytes", key_deserializer="bytes")
    out = app.topic(os.environ["KAFKA_DECODED_TOPIC"], value_serializer="bytes", key_serializer="bytes")
    app.dataframe(raw).apply(decoded, expand=True).to_topic(out)
    app.run()


if __name__ == "__main__":
    main()
