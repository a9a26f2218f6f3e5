"""Reading the dead letters of a topic, from the first to what is the last now."""

import time
from collections.abc import Iterator, Mapping
from typing import cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from iot2mqtt_pipeline.adapters.kafka_client import made
from iot2mqtt_pipeline.adapters.kafka_errors import cause, meaning
from iot2mqtt_pipeline.errors import TransientError
from iot2mqtt_pipeline.stage import Record

_PATIENCE = 10.0
_BATCH = 500
_PAUSE = 0.1
_MOVING = {KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE}
"""A partition has no leader yet or a new one: this is over in a moment."""
_MENDED_BY_THE_DRIVER = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}  # noqa: SLF001 - librdkafka's names


class KafkaLetters:
    """The records of a topic, without a place in any consumer group.

    Args:
        client: The settings that every client of this Kafka needs, in librdkafka's names.
        topic: The topic of the dead letters.

    Attributes:
        dropped: How many records Kafka had dropped already when they were last read.
    """

    def __init__(self, *, client: Mapping[str, str], topic: str) -> None:
        self._config = dict(client) | {
            "group.id": "iot2mqtt-dead-letters",
            "enable.auto.commit": "false",
            "isolation.level": "read_committed",
            "enable.partition.eof": "true",
        }
        self._topic = topic
        self.dropped = 0

    def records(self) -> Iterator[Record]:
        """Yield each record, in order per partition, and end where the topic ends now: it may grow meanwhile.

        Raises:
            TransientError: Kafka is away, or the topic is not there.
            ConfigurationError: There can be no client with these settings.
        """
        consumer = made(Consumer, self._config)
        try:
            yield from self._read(consumer)
        except KafkaException as exception:
            raise meaning(cause(exception)) from None
        finally:
            consumer.close()

    def _read(self, consumer: Consumer) -> Iterator[Record]:
        about = consumer.list_topics(self._topic, _PATIENCE).topics[self._topic]
        if about.error is not None:
            raise TransientError(f"the topic {self._topic} cannot be read: {about.error}")
        earliest = -2
        parts = [TopicPartition(self._topic, number, earliest) for number in about.partitions]
        bounds = {part.partition: self._bounds(consumer, part) for part in parts}
        self.dropped = sum(low for low, _ in bounds.values())
        ends = {number: high for number, (_, high) in bounds.items()}
        open_ends = set(ends)
        consumer.assign(parts)
        while open_ends:
            found = consumer.consume(_BATCH, 0.2) or consumer.consume(1, _PATIENCE)
            if not found:
                raise TransientError(f"Kafka has not sent the dead letters of {self._topic} within {_PATIENCE:g} s")
            for message in found:
                number, error = cast("int", message.partition()), message.error()
                if error is None and cast("int", message.offset()) < ends[number]:
                    yield _record(message)
                elif error is None or error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                    open_ends.discard(number)
                elif error.code() not in _MENDED_BY_THE_DRIVER:
                    raise meaning(error)

    def _bounds(self, consumer: Consumer, part: TopicPartition) -> tuple[int, int]:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                offsets = consumer.get_watermark_offsets(part, _PATIENCE)
            except KafkaException as exception:
                if cause(exception).code() not in _MOVING or time.monotonic() > deadline:
                    raise
                consumer.poll(_PAUSE)
                continue
            if offsets is None:
                raise TransientError(f"Kafka has not told within {_PATIENCE:g} s where {self._topic} begins and ends")
            return offsets


def _record(message: Message) -> Record:
    return Record(
        cast("str", message.topic()),
        cast("int", message.partition()),
        cast("int", message.offset()),
        message.key(),
        message.value() or b"",
        cast("list[tuple[str, bytes]]", message.headers() or []),
    )
