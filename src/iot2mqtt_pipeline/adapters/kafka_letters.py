"""Reading the dead letters of a topic, from the first to what is the last now."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from iot2mqtt_pipeline.adapters.kafka_errors import cause, meaning
from iot2mqtt_pipeline.adapters.kafka_log import driver_log
from iot2mqtt_pipeline.errors import TransientError
from iot2mqtt_pipeline.stage import Record

_PATIENCE = 10.0
_BATCH = 500


class KafkaLetters:
    """The records of a topic, without a place in any consumer group.

    Args:
        client: The settings that every client of this Kafka needs, in librdkafka's names.
        topic: The topic of the dead letters.
    """

    def __init__(self, *, client: Mapping[str, str], topic: str) -> None:
        self._config = dict(client) | {
            "group.id": "iot2mqtt-dead-letters",
            "enable.auto.commit": "false",
            "isolation.level": "read_committed",
            "enable.partition.eof": "true",
        }
        self._topic = topic

    def records(self) -> Iterator[Record]:
        """Yield each record, in order per partition, and end where the topic ends.

        Raises:
            TransientError: Kafka is away, or the topic is not there.
        """
        consumer = Consumer(cast("dict[str, Any]", self._config), logger=driver_log)
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
        open_ends = set(about.partitions)
        consumer.assign([TopicPartition(self._topic, number, earliest) for number in open_ends])
        while open_ends:
            found = consumer.consume(_BATCH, 0.2) or consumer.consume(1, _PATIENCE)
            if not found:
                raise TransientError(f"Kafka has not sent the dead letters of {self._topic} within {_PATIENCE:g} s")
            for message in found:
                if message.error() is not None:
                    open_ends.discard(cast("int", message.partition()))
                else:
                    yield _record(message)


def _record(message: Message) -> Record:
    return Record(
        cast("str", message.topic()),
        cast("int", message.partition()),
        cast("int", message.offset()),
        message.key(),
        message.value() or b"",
        cast("list[tuple[str, bytes]]", message.headers() or []),
    )
