"""The sink on a real database: what is stored, exactly once, and what one bad record costs."""

import threading
import time
import tracemalloc
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta

import orjson
import psycopg
import pytest

from iot2mqtt_pipeline import sink
from iot2mqtt_pipeline.adapters.timescale import TimescaleStore
from iot2mqtt_pipeline.errors import TransientError
from iot2mqtt_pipeline.record import Measurement, Row, rows
from iot2mqtt_pipeline.stage import Partition
from tests.pipeline.postgres_server import TestDatabase
from tests.pipeline.sinks import TOPIC, Bench, measurement, records


def test_a_measurement_becomes_the_row_that_it_says(database: TestDatabase) -> None:
    given = measurement(value=-0.2, raw_data=b'{"data": "FF FE", "n": 1.50}')
    Bench(database.parameters, records([given.encode()])).run()
    (row,) = database.query("SELECT * FROM iot_measurements")
    assert row == (
        datetime.fromtimestamp(given.timestamp, UTC),
        "f2-e4fd45f654be",
        "sensor-mode",
        "J3",
        "sensor",
        "3",
        -0.2,
        None,
        "celsius",
        {"data": "FF FE", "n": 1.5},
    )


def test_booleans_are_numbers_and_texts_are_texts(database: TestDatabase) -> None:
    given = [measurement(1, value=True), measurement(2, value="Grüße\n\t"), measurement(3, value=None)]
    Bench(database.parameters, records(one.encode() for one in given)).run()
    found = database.query("SELECT value, value_text FROM iot_measurements ORDER BY timestamp")
    assert found == [(1.0, None), (None, "Grüße\n\t"), (None, None)]


def test_a_component_without_id_is_stored_and_known_again(database: TestDatabase) -> None:
    door = measurement(component_type="strike", component_id=None, value=True)
    bench = Bench(database.parameters, records([door.encode(), door.encode()])).run()
    assert database.query("SELECT component_id, value FROM iot_measurements") == [(None, 1.0)]
    assert bench.counts.of["duplicates"] == 1


def test_each_door_of_door_sensors_is_a_row(database: TestDatabase) -> None:
    doors = measurement(
        component_type="door-sensors", component_id=None, value={"door-sensor-1": False, "door-sensor-2": True}
    )
    Bench(database.parameters, records([doors.encode()])).run()
    found = database.query("SELECT component_id, value FROM iot_measurements ORDER BY 1")
    assert found == [("door-sensor-1", 0.0), ("door-sensor-2", 1.0)]


def test_the_same_component_on_two_plugs_is_two_rows(database: TestDatabase) -> None:
    given = [measurement(connector="J1", value=1.0), measurement(connector="J2", value=2.0)]
    Bench(database.parameters, records(one.encode() for one in given)).run()
    assert database.query("SELECT connector, value FROM iot_measurements ORDER BY 1") == [("J1", 1.0), ("J2", 2.0)]
    hourly = "SELECT connector, avg_value FROM iot_hourly_stats ORDER BY 1"
    assert database.query(hourly) == [("J1", 1.0), ("J2", 2.0)]


def test_what_comes_twice_is_one_row_and_counted_for_its_device(database: TestDatabase) -> None:
    values = [measurement(number).encode() for number in range(50)]
    held = records([*values, *values[:20], measurement(0, device_id="f2-000000000001").encode()], partitions=3)
    bench = Bench(database.parameters, held, batch_size=16).run()
    assert database.one("SELECT count(*) FROM iot_measurements") == 51
    assert bench.counts.of["duplicates"] == 20
    assert database.query("SELECT * FROM iot_sink_duplicates") == [("f2-e4fd45f654be", 20)]
    assert not bench.letters.written


def test_one_key_repeated_within_a_page_costs_nothing_but_the_repeat(database: TestDatabase) -> None:
    values = [measurement(number).encode() for number in range(5000)]
    bench = Bench(database.parameters, records([*values, values[7]]), batch_size=10_000).run()
    assert database.one("SELECT count(*) FROM iot_measurements") == 5000
    assert bench.counts.of["duplicates"] == 1


def test_one_bad_row_in_5000_costs_one_record_and_little_time(database: TestDatabase) -> None:
    values = [measurement(number).encode() for number in range(5000)]
    began = time.process_time()
    values[3210] = measurement(3210, unit="a text that no database stores: \0").encode()
    bench = Bench(database.parameters, records(values)).run()
    (letter,) = bench.letters.written
    assert (letter.topic, letter.partition, letter.offset, letter.value) == (TOPIC, 0, 3210, values[3210])
    assert (letter.stage, letter.reason) == ("sink", "refused_by_database")
    assert database.one("SELECT count(*) FROM iot_measurements") == 4999
    assert database.one("SELECT next_offset FROM iot_sink_offsets") == 5000
    assert bench.source.idled == 0
    assert time.process_time() - began < 10


