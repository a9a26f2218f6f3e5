"""Topics that have to be there before a stage begins."""

import time
from collections.abc import Collection, Mapping

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from iot2mqtt_pipeline.adapters.kafka_client import made
from iot2mqtt_pipeline.adapters.kafka_errors import cause, meaning
from iot2mqtt_pipeline.errors import TransientError

LARGEST_DEAD_LETTER = 16 * 1024 * 1024
"""Bytes that a record of the dead letters may have: more than what it is the dead letter of."""
_PATIENCE = 30.0
_PAUSE = 0.05


def ensure_topics(client: Mapping[str, str], partitions: Mapping[str, int], *, copies: int = -1) -> None:
    """Create the topics that do not exist, and wait until Kafka tells of them; others stay as they are.

    Args:
        client: The settings that every client of this Kafka needs.
        partitions: How many partitions each topic gets; those whose names end in `.dlq` take larger records and
            keep them for ever.
        copies: How often they are kept; -1 means as often as Kafka's own setting says.

    Raises:
        TransientError: Kafka is away or refuses.
        ConfigurationError: There can be no client with these settings.
    """
    admin = made(AdminClient, client)
    known = _listed(admin)
    new = [
        NewTopic(topic, num_partitions=count, replication_factor=copies, config=_config(topic))
        for topic, count in partitions.items()
        if topic not in known
    ]
    # Not every user may create topics, and the embedded Kafka cannot.
    if not new:
        return
    for done in admin.create_topics(new, operation_timeout=_PATIENCE, request_timeout=_PATIENCE).values():
        try:
            done.result()
        except KafkaException as exception:
            error = cause(exception)
            if error.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise meaning(error) from None
    _wait_until_told(admin, [topic.topic for topic in new])


def _wait_until_told(admin: AdminClient, new: Collection[str]) -> None:
    """Wait until the topics can be read and written: Kafka says that they are created before its brokers know them."""
    deadline = time.monotonic() + _PATIENCE
    while not _listed(admin, led=True).issuperset(new):
        if time.monotonic() > deadline:
            raise TransientError(f"Kafka has created {', '.join(new)}, but they have no leader after {_PATIENCE:g} s")
        time.sleep(_PAUSE)


def _listed(admin: AdminClient, *, led: bool = False) -> set[str]:
    """Return the topics that there are, or only those of which each partition has a leader."""
    try:
        topics = admin.list_topics(timeout=_PATIENCE).topics
    except KafkaException as exception:
        raise meaning(cause(exception)) from None
    if not led:
        return set(topics)
    return {
        name
        for name, topic in topics.items()
        if topic.error is None and all(part.leader >= 0 for part in topic.partitions.values())
    }


def _config(topic: str) -> dict[str, str]:
    # By the writer's time of day, Kafka would refuse records of a host whose clock is ahead, and drop at once those of
    # one whose clock nobody has set.
    config = {"message.timestamp.type": "LogAppendTime"}
    if topic.endswith(".dlq"):
        # Nobody may look at dead letters for weeks, and there is no other copy of them.
        config |= {"max.message.bytes": str(LARGEST_DEAD_LETTER), "retention.ms": "-1"}
    return config
