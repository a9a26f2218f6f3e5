"""Writing to Kafka: record by record for the bridge, in transactions for the processor."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from iot2mqtt_pipeline import letters
from iot2mqtt_pipeline.adapters.kafka import KafkaSource
from iot2mqtt_pipeline.adapters.kafka_client import made
from iot2mqtt_pipeline.adapters.kafka_errors import cause, meaning
from iot2mqtt_pipeline.adapters.kafka_topics import LARGEST_DEAD_LETTER
from iot2mqtt_pipeline.errors import FencedError, PermanentError, PipelineError, RefusedError, TransientError
from iot2mqtt_pipeline.stage import DeadLetter, Done, Outgoing, Partition

_log = logging.getLogger("iot2mqtt.pipeline.kafka")

TRANSACTION = 15.0
"""Seconds after which Kafka gives up the transaction of a process that is gone."""
_PATIENCE = 10.0
_MARGIN = 2.0
_COMMON = {
    "enable.idempotence": "true",
    "acks": "all",
    "compression.type": "lz4",
    "message.max.bytes": str(LARGEST_DEAD_LETTER),
    "partitioner": "murmur2_random",
}


class KafkaOutbox:
    """A producer that keeps what it was given for as long as Kafka is away.

    Args:
        client: The settings that every client of this Kafka needs, in librdkafka's names.
    """

    def __init__(self, *, client: Mapping[str, str]) -> None:
        lasting = {"message.timeout.ms": "0", "linger.ms": "5", "queue.buffering.max.messages": "1000000"}
        self._config = dict(client) | _COMMON | lasting
        self._open: Producer | None = None
        self._age = 0
        self._fenced: FencedError | None = None

    def send(self, record: Outgoing, done: Done) -> None:
        """Take a record; `done` is called by `serve` or `flush`.

        Raises:
            PermanentError: It is larger than any record may be.
            TransientError: Too many are waiting.
        """
        try:
            self._producer().produce(
                record.topic,
                record.value,
                record.key,
                on_delivery=partial(self._report, done, self._age),
                headers=cast("Any", list(record.headers)) if record.headers else None,
            )
        except BufferError:
            raise TransientError("Kafka does not keep up: too many records are waiting for it") from None
        except KafkaException as exception:
            raise meaning(cause(exception)) from None

    def serve(self, timeout: float) -> None:
        """Call `done` for what has been confirmed or refused.

        Raises:
            FencedError: The producer can never write again.
        """
        self._producer().poll(timeout)
        if self._fenced is not None:
            raise self._fenced

    def flush(self, timeout: float) -> int:
        """Wait for all that was sent, and return how many are still not confirmed.

        Raises:
            FencedError: The producer can never write again; nothing is known of what it was given.
        """
        left = self._producer().flush(timeout)
        if self._fenced is not None:
            raise self._fenced
        return left

    def discard(self) -> None:
        """Forget what is not confirmed."""
        self._age += 1
        self._producer().purge()

    def _producer(self) -> Producer:
        if self._open is None:
            self._open = made(Producer, self._config)
        return self._open

    def _report(self, done: Done, age: int, error: KafkaError | None, _message: Message | None) -> None:
        if age != self._age:
            return
        if error is None:
            done(None)
            return
        found = meaning(error)
        if isinstance(found, FencedError):
            self._fenced = found
        else:
            done(found)


class KafkaTransaction:
    """Records and the positions of what they were made from, written together or not at all.

    Args:
        client: The settings that every client of this Kafka needs, in librdkafka's names.
        name: The transactional id: the same for a process that takes another's place, different for all that run.
        source: Where the positions belong.
    """

    def __init__(self, *, client: Mapping[str, str], name: str, source: KafkaSource) -> None:
        own = {"transactional.id": name, "transaction.timeout.ms": str(int(TRANSACTION * 1000))}
        own |= {"queue.buffering.max.messages": "1000000"}
        self._config: dict[str, Any] = dict(client) | _COMMON | own | {"delivery.report.only.error": True}
        self._source = source
        self._ready: Producer | None = None
        self._opening: Producer | None = None
        self._losses = 0
        self._refused: dict[int, PermanentError] = {}

    def open(self) -> None:
        """Take the place of an earlier process of this name, or of our own producer from before an outage.

        The driver of that one would look for the group at a broker that it has forgotten: see `_end`.

        Raises:
            TransientError: Kafka is away.
            FencedError: Kafka refuses for good.
        """
        if self._ready is not None and self._losses == self._source.losses:
            return
        self._ready = None
        losses = self._source.losses
        # One that has asked for its turn and heard nothing asks again: a second one would take its place, or it that
        # of the second.
        if self._opening is None:
            self._opening = made(Producer, self._config)
        try:
            self._opening.init_transactions(_PATIENCE)
        except KafkaException as exception:
            error = cause(exception)
            if not error.retriable():
                self._opening = None
            raise meaning(error) from None
        self._ready, self._opening, self._losses = self._opening, None, losses

    def commit(self, records: Sequence[Outgoing], positions: Mapping[Partition, int]) -> None:
        """Write records and say that everything before the positions is done.

        Raises:
            RefusedError: Kafka never takes one of the records; nothing was written.
            TransientError: It cannot be told what was written: open again, and rewind the source.
            FencedError: Another process has taken this one's name.
        """
        producer = self._ready
        if producer is None:
            raise TransientError("the transaction is not open")
        self._refused.clear()
        began = time.monotonic()
        try:
            producer.begin_transaction()
            self._produce(producer, records)
            self._end(producer, positions)
        except KafkaException as exception:
            self._give_up(producer, cause(exception), time.monotonic() - began)

    def close(self) -> None:
        """Let go of Kafka; nothing is under way between two commits."""
        self._ready = self._opening = None

    def _end(self, producer: Producer, positions: Mapping[Partition, int]) -> None:
        """Send the positions and commit, in bounded time whatever the driver does.

        The driver may wait for ever for the coordinator of a group that it knows from before an outage, whatever
        timeout it is given (librdkafka#5456, #5511). Such a producer is left alone: nothing of it is committed but
        what its successor of the same name finds committed, and gives up otherwise.
        """
        offsets = [TopicPartition(topic, number, offset) for (topic, number), offset in positions.items()]
        member = self._source.metadata()
        errors: list[Exception] = []

        def end() -> None:
            try:
                producer.send_offsets_to_transaction(offsets, member, _PATIENCE)
                producer.commit_transaction(_PATIENCE)
            except KafkaException as exception:
                errors.append(exception)

        worker = threading.Thread(target=end, name="transaction", daemon=True)
        worker.start()
        worker.join(2 * _PATIENCE + _MARGIN)
        if worker.is_alive():
            self._ready = None
            raise TransientError("Kafka: the transaction does not end; it is given up")
        if errors:
            raise errors[0]

    def _produce(self, producer: Producer, records: Sequence[Outgoing]) -> None:
        for index, record in enumerate(records):
            while True:
                try:
                    producer.produce(
                        record.topic,
                        record.value,
                        record.key,
                        on_delivery=partial(self._report, index),
                        headers=cast("Any", list(record.headers)) if record.headers else None,
                    )
                    break
                except BufferError:
                    producer.poll(1)
                except KafkaException as exception:
                    self._report(index, cause(exception), None)
                    raise
            if not index % 1000:
                producer.poll(0)

    def _report(self, index: int, error: KafkaError | None, _message: Message | None) -> None:
        found = None if error is None else meaning(error)
        if isinstance(found, PermanentError):
            self._refused[index] = found

    def _give_up(self, producer: Producer, error: KafkaError, seconds: float) -> None:
        """Abort, and raise what the failure means."""
        found = meaning(error)
        try:
            producer.abort_transaction(_PATIENCE)
        except KafkaException as exception:
            # What Kafka has of it is settled when the next producer of this name begins.
            self._ready = None
            _log.warning("the transaction could not be aborted: %s", cause(exception).str())
            if isinstance(found, FencedError) and seconds < TRANSACTION:
                raise found from None
            raise TransientError(f"Kafka: {error.str()}") from None
        if self._refused:
            index, refusal = min(self._refused.items())
            raise RefusedError(index, refusal.reason, refusal.message)
        raise TransientError(f"Kafka: {error.str()}")


class KafkaDeadLetters:
    """Dead letters written outside of transactions, each to the dead letters of the topic that it was read from.

    Args:
        client: The settings that every client of this Kafka needs, in librdkafka's names.
    """

    def __init__(self, *, client: Mapping[str, str]) -> None:
        self._outbox = KafkaOutbox(client=client)

    def write(self, dead: Sequence[DeadLetter]) -> None:
        """Write dead letters, and return when they are safe.

        Raises:
            TransientError: Some may not be safe.
            PermanentError: Kafka takes one of them not even without its bytes.
        """
        refused: list[DeadLetter] = []
        self._write(dead, refused, stub=False)
        if refused:
            self._write(refused, [], stub=True)

    def _write(self, dead: Sequence[DeadLetter], refused: list[DeadLetter], *, stub: bool) -> None:
        errors: list[PipelineError] = []

        def done(letter: DeadLetter, error: PipelineError | None) -> None:
            if isinstance(error, PermanentError) and not stub:
                refused.append(letter)
            elif error is not None:
                errors.append(error)

        for letter in dead:
            self._outbox.send(letters.outgoing(letter, letter.topic, stub=stub), partial(done, letter))
        left = self._outbox.flush(_PATIENCE)
        if left:
            self._outbox.discard()
            raise TransientError(f"Kafka has not confirmed {left} dead letters within {_PATIENCE:g} s")
        if errors:
            raise errors[0]
