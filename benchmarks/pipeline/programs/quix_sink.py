"""Quix Streams with its sink for PostgreSQL: measurements become rows of a table that it makes."""

import os

from quixstreams import Application
from quixstreams.sinks.community.postgresql import PostgreSQLSink

from iot2mqtt_pipeline.record import read_measurement, rows


def rows_of(value: bytes) -> list[dict[str, object]]:
    """Return the rows of a measurement, as the sink wants them."""
    return [
        {
            "moment": row.timestamp,
            "device_id": row.device_id,
            "connector_mode": row.connector_mode,
            "connector": row.connector,
            "component_type": row.component_type,
            "component_id": row.component_id,
            "value": row.value,
            "value_text": row.value_text,
            "unit": row.unit,
            "raw_data": (row.raw_data or b"").decode() if isinstance(row.raw_data, bytes) else row.raw_data,
        }
        for row in rows(read_measurement(value))
    ]


def main() -> None:
    """Store until stopped."""
    app = Application(
        broker_address=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        consumer_group=os.environ["MQTT_CLIENT_ID"],
        auto_offset_reset="earliest",
        commit_every=5000,
        loglevel="WARNING",
    )
    decoded = app.topic(os.environ["KAFKA_DECODED_TOPIC"], value_deserializer="bytes", key_deserializer="bytes")
    sink = PostgreSQLSink(
        host=os.environ["POSTGRES_HOST"],
        port=int(os.environ["POSTGRES_PORT"]),
        dbname=os.environ["POSTGRES_DB"],
        user=os.environ["POSTGRES_USER"],
        password=os.environ["POSTGRES_PASSWORD"],
        table_name="quix_measurements",
    )
    app.dataframe(decoded).apply(rows_of, expand=True).sink(sink)
    app.run()


if __name__ == "__main__":
    main()
