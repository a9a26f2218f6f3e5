"""The seams of the pipeline: what a stage needs from the outside, and nothing about who provides it.

Stages import neither each other nor the adapters. Each is a loop over batches that `run` ends by a flag:
take a batch, do the work, hand it on, confirm. A stage raises PermanentError for one record, TransientError for a
server; what else it raises is a defect of ours and ends the process, which starts again where it had confirmed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from iot2mqtt_pipeline.errors import PipelineError
from iot2mqtt_pipeline.record import Row

Partition = tuple[str, int]
"""A Kafka topic and the number of one of its partitions."""

Move = tuple[int, int]
"""From which next offset to which: one that is stored is only moved from where it was believed to be."""


class Message(NamedTuple):
    """An MQTT message as the bridge receives it.

    Attributes:
        topic: As published.
        payload: The bytes, unchanged.
        qos: 0, 1 or 2.
        retain: Whether the broker sent it because it was retained.
        dup: Whether the broker says that it may have sent it before.
        arrived: Unix seconds of arrival.
        packet_id: What the broker waits for the acknowledgement of; 0 at QoS 0.
        connection: Which connection of ours it came by; packet ids mean nothing on another.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    arrived: float
    packet_id: int
    connection: int = 0


class Record(NamedTuple):
    """A Kafka record as the processor and the sink receive it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()


class Outgoing(NamedTuple):
    """A Kafka record to be written."""

    topic: str
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that cannot be carried, with all that is needed to look at it and to replay it.

    Attributes:
        topic: The Kafka topic that it was read from, or the MQTT topic where stage is `bridge`.
        partition: Its partition; -1 where stage is `bridge`.
        offset: Its offset; -1 where stage is `bridge`.
        key: Its key.
        value: Its original bytes.
        headers: Its original headers.
        stage: bridge, processor or sink.
        reason: The reason of the PermanentError.
        error: Its message.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes]]
    stage: str
    reason: str
    error: str


class Source(Protocol):
    """Where the processor and the sink read Kafka records: one member of a consumer group."""

    def poll(self, limit: int, timeout: float) -> Sequence[Record]:
        """Return up to `limit` records, in order per partition; none after `timeout` seconds without any.

        Partitions that the group gives or takes are announced by the callbacks of the constructor while this runs.

        Raises:
            TransientError: Kafka is away.
        """

    def seek(self, positions: Mapping[Partition, int]) -> None:
        """Go on reading each partition at an offset, so that what was not confirmed is read again."""

    def rewind(self) -> None:
        """Go on reading where the group's confirmed positions are."""

    def idle(self, seconds: float) -> None:
        """Wait as a member of the group without reading: for a server that is away, however long.

        What was polled and not confirmed is to be sought first; it may belong to another member afterwards.
        """

    def lag(self) -> Mapping[Partition, int]:
        """Return how many records are still to be read, for each partition that is assigned."""

    def close(self) -> None:
        """Leave the group at once, so that others take over without waiting for a timeout."""


class Transaction(Protocol):
    """Where the processor writes: records and the positions of what they came from, all or nothing."""

    def open(self) -> None:
        """Take the place of an earlier process of this name: what it has not finished is given up.

        Raises:
            TransientError: Kafka is away.
        """

    def commit(self, records: Sequence[Outgoing], positions: Mapping[Partition, int]) -> None:
        """Write records and say that everything before the positions is done.

        Raises:
            RefusedError: Kafka never takes one of the records; nothing was written, and the others may be tried again.
            TransientError: Open again and rewind the source: it cannot be told from here what was written.
            FencedError: Another process has taken this one's place.
        """

    def close(self) -> None:
        """Let go of Kafka."""


