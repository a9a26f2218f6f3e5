"""The processor against a real Kafka: exactly once, whatever ends it."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from iot2mqtt_pipeline import letters
from iot2mqtt_pipeline.adapters.kafka import KafkaSource
from iot2mqtt_pipeline.adapters.kafka_out import KafkaTransaction
from iot2mqtt_pipeline.errors import FencedError, TransientError
from iot2mqtt_pipeline.parameters import ParameterRow, ParameterTable
from iot2mqtt_pipeline.processor import Processor
from iot2mqtt_pipeline.record import encode_raw
from iot2mqtt_pipeline.servers.kafka import LocalKafka
from iot2mqtt_pipeline.stage import Outgoing, Record
from tests.pipeline.kafkas import Topics, incompressible, read_until
from tests.pipeline.processes import processor
from tests.waiting import DEADLINE, wait_until

DOOR = "cmnd/f2-{:012x}/access-control-mode/J1/door-sensors"


def raw(number: int, *, devices: int = 20) -> tuple[bytes, bytes]:
    """Return key and value of the raw record with this number, which its payload carries."""
    device = f"f2-{number % devices:012x}"
    topic = DOOR.format(number % devices)
    payload = b'{"number": %d}' % number
    return device.encode(), encode_raw(topic=topic, device_id=device, payload=payload, arrived=1_700_000_000.0)


def numbers(records: Sequence[Record]) -> list[int]:
    return [json.loads(record.value)["raw_data"]["number"] for record in records]


def in_order(records: Sequence[Record]) -> bool:
    seen: dict[bytes | None, int] = {}
    for record, number in zip(records, numbers(records), strict=True):
        if number <= seen.get(record.key, -1):
            return False
        seen[record.key] = number
    return True


@contextmanager
def running(
    topics: Topics, *, parameters: Callable[[], ParameterTable] = ParameterTable, name: str = "here"
) -> Iterator[Event]:
    """Run a processor in a thread, and yield an event that is set when it has lost partitions."""
    taken = Event()
    source = KafkaSource(
        client=topics.client | {"session.timeout.ms": "6000"},
        group=topics.group(),
        topics=[topics.raw],
        on_revoke=lambda _partitions: taken.set(),
    )
    transaction = KafkaTransaction(client=topics.client, name=f"{topics.group()}-{name}", source=source)
    stopping = Event()
    stage = Processor(
        source=source,
        transaction=transaction,
        parameters=parameters,
        unknown="pass",
        raw_topic=topics.raw,
        decoded_topic=topics.decoded,
    )
    thread = Thread(target=stage.run, args=(stopping.is_set,))
    thread.start()
    try:
        yield taken
    finally:
        stopping.set()
        thread.join(DEADLINE)
        assert not thread.is_alive(), "the processor does not stop"


def test_a_processor_that_is_killed_loses_nothing_and_writes_nothing_twice(topics: Topics, tmp_path: Path) -> None:
    count = 6000
    topics.write(topics.raw, map(raw, range(count)))
    killed = processor(topics, tmp_path / "log", batch=100)
    read_until(topics.client, topics.decoded, lambda found: len(found) >= count / 20)
    killed.kill()
    second = processor(topics, tmp_path / "log")
    # Only the second can carry this one, however far the first had come.
    topics.write(topics.raw, [raw(count)])
    found = topics.read(topics.decoded, count + 1)
    assert second.terminate() == 0, (tmp_path / "log").read_text()
    assert Counter(numbers(found)) == Counter(range(count + 1))
    assert in_order(found)


def test_a_poison_record_costs_itself_alone_and_keeps_its_bytes(topics: Topics) -> None:
    poison = [b"\xff\xfe no JSON", b"{}", b"[1, 2]", b""]
    good = [raw(number) for number in range(10)]
    topics.write(topics.raw, good[:5] + [(b"box", value) for value in poison] + good[5:])
    with running(topics):
        found = topics.read(topics.decoded, len(good))
        dead = topics.read(f"{topics.raw}.dlq", len(poison))
    assert sorted(numbers(found)) == list(range(10))
    assert sorted(record.value for record in dead) == sorted(poison)
    written = [letters.read(record) for record in dead]
    assert {(one.topic, one.stage, one.key) for one in written} == {(topics.raw, "processor", b"box")}
    assert all(one.offset >= 0 and one.partition >= 0 and one.error for one in written)


MOVING = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}
"""What a group answers while its coordinator changes."""


def test_a_batch_that_holds_nothing_but_a_cleared_state_is_done_without_a_trace(topics: Topics) -> None:
    topic = "IoT2mqtt/v1/instances/hue/devices/light1/state"
    cleared = encode_raw(topic=topic, device_id="light1", payload=b"", arrived=1_700_000_000.0)
    topics.write(topics.raw, [(b"light1", cleared)])
    group = {"group.id": topics.group()}
    asking = Consumer(cast("dict[str, Any]", topics.client | group))
    partitions = [TopicPartition(topics.raw, number) for number in range(topics.partitions)]

    def confirmed() -> bool:
        try:
            return any(one.offset > 0 for one in asking.committed(partitions, DEADLINE))
        except KafkaException as error:
            if error.args[0].code() not in MOVING:
                raise
            return False

    with running(topics):
        wait_until(confirmed)
    asking.close()
    assert topics.read(topics.decoded, 0) == topics.read(f"{topics.raw}.dlq", 0) == []


def test_a_record_that_kafka_refuses_becomes_a_dead_letter_and_the_batch_goes_on(topics: Topics) -> None:
    # The decoded record carries more than the raw one did, and is the one that Kafka does not take.
    largest = 1_048_588
    topic = DOOR.format(1)
    frame = encode_raw(topic=topic, device_id="f2-000000000001", payload=b'{"x": ""}', arrived=1.0)
    payload = b'{"x": "' + incompressible(largest - len(frame) - 150) + b'"}'
    large = encode_raw(topic=topic, device_id="f2-000000000001", payload=payload, arrived=1.0)
    topics.write(topics.raw, [raw(0), (b"f2-000000000001", large), raw(1), raw(2)])
    with running(topics):
        dead = topics.read(f"{topics.raw}.dlq", 1)
        found = topics.read(topics.decoded, 3)
    assert [(record.value == large, letters.read(record).reason) for record in dead] == [(True, "too_large")]
    assert sorted(numbers(found)) == [0, 1, 2]


def test_new_parameters_hold_from_the_next_batch_on(topics: Topics) -> None:
    tables = [ParameterTable()]
    with running(topics, parameters=lambda: tables[-1]):
        topics.write(topics.raw, [raw(0)])
        first = topics.read(topics.decoded, 1)
        row = ParameterRow("f2-000000000001", "access-control-mode", "door-sensors", None, "raw_string", "", 1.0, {})
        tables.append(ParameterTable([row]))
        text = encode_raw(topic=DOOR.format(1), device_id="f2-000000000001", payload=b'{"data": "a"}', arrived=1.0)
        topics.write(topics.raw, [(b"f2-000000000001", text)])
        both = topics.read(topics.decoded, 2)
    assert json.loads(first[0].value)["decoder"] == "none"
    assert sorted(json.loads(record.value)["decoder"] for record in both) == ["none", "raw_string"]


def test_a_second_processor_shares_the_work_and_a_third_takes_over_from_a_dead_one(
    topics: Topics, tmp_path: Path
) -> None:
    count = 3000
    log = tmp_path / "log"
    stages = [processor(topics, log, name="a"), processor(topics, log, name="b")]
    topics.write(topics.raw, map(raw, range(1000)))
    topics.read(topics.decoded, 1000)
    with running(topics, name="c"):
        topics.write(topics.raw, map(raw, range(1000, 2000)))
        stages[0].kill()
        topics.write(topics.raw, map(raw, range(2000, count)))
        found = topics.read(topics.decoded, count)
    assert stages[1].terminate() == 0, log.read_text()
    assert Counter(numbers(found)) == Counter(range(count))
    assert in_order(found)


@pytest.mark.soak
def test_kafka_restarted_costs_neither_a_loss_nor_a_duplicate(own_kafka: LocalKafka) -> None:
    topics = Topics(own_kafka)
    with running(topics):
        topics.write(topics.raw, map(raw, range(500)))
        topics.read(topics.decoded, 500)
        own_kafka.kill()
        own_kafka.start()
        topics.write(topics.raw, map(raw, range(500, 1000)))
        found = topics.read(topics.decoded, 1000)
    assert Counter(numbers(found)) == Counter(range(1000))


@pytest.mark.soak
def test_kafka_gone_for_longer_than_the_session_lasts_costs_neither_a_loss_nor_a_duplicate(
    own_kafka: LocalKafka,
) -> None:
    # From then on the driver waits for a coordinator that is no more, and leaves a transaction without an end.
    topics = Topics(own_kafka)
    with running(topics) as taken:
        topics.write(topics.raw, map(raw, range(500)))
        topics.read(topics.decoded, 500)
        own_kafka.kill()
        assert taken.wait(DEADLINE)
        own_kafka.start()
        topics.write(topics.raw, map(raw, range(500, 1000)))
        found = topics.read(topics.decoded, 1000, seconds=2 * DEADLINE)
    assert Counter(numbers(found)) == Counter(range(1000))


def test_kafka_gone_in_the_middle_of_a_transaction_costs_neither_a_loss_nor_a_duplicate(
    own_kafka: LocalKafka, caplog: pytest.LogCaptureFixture
) -> None:
    # The transaction fails long after the group has given the member up, and before the member knows of it.
    topics, count = Topics(own_kafka), 60_000
    topics.write(topics.raw, map(raw, range(count)))
    with running(topics):
        read_until(topics.client, topics.decoded, lambda found: len(found) >= 1000)
        own_kafka.kill()
        wait_until(lambda: "trying again" in caplog.text)
        own_kafka.start()
        found = topics.read(topics.decoded, count, seconds=2 * DEADLINE)
    assert Counter(numbers(found)) == Counter(range(count))


def test_a_process_whose_name_another_has_taken_cannot_write_any_more(topics: Topics) -> None:
    source = KafkaSource(client=topics.client, group=topics.group(), topics=[topics.raw])
    old, new = (KafkaTransaction(client=topics.client, name=topics.name, source=source) for _ in range(2))
    try:
        old.open()
        old.commit([Outgoing(topics.decoded, b"k", b"first")], {})
        new.open()
        with pytest.raises(FencedError):
            old.commit([Outgoing(topics.decoded, b"k", b"late")], {})
        new.commit([Outgoing(topics.decoded, b"k", b"second")], {})
        assert [one.value for one in topics.read(topics.decoded, 2)] == [b"first", b"second"]
    finally:
        source.close()


def test_partitions_whose_beginning_nobody_can_tell_yet_are_not_read(topics: Topics) -> None:
    asked: list[float] = []

    def starts(partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        asked.append(time.monotonic())
        if len(asked) < 3:
            raise TransientError("the database is away")
        return dict.fromkeys(partitions, 1)

    topics.write(topics.raw, [(b"same", b"%d" % number) for number in range(3)])
    source = KafkaSource(client=topics.client, group=topics.group(), topics=[topics.raw], on_assign=starts)
    found: list[Record] = []
    try:

        def poll() -> bool:
            try:
                found.extend(source.poll(10, 0.2))
            except TransientError:
                source.idle(0.1)
            return len(found) >= 2

        wait_until(poll)
        assert [record.value for record in found] == [b"1", b"2"]
        wait_until(lambda: not source.poll(10, 0.1) and sum(source.lag().values()) == 0)
        source.seek({(found[0].topic, found[0].partition): 2})
        wait_until(lambda: [one.value for one in source.poll(10, 0.2)] == [b"2"])
    finally:
        source.close()
