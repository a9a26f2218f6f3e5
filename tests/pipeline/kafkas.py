"""Topics of a test's own in a Kafka that others share, and what is in them."""

import base64
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import uuid4

from confluent_kafka import Consumer, Producer, TopicPartition

from iot2mqtt_pipeline.adapters.kafka_topics import ensure_topics
from iot2mqtt_pipeline.servers.kafka import LocalKafka
from iot2mqtt_pipeline.stage import Record
from tests.waiting import DEADLINE

EARLIEST = -2


@dataclass(slots=True)
class Topics:
    """Raw and decoded topics with unique names, and their dead letters."""

    server: LocalKafka
    partitions: int = 3
    name: str = field(default_factory=lambda: uuid4().hex[:12])

    def __post_init__(self) -> None:
        both = {self.raw: self.partitions, self.decoded: self.partitions}
        ensure_topics(self.client, both | {f"{topic}.dlq": 1 for topic in both})

    @property
    def client(self) -> dict[str, str]:
        return {"bootstrap.servers": self.server.bootstrap}

    @property
    def raw(self) -> str:
        return f"raw-{self.name}"

    @property
    def decoded(self) -> str:
        return f"decoded-{self.name}"

    def group(self) -> str:
        return f"group-{self.name}"

    def write(self, topic: str, records: Iterable[tuple[bytes | None, bytes]]) -> None:
        """Write keys and values, and wait until Kafka has them."""
        config = self.client | {"linger.ms": "5", "enable.idempotence": "true", "message.max.bytes": "2000000"}
        producer = Producer(cast("dict[str, Any]", config))
        for key, value in records:
            while True:
                try:
                    producer.produce(topic, value, key)
                    break
                except BufferError:
                    producer.poll(0.1)
        assert producer.flush(DEADLINE) == 0

    def read(self, topic: str, count: int, *, seconds: float = DEADLINE) -> list[Record]:
        """Return everything that is in a topic, once there are `count` records of it."""
        return read_until(self.client, topic, lambda found: len(found) >= count, seconds=seconds)


def read_until(
    client: Mapping[str, str], topic: str, enough: Callable[[Sequence[Record]], object], *, seconds: float = DEADLINE
) -> list[Record]:
    """Read a topic from its beginning until there is enough, and then to its end."""
    config = dict(client) | {"group.id": uuid4().hex, "enable.partition.eof": "true"}
    config |= {"isolation.level": "read_committed", "enable.auto.commit": "false", "auto.offset.reset": "earliest"}
    consumer = Consumer(cast("dict[str, Any]", config))
    try:
        partitions = consumer.list_topics(topic, 10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, EARLIEST) for number in partitions])
        return _read(consumer, len(partitions), enough, time.monotonic() + seconds)
    finally:
        consumer.close()


def _read(
    consumer: Consumer, partitions: int, enough: Callable[[Sequence[Record]], object], deadline: float
) -> list[Record]:
    found: list[Record] = []
    ended: set[int] = set()
    while len(ended) < partitions or not enough(found):
        assert time.monotonic() < deadline, f"{len(found)} records have come, and no more"
        for message in consumer.consume(1000, 0.05):
            number = cast("int", message.partition())
            if message.error() is not None:
                ended.add(number)
                continue
            ended.discard(number)
            headers = cast("list[tuple[str, bytes]]", message.headers() or [])
            topic, offset = cast("str", message.topic()), cast("int", message.offset())
            found.append(Record(topic, number, offset, message.key(), message.value() or b"", headers))
    return found


def incompressible(size: int) -> bytes:
    """Return so many characters that compression makes no fewer: brokers measure what is compressed."""
    return base64.b64encode(random.randbytes(size))[:size]