class Inbox(Protocol):
    """Where the bridge receives MQTT messages: one persistent session."""

    def receive(self, limit: int, timeout: float) -> Sequence[Message]:
        """Return up to `limit` messages in order of receipt; none after `timeout` seconds without any.

        While there is no connection this makes one, with pauses between attempts; whatever was received and not
        acknowledged before is received again then. With a limit of 0 it only keeps the connection alive.
        """

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Say that messages are safe, in the order of receipt; those of an old connection are ignored."""

    def renew(self) -> None:
        """Drop the connection, so that the broker sends again what is not acknowledged."""

    def close(self) -> None:
        """Disconnect; the session stays with the broker."""


class Outbox(Protocol):
    """Where the bridge writes: each record is confirmed on its own, and order is kept per key."""

    def send(self, record: Outgoing, done: "Done") -> None:
        """Take a record; `done` is called later, by `serve` or `flush`.

        Raises:
            PermanentError: Kafka never takes it.
            TransientError: There are too many waiting.
        """

    def serve(self, timeout: float) -> None:
        """Call `done` for what has been confirmed or refused; wait for the first of it up to `timeout` seconds.

        Raises:
            FencedError: The producer can never write again; a new process can.
        """

    def flush(self, timeout: float) -> int:
        """Wait for all that was sent, and return how many are still not confirmed."""

    def discard(self) -> None:
        """Forget what is not confirmed; `done` is called for it no more."""


class Store(Protocol):
    """Where the sink puts rows: rows and offsets in one transaction, so that each is stored exactly once."""

    def offsets(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Return the next offset to read of each partition, and store from now on for the logs that they are now.

        Those that were never read are left out: a partition that was made anew was not, whatever its offsets.

        Raises:
            TransientError: The database is away, or nobody tells which logs they are.
        """

    def write(self, rows: Sequence[Row], moves: Mapping[Partition, Move]) -> int:
        """Store rows and move the offsets of what they came from, all or nothing.

        Returns:
            How many of the rows were there already.

        Raises:
            PermanentError: The database never takes one of the rows.
            TransientError: The database is away, or another sink has moved an offset; whether something was written
                is to be seen from `offsets`.
        """

    def upkeep(self) -> None:
        """Do what the tables need from time to time; cheap where there is nothing to do.

        Raises:
            TransientError: The database is away or busy.
        """

    def close(self) -> None:
        """Disconnect."""


class DeadLetters(Protocol):
    """Where the sink sets records aside, outside of the transactions of its store."""

    def write(self, letters: Sequence[DeadLetter]) -> None:
        """Write dead letters, and return when they are safe.

        Raises:
            TransientError: Some may not be safe; to write them again does no harm but a second copy.
        """


class Figures(Protocol):
    """What a stage counts and measures; an adapter shows it to Prometheus."""

    def received(self, count: int) -> None:
        """Count records or messages that came in."""

    def forwarded(self, count: int) -> None:
        """Count records that are safe where they were to go."""

    def dead_letter(self, reason: str) -> None:
        """Count a record that went to the dead letters."""

    def batch(self, size: int, seconds: float) -> None:
        """Note a batch: its records, and how long it took to make them safe."""

    def duplicates(self, count: int) -> None:
        """Count rows that were stored already."""

    def trouble(self, what: str) -> None:
        """Count a transient failure, such as `kafka`, `database` or `mqtt`."""

    def connected(self) -> None:
        """Count a connection that was made, the first one too."""

    def lag(self, lag: Mapping[Partition, int]) -> None:
        """Note how many records are still to be read."""


class NoFigures:
    """Counts nothing."""

    def received(self, count: int) -> None:
        """Nothing."""

    def forwarded(self, count: int) -> None:
        """Nothing."""

    def dead_letter(self, reason: str) -> None:
        """Nothing."""

    def batch(self, size: int, seconds: float) -> None:
        """Nothing."""

    def duplicates(self, count: int) -> None:
        """Nothing."""

    def trouble(self, what: str) -> None:
        """Nothing."""

    def connected(self) -> None:
        """Nothing."""

    def lag(self, lag: Mapping[Partition, int]) -> None:
        """Nothing."""


Done = Callable[[PipelineError | None], None]
"""Told what has become of a record: None when it is safe, else a PermanentError or a TransientError."""

Stopped = Callable[[], bool]
"""Says whether a stage shall end after the batch at hand."""
