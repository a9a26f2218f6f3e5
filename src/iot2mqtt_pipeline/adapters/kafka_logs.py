"""Which log a partition is, and where it ends: a topic has the same name in every Kafka, and when it is made anew."""

from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaException, TopicCollection, TopicPartition, Uuid
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from iot2mqtt_pipeline.adapters.kafka_client import made
from iot2mqtt_pipeline.adapters.kafka_errors import cause, meaning
from iot2mqtt_pipeline.adapters.positions import Log
from iot2mqtt_pipeline.stage import Partition

_PATIENCE = 10.0
_EMBEDDED = "mockCluster"
"""What the cluster id of librdkafka's mock cluster begins with: it is another one each time, and topics have none."""
_NO_ID = str(Uuid(0, 0))
"""What a Kafka that is too old to give its topics ids says."""


class KafkaLogs:
    """Asks Kafka about the logs of partitions.

    Args:
        client: The settings that every client of this Kafka needs.
    """

    def __init__(self, *, client: Mapping[str, str]) -> None:
        self._client = client

    def __call__(self, partitions: Sequence[Partition]) -> Mapping[Partition, Log]:
        """Return the log of each partition.

        Raises:
            TransientError: Kafka is away, or a topic is not there.
            ConfigurationError: The driver cannot work with these settings.
        """
        admin = made(AdminClient, self._client)
        try:
            names = _names(admin, sorted({topic for topic, _ in partitions}))
            ends = _ends(admin, partitions)
        except KafkaException as exception:
            raise meaning(cause(exception)) from None
        return {partition: Log(names[partition[0]], ends[partition]) for partition in partitions}


def _names(admin: AdminClient, topics: Sequence[str]) -> dict[str, str]:
    """Return a name of each topic that no topic made later has; where there is none, that of its cluster."""
    cluster = admin.list_topics(topics[0], _PATIENCE).cluster_id or ""
    if cluster.startswith(_EMBEDDED):
        return dict.fromkeys(topics, cluster)
    asked = admin.describe_topics(TopicCollection(list(topics)), request_timeout=_PATIENCE)
    found = {topic: str(about.result().topic_id) for topic, about in asked.items()}
    return {topic: cluster if name == _NO_ID else name for topic, name in found.items()}


def _ends(admin: AdminClient, partitions: Sequence[Partition]) -> dict[Partition, int]:
    end = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    latest = {TopicPartition(topic, number): end for topic, number in partitions}
    asked = admin.list_offsets(latest, request_timeout=_PATIENCE)
    return {(one.topic, one.partition): found.result().offset for one, found in asked.items()}
