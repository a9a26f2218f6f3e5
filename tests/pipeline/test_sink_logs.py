"""The sink and the logs in Kafka: a topic that was made anew begins anew, and one that is the same goes on."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from iot2mqtt_pipeline.adapters.kafka import KafkaSource
from iot2mqtt_pipeline.adapters.kafka_logs import KafkaLogs
from iot2mqtt_pipeline.adapters.kafka_topics import ensure_topics
from iot2mqtt_pipeline.adapters.positions import Log
from iot2mqtt_pipeline.adapters.timescale import TimescaleStore
from iot2mqtt_pipeline.errors import TransientError
from iot2mqtt_pipeline.record import rows
from iot2mqtt_pipeline.servers import embedded
from iot2mqtt_pipeline.sink import Sink
from iot2mqtt_pipeline.stage import Partition
from tests.pipeline.kafkas import Topics
from tests.pipeline.postgres_server import TestDatabase
from tests.pipeline.sinks import Counts, Letters, measurement
from tests.waiting import DEADLINE, wait_until

BASE = round(time.time()) - 3600.0
COUNT = "SELECT count(*) FROM iot_measurements"
OFFSETS = "SELECT next_offset FROM iot_sink_offsets ORDER BY next_offset"


@pytest.fixture
def one(kafka: Any) -> Topics:
    """Topics of a test's own with one partition each."""
    return Topics(kafka, partitions=1)


def store_until(database: TestDatabase, topics: Topics, enough: Callable[[], object]) -> Counts:
    """Run a sink on Kafka until there is enough, and return what it has counted."""
    counts = Counts()
    store = TimescaleStore(parameters=database.parameters, logs=KafkaLogs(client=topics.client))
    source = KafkaSource(client=topics.client, group=topics.group(), topics=[topics.decoded], on_assign=store.starts)
    sink = Sink(source=source, store=store, dead_letters=Letters(), batch_size=7, batch_timeout=0.05, figures=counts)
    deadline = time.monotonic() + DEADLINE

    def done() -> bool:
        assert time.monotonic() < deadline, f"{database.one(COUNT)} rows, and no more"
        return sink._flight is None and bool(enough())

    sink.run(done)
    return counts


def test_a_sink_for_which_there_is_no_partition_waits_for_one(database: TestDatabase, one: Topics) -> None:
    given: list[int] = []
    idle = threading.Event()

    def run() -> None:
        store = TimescaleStore(parameters=database.parameters, logs=KafkaLogs(client=one.client))

        def starts(partitions: Sequence[Partition]) -> Mapping[Partition, int]:
            found = store.starts(partitions)
            given.append(len(partitions))
            if not partitions:
                idle.set()
            return found

        source = KafkaSource(client=one.client, group=one.group(), topics=[one.decoded], on_assign=starts)
        sink = Sink(source=source, store=store, dead_letters=Letters(), batch_size=7, batch_timeout=0.05)
        sink.run(lambda: idle.is_set() and database.one(COUNT) == 5)

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(run) for _ in range(2)]
        assert idle.wait(DEADLINE)
        write(one, 0, 5)
        for sink in both:
            sink.result(DEADLINE)
    assert {0, 1} <= set(given)


def store(database: TestDatabase, topics: Topics, count: int) -> Counts:
    return store_until(database, topics, lambda: database.one(COUNT) == count)


def write(topics: Topics, first: int, count: int) -> None:
    moments = (BASE + first + number for number in range(count))
    topics.write(topics.decoded, [(b"key", measurement(timestamp=moment).encode()) for moment in moments])


def make_anew(topics: Topics) -> None:
    admin = AdminClient({"bootstrap.servers": topics.server.bootstrap})
    admin.delete_topics([topics.decoded])[topics.decoded].result(DEADLINE)
    wait_until(lambda: topics.decoded not in admin.list_topics(timeout=DEADLINE).topics)
    ensure_topics(topics.client, {topics.decoded: topics.partitions})
    wait_until(lambda: topics.decoded in admin.list_topics(timeout=DEADLINE).topics)


@pytest.mark.parametrize("count", [8, 30])
def test_a_topic_that_was_made_anew_is_stored_from_its_beginning(
    database: TestDatabase, one: Topics, count: int
) -> None:
    write(one, 0, 20)
    store(database, one, 20)
    make_anew(one)
    write(one, 100, count)
    counts = store(database, one, 20 + count)
    assert counts.of["duplicates"] == 0
    assert database.query(OFFSETS) == sorted([(20,), (count,)])