def test_a_record_that_is_no_measurement_is_set_aside_before_its_offset_moves(database: TestDatabase) -> None:
    held = records([b"no json", measurement(1).encode(), b'{"timestamp": 1}'])
    bench = Bench(database.parameters, held)
    seen: list[int] = []

    class Watching:
        def write(self, letters: object) -> None:
            seen.append(database.one("SELECT count(*) FROM iot_sink_offsets"))
            bench.letters.write(letters)  # type: ignore[arg-type]

    bench.sink._dead_letters = Watching()
    bench.run()
    assert seen == [0]
    assert [(one.offset, one.reason) for one in bench.letters.written] == [(0, "bad_json"), (2, "bad_record")]
    assert database.one("SELECT count(*) FROM iot_measurements") == 1


def test_a_record_that_trips_the_sink_itself_is_one_dead_letter(
    database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trips(one: Measurement) -> list[Row]:
        if one.original_topic == "trips":
            raise RecursionError
        return rows(one)

    monkeypatch.setattr(sink, "rows", trips)
    given = [measurement(1), measurement(2, original_topic="trips"), measurement(3)]
    bench = Bench(database.parameters, records([one.encode() for one in given]))
    bench.run()
    assert [(one.offset, one.reason) for one in bench.letters.written] == [(1, "defect")]
    assert database.one("SELECT count(*) FROM iot_measurements") == 2


def test_a_mapping_whose_rows_repeat_too_much_is_one_dead_letter(database: TestDatabase) -> None:
    contacts = {f"door-sensor-{number}": True for number in range(2000)}
    given = [measurement(1), measurement(2, value=contacts, raw_data=orjson.dumps(contacts)), measurement(3)]
    bench = Bench(database.parameters, records([one.encode() for one in given])).run()
    assert [(one.offset, one.reason) for one in bench.letters.written] == [(1, "too_large")]
    assert database.one("SELECT count(*) FROM iot_measurements") == 2


def test_rows_that_repeat_much_are_stored_in_pieces(database: TestDatabase) -> None:
    contacts = {f"door-sensor-{number}": True for number in range(50)}
    one = measurement(value=contacts, raw_data=orjson.dumps("x" * 300_000))
    given = [row for number in range(2) for row in rows(one._replace(connector=f"J{number}"))]
    with closing(TimescaleStore(parameters=database.parameters)) as store:
        tracemalloc.start()
        try:
            assert store.write(given, {(TOPIC, 0): (0, 2)}) == 0
            assert store.write(given, {(TOPIC, 0): (2, 4)}) == 100
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 8 * 1024 * 1024, "of 30 MB that were sent"
    assert database.one("SELECT count(*) FROM iot_measurements WHERE length(raw_data #>> '{}') = 300000") == 100


def test_dead_letters_that_cannot_be_written_hold_the_offset_back(database: TestDatabase) -> None:
    bench = Bench(database.parameters, records([b"no json", measurement(1).encode()]))
    refusals = [TransientError("Kafka is away"), TransientError("Kafka is away")]

    class Away:
        def write(self, letters: object) -> None:
            if refusals:
                raise refusals.pop()
            bench.letters.write(letters)  # type: ignore[arg-type]

    bench.sink._dead_letters = Away()
    bench.run()
    assert len(bench.letters.written) == 1
    assert bench.source.idled >= 2
    assert (bench.counts.of["kafka"], bench.counts.of["database"]) == (2, 0), "the trouble has the name of its server"
    assert database.one("SELECT next_offset FROM iot_sink_offsets") == 2


def test_a_new_sink_goes_on_where_the_last_one_stopped(database: TestDatabase) -> None:
    values = [measurement(number).encode() for number in range(30)]
    Bench(database.parameters, records(values[:20], partitions=2)).run()
    bench = Bench(database.parameters, records(values, partitions=2)).run()
    assert database.one("SELECT count(*) FROM iot_measurements") == 30
    assert bench.counts.of == {"forwarded": 10}


def test_offsets_that_kafka_leaves_out_are_no_gap(database: TestDatabase) -> None:
    held = records(measurement(number).encode() for number in range(10))
    sparse = [one._replace(offset=one.offset * 3 + 2) for one in held]
    Bench(database.parameters, sparse[:5], batch_size=2).run()
    Bench(database.parameters, sparse, batch_size=2).run()
    assert database.one("SELECT count(*) FROM iot_measurements") == 10
    assert database.one("SELECT next_offset FROM iot_sink_offsets") == 30


def test_what_comes_again_within_a_batch_is_stored_and_counted_once(database: TestDatabase) -> None:
    """The group has taken the partition away and given it again, while the batch was being polled."""
    held = records([measurement(0).encode(), b"{", measurement(1).encode()])
    bench = Bench(database.parameters, held)
    polls = [held[:2], held]
    poll = bench.source.poll
    bench.source.poll = lambda limit, timeout: polls.pop(0) if polls else poll(limit, timeout)  # type: ignore[method-assign]
    bench.source.seek({(held[0].topic, held[0].partition): 3})
    bench.run()
    assert bench.counts.of == {"forwarded": 2}
    assert [letter.offset for letter in bench.letters.written] == [1]


def test_a_slow_former_owner_stores_nothing_after_the_new_one(database: TestDatabase) -> None:
    slow = TimescaleStore(parameters=database.parameters)
    quick = TimescaleStore(parameters=database.parameters)
    partition = (TOPIC, 0)
    slow.write(rows(measurement(0)), {partition: (0, 1)})
    quick.write(rows(measurement(1)), {partition: (1, 2)})
    with pytest.raises(TransientError, match="another sink has stored what this one has read of decoded_iot_data/0"):
        slow.write(rows(measurement(2)), {partition: (1, 2), (TOPIC, 1): (0, 1)})
    assert database.one("SELECT count(*) FROM iot_measurements") == 2
    assert slow.offsets([partition, (TOPIC, 1)]) == {partition: 2}
    slow.close()
    quick.close()


def test_a_group_that_gives_partitions_while_a_batch_is_stored_sees_nothing_of_it(
    database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = (TOPIC, 0)
    with closing(TimescaleStore(parameters=database.parameters)) as store:
        assert store.starts([partition]) == {}
        found: list[Mapping[Partition, int]] = []
        asks = threading.Thread(target=lambda: found.append(store.starts([partition])))

        def breaks(*_: object) -> None:
            asks.start()
            asks.join(0.5)
            raise TransientError("the connection broke before the commit")

        monkeypatch.setattr(store, "_mark_late", breaks)
        with pytest.raises(TransientError, match="broke before the commit"):
            store.write(rows(measurement()), {partition: (0, 1)})
        asks.join()
    assert found == [{}]


def test_two_sinks_with_the_same_partition_store_each_record_once(database: TestDatabase) -> None:
    held = records((measurement(number).encode() for number in range(40)), partitions=2)
    first, second = Bench(database.parameters, held, batch_size=7), Bench(database.parameters, held, batch_size=5)
    for _ in range(4):
        for bench in (first, second):
            bench.step()
    first.run()
    second.run()
    assert database.one("SELECT count(*) FROM iot_measurements") == 40
    assert first.counts.of["forwarded"] + second.counts.of["forwarded"] == 40
    assert first.counts.of["duplicates"] == second.counts.of["duplicates"] == 0


@pytest.mark.parametrize("variant", ["postgres"], indirect=True)
def test_somebody_who_reads_for_hours_keeps_no_row_from_being_stored(
    database: TestDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    day = f"iot_measurements_{datetime.now(UTC) + timedelta(days=7):%Y%m%d}"
    database.query(f"DROP TABLE {day}")
    values = [measurement(number).encode() for number in range(30)]
    with psycopg.connect(**database.parameters) as reader:
        reader.execute("SELECT count(*) FROM iot_measurements")
        bench = Bench(database.parameters, records(values), batch_size=10).run()
        assert database.one("SELECT count(*) FROM iot_measurements") == 30
    assert bench.counts.of["database"] == 1, "upkeep has failed once"
    assert bench.source.idled == 0
    assert "the tables could not be kept in order, which is tried again in 30 s" in caplog.text
    bench.sink._upkeep_at = 0.0
    bench.step()
    assert database.one("SELECT to_regclass(%s) IS NOT NULL", day)


def test_an_upkeep_that_a_row_is_in_the_way_of_keeps_none_from_being_stored(
    database: TestDatabase,
) -> None:
    database.query(
        "CREATE OR REPLACE FUNCTION iot_upkeep(retention integer) RETURNS void LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE unique_violation; END $$"
    )
    bench = Bench(database.parameters, records([measurement().encode()])).run()
    assert database.one("SELECT count(*) FROM iot_measurements") == 1
    assert bench.counts.of["database"] == 1
