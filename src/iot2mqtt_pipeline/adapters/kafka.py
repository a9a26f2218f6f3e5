"""Reading Kafka: one member of a consumer group, whose positions a stage confirms elsewhere."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from iot2mqtt_pipeline.adapters.kafka_client import made
from iot2mqtt_pipeline.adapters.kafka_errors import meaning
from iot2mqtt_pipeline.errors import FencedError, TransientError
from iot2mqtt_pipeline.stage import Partition, Record

_log = logging.getLogger("iot2mqtt.pipeline.kafka")

Starts = Callable[[Sequence[Partition]], Mapping[Partition, int]]
"""Asked for the offsets at which to begin; partitions that are left out begin at their earliest record."""
Told = Callable[[Sequence[Partition]], None]

_EARLIEST, _STORED = -2, -1000
JOINED_WITHIN = 30.0
"""Seconds in which a member hears from its group which partitions are its own."""
_TICK = 0.5
"""Seconds between two looks at the group while nothing is read."""


class KafkaSource:
    """A member of a consumer group; it joins at the first poll.

    Only committed records of transactions are returned. A member that joins takes partitions from others only where it
    must (cooperative-sticky). Partitions change only within `poll`, `seek`, `rewind` and `idle`; one that is taken away
    and given again begins where `on_assign` says, so that records may come a second time.

    Its partitions are assigned only when the group gives them. To read them from somewhere else, it leaves the group
    and joins it as a new member: one that the group has given up, and that does not know it yet, would wait for ever
    for its next turn if it assigned partitions on its own.

    A member that waits for partitions and hears nothing from its group leaves, and another one joins: while Kafka
    starts, the driver may lose what a member asks for before it joins, and ask again only after five minutes.

    Args:
        client: The settings that every client of this Kafka needs, in librdkafka's names.
        group: The name of the consumer group.
        topics: What to read.
        on_assign: Returns where to begin in partitions that the group has given to us; where it raises TransientError,
            `poll` raises it, nothing is read from them, and it is asked again. None means where the group is.
        on_revoke: Told which partitions are no longer ours.

    Attributes:
        losses: How often the group has given this member up, as it does where Kafka is away for long.
    """

    def __init__(
        self,
        *,
        client: Mapping[str, str],
        group: str,
        topics: Sequence[str],
        on_assign: Starts | None = None,
        on_revoke: Told | None = None,
    ) -> None:
        self._config = (
            {"session.timeout.ms": "10000"}
            | dict(client)
            | {
                "group.id": group,
                "enable.auto.commit": "false",
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "partition.assignment.strategy": "cooperative-sticky",
                "enable.partition.eof": "true",
                "queued.max.messages.kbytes": "32768",
                "fetch.wait.max.ms": "100",
            }
        )
        self._topics = list(topics)
        self._on_assign = on_assign
        self._on_revoke = on_revoke
        self._open: Consumer | None = None
        self._assigned: set[Partition] = set()
        self._unplaced: set[Partition] = set()
        self._wanted: dict[Partition, int] = {}
        self._held: list[Record] = []
        self._ends: dict[Partition, int] = {}
        self._idle = False
        self._waits = False
        self._began = 0.0
        self.losses = 0

    # ------------------------------------------------------------------ reading
    def poll(self, limit: int, timeout: float) -> Sequence[Record]:
        """Return up to `limit` records: the first may take `timeout` seconds, and no other is waited for.

        Raises:
            TransientError: Kafka or what on_assign asks is away.
            FencedError: The group takes this member no more.
        """
        self._place()
        self._give_way()
        consumer = self._consumer()
        if self._held:
            held, self._held = self._held, []
            return held
        found = consumer.consume(1, timeout)
        if found and limit > 1:
            found += consumer.consume(limit - 1, 0)
        readable = self._assigned - self._unplaced
        records = [one for one in map(self._record, found) if one is not None]
        if readable != self._assigned or len(found) > 1:
            return [one for one in records if (one.topic, one.partition) in readable]
        return records

    def seek(self, positions: Mapping[Partition, int]) -> None:
        """Go on reading at these offsets; partitions that are no longer ours are left alone."""
        ours = {partition: offset for partition, offset in positions.items() if partition in self._assigned}
        if ours:
            self.close()
            self._wanted = ours

    def rewind(self) -> None:
        """Go on reading where the group's confirmed positions are."""
        self.close()

    def idle(self, seconds: float) -> None:
        """Wait as a member of the group without reading."""
        self._give_way()
        consumer = self._consumer()
        self._idle = True
        try:
            consumer.pause(_bare(self._assigned))
            left = seconds
            while left > 0:
                # Everything is paused: what may come is news of the group, and errors.
                self._consume_nothing(consumer, min(left, _TICK))
                left -= _TICK
        finally:
            self._idle = False
            consumer.resume(_bare(self._assigned - self._unplaced))

    def lag(self) -> Mapping[Partition, int]:
        """Return how many records are still to be read, as far as Kafka has told."""
        if self._open is None:
            return {}
        found = {}
        for position in self._open.position(_bare(self._assigned)):
            partition = (position.topic, position.partition)
            low, high = self._open.get_watermark_offsets(position, cached=True)
            read = max(position.offset, low, self._ends.get(partition, 0))
            found[partition] = max(0, high - read)
        return found

    def metadata(self) -> Any:
        """Return what a transaction needs to know of this member, so that an old one cannot confirm anything."""
        return self._consumer().consumer_group_metadata()

    def close(self) -> None:
        """Leave the group at once."""
        if self._open is not None:
            self._open.close()
            self._open = None
        self._assigned.clear()
        self._unplaced.clear()
        self._wanted = {}
        self._held = []

    # ------------------------------------------------------------------ the group
    def _consumer(self) -> Consumer:
        if self._open is None:
            self._wait_for_news()
            self._open = made(Consumer, self._config)
            self._open.subscribe(self._topics, on_assign=self._given, on_revoke=self._taken, on_lost=self._lost)
        return self._open

    def _give_way(self) -> None:
        """Make room for a new member where this one has waited too long for its partitions."""
        if self._open is not None and self._waits and time.monotonic() - self._began > JOINED_WITHIN:
            _log.warning("Kafka: its group has told this member nothing for %g s; a new one joins", JOINED_WITHIN)
            self.close()

    def _wait_for_news(self) -> None:
        self._waits, self._began = True, time.monotonic()

    def _given(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Begin with partitions; those whose beginning nobody can tell for now are left alone until `poll` can ask."""
        self._waits = False
        given = [(one.topic, one.partition) for one in partitions]
        starts = dict.fromkeys(given, _STORED)
        if self._on_assign is not None:
            try:
                starts = dict.fromkeys(given, _EARLIEST) | dict(self._on_assign(given))
            except TransientError as error:
                _log.warning("%s; the partitions that the group gave to us have to wait", error)
                self._unplaced.update(given)
        starts |= {one: self._wanted.pop(one) for one in given if one in self._wanted}
        consumer.incremental_assign(_at(starts))
        self._assigned.update(given)
        waiting = given if self._idle else [one for one in given if one in self._unplaced]
        if waiting:
            consumer.pause(_bare(waiting))

    def _taken(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        taken = [(one.topic, one.partition) for one in partitions]
        if self._on_revoke is not None:
            self._on_revoke(taken)
        self._assigned.difference_update(taken)
        self._unplaced.difference_update(taken)
        self._held = [one for one in self._held if (one.topic, one.partition) not in taken]
        for partition in taken:
            self._ends.pop(partition, None)
            self._wanted.pop(partition, None)
        consumer.incremental_unassign(partitions)
        # Whoever has lost some gets others, or hears that there are none.
        self._wait_for_news()

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.losses += 1
        self._taken(consumer, partitions)

    def _place(self) -> None:
        """Ask again where to begin, for partitions that wait for it."""
        if self._unplaced and self._on_assign is not None:
            self._on_assign(list(self._unplaced))
            self.close()

    # ------------------------------------------------------------------ records
    def _record(self, message: Message) -> Record | None:
        error = message.error()
        if error is not None:
            self._heed(error, message)
            return None
        return Record(
            cast("str", message.topic()),
            cast("int", message.partition()),
            cast("int", message.offset()),
            message.key(),
            message.value() or b"",
            cast("Sequence[tuple[str, bytes]]", message.headers() or ()),
        )

    def _heed(self, error: KafkaError, message: Message) -> None:
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own codes carry a leading underscore
            # The end lies behind the marks of transactions, which are no records to be read.
            self._ends[cast("str", message.topic()), cast("int", message.partition())] = cast("int", message.offset())
            return
        found = meaning(error)
        if isinstance(found, FencedError):
            raise found
        _log.warning("%s", found)

    def _consume_nothing(self, consumer: Consumer, seconds: float) -> None:
        found = [record for record in map(self._record, consumer.consume(1, seconds)) if record is not None]
        self._held += [one for one in found if (one.topic, one.partition) in self._assigned - self._unplaced]


def _bare(partitions: "Mapping[Partition, int] | Sequence[Partition] | set[Partition]") -> list[TopicPartition]:
    return [TopicPartition(topic, number) for topic, number in partitions]


def _at(starts: Mapping[Partition, int]) -> list[TopicPartition]:
    return [TopicPartition(topic, number, offset) for (topic, number), offset in starts.items()]