def test_rows_of_the_old_log_that_come_again_in_the_new_one_are_known(database: TestDatabase, one: Topics) -> None:
    write(one, 0, 20)
    store(database, one, 20)
    make_anew(one)
    write(one, 10, 20)
    assert store(database, one, 30).of["duplicates"] == 10


def test_a_topic_that_is_made_anew_under_a_sink_is_stored_from_its_beginning(
    database: TestDatabase, one: Topics
) -> None:
    write(one, 0, 20)
    made: list[bool] = []

    def enough() -> bool:
        if database.one(COUNT) == 20 and not made:
            make_anew(one)
            made.append(True)
            write(one, 100, 8)
        return bool(database.one(COUNT) == 28)

    store_until(database, one, enough)
    assert database.query(OFFSETS) == [(8,), (20,)]


def test_the_same_topic_goes_on_where_the_last_sink_stopped(database: TestDatabase, one: Topics) -> None:
    write(one, 0, 20)
    store(database, one, 20)
    write(one, 20, 5)
    assert store(database, one, 25).of == {"forwarded": 5}
    assert database.query(OFFSETS) == [(25,)]


def test_offsets_from_before_logs_had_names_serve_the_log_that_they_fit(database: TestDatabase, one: Topics) -> None:
    write(one, 0, 20)
    database.query("INSERT INTO iot_sink_offsets (topic, partition, next_offset) VALUES (%s, 0, 15)", one.decoded)
    assert store(database, one, 5).of == {"forwarded": 5}
    assert database.query("SELECT next_offset FROM iot_sink_offsets WHERE log <> ''") == [(20,)]
    assert database.query(OFFSETS) == [(20,)]


def test_offsets_from_before_logs_had_names_do_not_serve_a_log_that_ends_before_them(
    database: TestDatabase, one: Topics
) -> None:
    write(one, 0, 20)
    database.query("INSERT INTO iot_sink_offsets (topic, partition, next_offset) VALUES (%s, 0, 1000)", one.decoded)
    store(database, one, 20)
    assert database.query(OFFSETS) == [(20,)]


def test_a_log_that_has_lost_its_end_is_read_again(
    database: TestDatabase, one: Topics, caplog: pytest.LogCaptureFixture
) -> None:
    write(one, 0, 20)
    store(database, one, 20)
    database.query("UPDATE iot_sink_offsets SET next_offset = 25")
    write(one, 20, 2)
    assert store(database, one, 22).of["duplicates"] == 20
    assert f"{one.decoded}/0 ends at 22 in Kafka, but was stored up to 25" in caplog.text


def test_a_log_that_has_grown_since_it_was_asked_about_has_not_lost_its_end(
    database: TestDatabase, one: Topics
) -> None:
    """Another sink stored up to 20 after this one was told that the log ends at 10."""
    write(one, 0, 20)
    store(database, one, 20)
    kafka, told = KafkaLogs(client=one.client), [10]

    def logs(partitions: Sequence[Partition]) -> Mapping[Partition, Log]:
        found = kafka(partitions)
        return {place: log._replace(end=told.pop()) if told else log for place, log in found.items()}

    with closing(TimescaleStore(parameters=database.parameters, logs=logs)) as other:
        assert other.offsets([(one.decoded, 0)]) == {(one.decoded, 0): 20}


def test_what_is_being_stored_belongs_to_the_log_that_it_was_read_from(database: TestDatabase, one: Topics) -> None:
    partition = (one.decoded, 0)
    write(one, 0, 3)
    with closing(TimescaleStore(parameters=database.parameters, logs=KafkaLogs(client=one.client))) as kept:
        assert kept.offsets([partition]) == {}
        make_anew(one)
        assert kept.starts([partition]) == {}
        kept.write(rows(measurement(0)), {partition: (0, 3)})
        assert kept.offsets([partition]) == {}


def test_a_topic_that_is_not_there_is_waited_for(one: Topics) -> None:
    with pytest.raises(TransientError, match="Unknown topic"):
        KafkaLogs(client=one.client)([("there-is-none", 0)])


@contextmanager
def embedded_topic(count: int) -> Iterator[dict[str, str]]:
    with embedded.kafka(["decoded"]) as address:
        producer = Producer({"bootstrap.servers": address})
        for _ in range(count):
            producer.produce("decoded", b"", partition=0)
        assert producer.flush(DEADLINE) == 0
        yield {"bootstrap.servers": address}


def test_each_embedded_kafka_is_another_log() -> None:
    with embedded_topic(3) as first, embedded_topic(0) as second:
        logs = [KafkaLogs(client=client)([("decoded", 0)])["decoded", 0] for client in (first, first, second)]
    assert [log.end for log in logs] == [3, 3, 0]
    assert logs[0].name == logs[1].name != logs[2].name
