"""What the tables do with time: statistics, late rows, compression, retention; with and without TimescaleDB."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, cast

import psycopg
import pytest

from iot2mqtt_pipeline.adapters import timescale
from iot2mqtt_pipeline.adapters.postgres import Connection
from iot2mqtt_pipeline.adapters.timescale import TimescaleStore
from iot2mqtt_pipeline.patience import patiently
from iot2mqtt_pipeline.record import Measurement, rows
from tests.pipeline.postgres_server import TestDatabase
from tests.pipeline.sinks import TOPIC, measurement
from tests.waiting import wait_until

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def at(when: datetime, **changes: Any) -> Measurement:
    return measurement(timestamp=when.timestamp(), **changes)


def store(database: TestDatabase, *given: Measurement, retention_days: int | None = None) -> int:
    """Store measurements as the next of a topic, with upkeep before and after; return how many were there."""
    kept = TimescaleStore(parameters=database.parameters, retention_days=retention_days)
    # As a sink does: what runs in the background of TimescaleDB may be in the way of a change of its policies.
    patiently(kept.upkeep, lambda: False)
    begin = kept.offsets([(TOPIC, 0)]).get((TOPIC, 0), 0)
    duplicates = kept.write([row for one in given for row in rows(one)], {(TOPIC, 0): (begin, begin + len(given))})
    # While TimescaleDB renews statistics itself, ours have to wait.
    wait_until(lambda: kept.upkeep() or database.one("SELECT count(*) FROM iot_late_hours") == 0)  # type: ignore[func-returns-value]
    kept.close()
    return duplicates


def test_statistics_of_this_hour_are_there_at_once(database: TestDatabase) -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    store(database, *(at(hour + timedelta(minutes=number), value=float(number)) for number in range(4)))
    expected = (hour, "f2-e4fd45f654be", "sensor-mode", "sensor", "3", "celsius", 1.5, 0.0, 3.0, 4, "J3")
    assert database.query("SELECT * FROM iot_hourly_stats ORDER BY bucket DESC LIMIT 10") == [expected]


def test_late_rows_are_in_the_statistics_of_their_hours(database: TestDatabase) -> None:
    old = datetime.now(UTC).replace(minute=10) - 20 * DAY
    if database.variant == "timescale":
        # What is computed up to now is no longer looked at when statistics are asked for.
        database.query("CALL refresh_continuous_aggregate('iot_hourly_stats', NULL, now())")
    store(database, at(old, value=1.0), at(old + timedelta(hours=5), value=2.0))
    store(database, at(old + timedelta(minutes=1), value=3.0))
    found = database.query("SELECT avg_value, measurement_count FROM iot_hourly_stats ORDER BY bucket")
    assert found == [(2.0, 2), (2.0, 1)]
    assert database.one("SELECT count(*) FROM iot_late_hours") == 0


def test_rows_of_any_day_are_taken_and_known_again(database: TestDatabase) -> None:
    days = [datetime(1970, 1, 1, tzinfo=UTC), datetime(2023, 5, 26, 18, 34, tzinfo=UTC), datetime.now(UTC) + 400 * DAY]
    assert store(database, *map(at, days)) == 0
    assert store(database, *map(at, days)) == 3
    assert [one for (one,) in database.query("SELECT timestamp FROM iot_measurements ORDER BY 1")] == days


def test_rows_older_than_retention_go_and_others_stay(database: TestDatabase) -> None:
    now = datetime.now(UTC)
    store(database, at(now - 40 * DAY), at(now - 12 * DAY), at(now - DAY), at(now))
    store(database, at(now - timedelta(minutes=1)), retention_days=10)
    if database.variant == "timescale":
        run_job(database, "policy_retention")
    found = database.query("SELECT timestamp > now() - interval '10 days' FROM iot_measurements")
    assert found == [(True,)] * 3


def test_retention_that_is_no_longer_set_drops_nothing(database: TestDatabase) -> None:
    now = datetime.now(UTC)
    store(database, at(now), retention_days=3)
    store(database, at(now - 40 * DAY))
    if database.variant == "timescale":
        assert database.one(_JOBS, "policy_retention") == 0
    assert database.one("SELECT count(*) FROM iot_measurements") == 2


_JOBS = "SELECT count(*) FROM timescaledb_information.jobs WHERE proc_name = %s"


def run_job(database: TestDatabase, name: str) -> None:
    for (job,) in database.query("SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = %s", name):
        database.query("CALL run_job(%s)", job)


@pytest.mark.parametrize("variant", ["timescale"], indirect=True)
class TestTimescale:
    def test_the_policies_are_active(self, database: TestDatabase) -> None:
        for name in ("policy_compression", "policy_refresh_continuous_aggregate"):
            assert database.one(_JOBS + " AND scheduled", name) == 1
        kept = TimescaleStore(parameters=database.parameters, retention_days=30)
        kept.upkeep()
        kept.close()
        config = "SELECT config->>'drop_after' FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'"
        assert database.query(config) == [("30 days",)]

    def test_an_hour_that_gets_rows_while_it_is_computed_is_computed_again(self, database: TestDatabase) -> None:
        old = datetime.now(UTC).replace(minute=10) - 20 * DAY
        kept = TimescaleStore(parameters=database.parameters)
        kept.upkeep()
        kept.write(rows(at(old, value=1.0)), {(TOPIC, 0): (0, 1)})

        class Busy:
            """A connection on which a row comes in just after an hour has been computed."""

            def __init__(self, real: Any) -> None:
                self._real = real

            def __getattr__(self, name: str) -> Any:
                return getattr(self._real, name)

            def execute(self, query: str, *values: Any) -> Any:
                done = self._real.execute(query, *values)
                if query.startswith("CALL"):
                    other = TimescaleStore(parameters=database.parameters)
                    other._passed = kept._passed
                    other.write(rows(at(old + timedelta(seconds=1), value=3.0)), {(TOPIC, 0): (1, 2)})
                    other.close()
                return done

        assert kept._connection is not None
        kept._refresh(cast("Connection", Busy(kept._connection)))
        kept.upkeep()
        kept.close()
        assert database.query("SELECT avg_value FROM iot_hourly_stats") == [(2.0,)]

    def test_many_late_hours_keep_the_sink_from_storing_for_a_short_time_only(
        self, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = datetime.now(UTC) - 20 * DAY
        monkeypatch.setattr(timescale, "_REFRESH", 0.0)
        left = [3]

        def upkeep() -> bool:
            kept.upkeep()
            left.append(database.one("SELECT count(*) FROM iot_late_hours"))
            return left[-1] == 0

        with closing(TimescaleStore(parameters=database.parameters)) as kept:
            kept.upkeep()
            late = [row for hours in range(3) for row in rows(at(old + hours * HOUR, value=float(hours)))]
            kept.write(late, {(TOPIC, 0): (0, 3)})
            wait_until(upkeep)
        # An hour at a time, or none where TimescaleDB is at work on them itself.
        assert {before - after for before, after in pairwise(left)} <= {0, 1}
        assert database.query("SELECT avg_value FROM iot_hourly_stats ORDER BY 1") == [(0.0,), (1.0,), (2.0,)]

    def test_an_hour_that_timescaledb_is_at_work_on_itself_is_computed_later(self, database: TestDatabase) -> None:
        old = datetime.now(UTC) - 20 * DAY
        kept = TimescaleStore(parameters=database.parameters)
        kept.upkeep()
        kept.write(rows(at(old, value=1.0)), {(TOPIC, 0): (0, 1)})
        log = "SELECT FROM _timescaledb_catalog.continuous_aggs_materialization_invalidation_log FOR UPDATE"
        with psycopg.connect(**database.parameters) as busy:
            assert busy.execute(log).rowcount > 0
            kept.upkeep()
            assert database.one("SELECT count(*) FROM iot_late_hours") == 1
        wait_until(lambda: kept.upkeep() or database.one("SELECT count(*) FROM iot_late_hours") == 0)  # type: ignore[func-returns-value]
        kept.close()
        assert database.query("SELECT avg_value FROM iot_hourly_stats") == [(1.0,)]

    def test_late_rows_are_noted_also_where_upkeep_has_not_come_to_its_end(self, database: TestDatabase) -> None:
        with closing(TimescaleStore(parameters=database.parameters)) as kept:
            kept.write(rows(at(datetime.now(UTC) - 20 * DAY)), {(TOPIC, 0): (0, 1)})
        assert database.one("SELECT count(*) FROM iot_late_hours") == 1

    def test_statistics_outlive_the_rows_that_they_were_computed_from(self, database: TestDatabase) -> None:
        old = datetime.now(UTC) - 12 * DAY
        store(database, at(old))
        store(database, at(datetime.now(UTC)), retention_days=2)
        run_job(database, "policy_retention")
        run_job(database, "policy_refresh_continuous_aggregate")
        store(database, at(datetime.now(UTC)), retention_days=2)
        assert database.one("SELECT count(*) FROM iot_measurements WHERE timestamp < now() - interval '3 days'") == 0
        assert database.one("SELECT count(*) FROM iot_hourly_stats WHERE bucket < now() - interval '3 days'") == 1

    def test_late_and_repeated_rows_of_a_compressed_day_are_told_apart(self, database: TestDatabase) -> None:
        old = datetime.now(UTC) - 12 * DAY
        first = at(old, component_id=None)
        store(database, first)
        run_job(database, "policy_compression")
        compressed = "SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed"
        assert database.one(compressed + " AND hypertable_name = 'iot_measurements'") == 1
        assert store(database, first, at(old, component_id="4")) == 1
        assert database.one("SELECT count(*) FROM iot_measurements") == 2


@pytest.mark.parametrize("variant", ["postgres"], indirect=True)
class TestPartitions:
    def test_the_days_of_the_coming_week_have_partitions(self, database: TestDatabase) -> None:
        now = datetime.now(UTC)
        store(database, *(at(now + number * DAY) for number in range(-1, 8)))
        assert database.one("SELECT count(*) FROM iot_measurements_default") == 0
        assert database.one("SELECT count(*) FROM iot_measurements") == 9

    def test_rows_that_came_before_their_partition_move_into_it(self, database: TestDatabase) -> None:
        day = datetime.now(UTC).date() + timedelta(days=20)
        moment = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        store(database, at(moment), at(moment + 12 * timedelta(hours=1)))
        database.query("SELECT iot_create_partition(%s)", day)
        rows_there = "SELECT count(*) FROM iot_measurements WHERE tableoid = to_regclass(%s)"
        assert database.one(rows_there, f"iot_measurements_{day:%Y%m%d}") == 1
        assert store(database, at(moment)) == 1

    def test_dropping_old_rows_drops_partitions(self, database: TestDatabase) -> None:
        day = datetime.now(UTC).date() - timedelta(days=20)
        database.query("SELECT iot_create_partition(%s)", day)
        store(database, at(datetime.now(UTC) - 20 * DAY), retention_days=5)
        assert database.one("SELECT to_regclass(%s)", f"iot_measurements_{day:%Y%m%d}") is None
