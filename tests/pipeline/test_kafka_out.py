"""What a producer says of records once Kafka has given it up."""

import pytest
from confluent_kafka import KafkaError

from iot2mqtt_pipeline.adapters.kafka_out import KafkaOutbox
from iot2mqtt_pipeline.errors import FencedError


def test_nothing_counts_as_written_by_a_producer_that_kafka_has_given_up() -> None:
    outbox = KafkaOutbox(client={"bootstrap.servers": "127.0.0.1:1"})
    told: list[object] = []
    outbox._report(told.append, outbox._age, KafkaError(KafkaError._FENCED), None)
    with pytest.raises(FencedError):
        outbox.flush(0)
    assert told == []
