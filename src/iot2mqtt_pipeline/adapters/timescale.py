"""The sink's store: iot_measurements in TimescaleDB, or in a PostgreSQL without it."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from psycopg import errors, sql

from iot2mqtt_pipeline.adapters.copying import COLUMNS, Encoder
from iot2mqtt_pipeline.adapters.positions import Log, Logs, find, move, unnamed
from iot2mqtt_pipeline.adapters.postgres import Connection, connect, translated, where
from iot2mqtt_pipeline.errors import PermanentError
from iot2mqtt_pipeline.record import Row
from iot2mqtt_pipeline.stage import Move, Partition

_log = logging.getLogger("iot2mqtt.pipeline.store")

_COLUMNS = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
_COPY = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)")
_MEASUREMENTS = sql.Identifier("iot_measurements")
_STAGING = sql.Identifier("pg_temp", "iot_staging")
_CREATE_STAGING = sql.SQL(
    "CREATE TEMPORARY TABLE IF NOT EXISTS iot_staging (LIKE iot_measurements) ON COMMIT DELETE ROWS"
)
_FROM_STAGING = sql.SQL(
    "WITH stored AS ("
    " INSERT INTO iot_measurements ({columns}) SELECT {columns} FROM pg_temp.iot_staging"
    " ON CONFLICT DO NOTHING RETURNING device_id"
    "), given AS (SELECT device_id, count(*) AS rows FROM pg_temp.iot_staging GROUP BY device_id"
    "), kept AS (SELECT device_id, count(*) AS rows FROM stored GROUP BY device_id) "
    "SELECT device_id, given.rows - coalesce(kept.rows, 0) FROM given LEFT JOIN kept USING (device_id)"
    " WHERE given.rows > coalesce(kept.rows, 0)"
).format(columns=_COLUMNS)
_COUNT_DUPLICATES = (
    "INSERT INTO iot_sink_duplicates AS known (device_id, duplicates) SELECT * FROM unnest(%s::text[], %s::bigint[])"
    " ORDER BY 1 ON CONFLICT (device_id) DO UPDATE SET duplicates = known.duplicates + EXCLUDED.duplicates"
)
_LATE = (
    "INSERT INTO iot_late_hours AS known (bucket) SELECT * FROM unnest(%s::timestamptz[]) ORDER BY 1"
    " ON CONFLICT (bucket) DO UPDATE SET mark = known.mark + 1"
)
_LEFT_OUT = (
    "SELECT FROM _timescaledb_catalog.continuous_aggs_materialization_invalidation_log AS log"
    " JOIN _timescaledb_catalog.continuous_agg AS known ON known.mat_hypertable_id = log.materialization_id"
    " JOIN pg_namespace AS space ON space.nspname = known.user_view_schema"
    " JOIN pg_class AS view ON view.relnamespace = space.oid AND view.relname = known.user_view_name"
    " WHERE view.oid = 'iot_hourly_stats'::regclass"
    " AND log.lowest_modified_value < extract(epoch FROM %s::timestamptz) * 1000000"
    " AND log.greatest_modified_value >= extract(epoch FROM %s::timestamptz) * 1000000"
)
_UPKEEP_WAITS = "SET LOCAL lock_timeout = '2s'"
"""Whoever reads the measurements may do so for hours, and nobody can store rows while upkeep waits for its end."""
_ANY_END = 2**63 - 1
_HOURS_AT_A_TIME = 200
_REFRESH = 2.0
"""Seconds after which no further hour is computed anew at a time."""
_HOUR = timedelta(hours=1)


class TimescaleStore:
    """Stores rows with the offsets that they came from. It connects when it is first used, and again after a failure.

    Args:
        parameters: How libpq connects.
        retention_days: Days after which measurements are dropped, or None for never.
        logs: Tells which logs the partitions are; None where each is only one.
    """

    def __init__(
        self, *, parameters: Mapping[str, str | int], retention_days: int | None = None, logs: Logs | None = None
    ) -> None:
        self._parameters = dict(parameters)
        self._logs = logs or unnamed
        self._names: dict[Partition, str] = {}
        self._retention_days = retention_days
        self._connection: Connection | None = None
        self._encoder = Encoder()
        self._repeating = False
        self._passed: datetime | None = None
        self._turn = threading.Lock()

    def offsets(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Return the next offset to read of each partition, and store for the logs that they are now.

        Those that were never read are left out.

        Raises:
            TransientError: The database is away, or nobody tells which logs they are.
        """
        logs = self._logs(partitions)
        with self._session() as connection:
            found = find(connection, logs, self._logs)
        self._names |= {partition: log.name for partition, log in logs.items()}
        return found

    def starts(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Return the same for a group that gives partitions while a batch is stored, which is of the logs before.

        Raises:
            TransientError: The database is away, or nobody tells which logs they are.
        """
        if not partitions:  # as where there are more sinks than partitions
            return {}
        # Who asks a Kafka that is just coming back, in the midst of its group's work, may lose his place for good.
        known = self._names.keys() >= set(partitions)
        logs = {one: Log(self._names[one], _ANY_END) for one in partitions} if known else self._logs(partitions)
        with self._session() as connection:
            return find(connection, logs, self._logs)

    def write(self, rows: Sequence[Row], moves: Mapping[Partition, Move]) -> int:
        """Store rows and move the offsets, in one transaction.

        Rows go straight into the table; where some of them are there already, or twice in the batch, by way of a
        staging table, and so do the batches that follow until one has none of those.

        Returns:
            How many of the rows were there already.

        Raises:
            PermanentError: The database never takes one of the rows.
            TransientError: The database is away, or another sink has moved an offset.
            ConfigurationError: The tables are missing, or not ours to write.
        """
        if not self._repeating:
            with self._session() as connection:
                try:
                    self._store(connection, rows, moves, staged=False)
                except errors.UniqueViolation:
                    self._repeating = True
                else:
                    return 0
        with self._session() as connection:
            duplicates = self._store(connection, rows, moves, staged=True)
        self._repeating = duplicates > 0
        return duplicates

    def upkeep(self) -> None:
        """Create and drop partitions, or set the policies; compute the hours again that got late rows.

        Raises:
            TransientError: The database is away or busy.
        """
        with self._session() as connection:
            with connection.transaction():
                connection.execute(_UPKEEP_WAITS)
                connection.execute("SELECT iot_upkeep(%s)", [self._retention_days])
            self._passed = _passed(connection)
            if self._passed is not None:
                self._refresh(connection)

    def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # ------------------------------------------------------------------ one transaction
    def _store(
        self, connection: Connection, rows: Sequence[Row], moves: Mapping[Partition, Move], *, staged: bool
    ) -> int:
        duplicates: list[tuple[str, int]] = []
        with connection.transaction():
            move(connection, moves, self._names)
            if staged:
                connection.execute(_CREATE_STAGING)
            if rows:
                with connection.cursor().copy(_COPY.format(_STAGING if staged else _MEASUREMENTS, _COLUMNS)) as copy:
                    for piece in self._encoder.pieces(rows):
                        copy.write(piece)
            if staged:
                duplicates = connection.execute(_FROM_STAGING).fetchall()
            if duplicates:
                connection.execute(_COUNT_DUPLICATES, list(map(list, zip(*duplicates, strict=True))))
            self._mark_late(connection, rows)
        return sum(count for _, count in duplicates)

    def _mark_late(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Note the hours that hourly statistics have passed, or soon will have."""
        passed = self._passed
        if passed is None or not rows:
            return
        if min(rows, key=_timestamp).timestamp < passed:
            hours = {row.timestamp.replace(minute=0, second=0, microsecond=0) for row in rows if row.timestamp < passed}
            connection.execute(_LATE, [sorted(hours)])

    # ------------------------------------------------------------------ late rows
    def _refresh(self, connection: Connection) -> None:
        if self._retention_days is not None:
            # Of hours whose rows are dropped, the statistics are what is left.
            connection.execute(
                "DELETE FROM iot_late_hours WHERE bucket < now() - make_interval(days => %s)", [self._retention_days]
            )
        marked = connection.execute(
            "SELECT bucket, mark FROM iot_late_hours ORDER BY bucket LIMIT %s", [_HOURS_AT_A_TIME]
        ).fetchall()
        # Nothing is stored meanwhile: what takes longer than this goes on at the next upkeep.
        end = time.monotonic() + _REFRESH
        for hour, mark in marked:
            connection.execute("CALL refresh_continuous_aggregate('iot_hourly_stats', %s, %s)", [hour, hour + _HOUR])
            # TimescaleDB leaves out silently what it is at work on itself, though its own work may not cover it.
            if not connection.execute(_LEFT_OUT, [hour + _HOUR, hour]).rowcount:
                connection.execute("DELETE FROM iot_late_hours WHERE bucket = %s AND mark = %s", [hour, mark])
            if time.monotonic() > end:
                break

    # ------------------------------------------------------------------ the connection
    @contextmanager
    def _session(self) -> Iterator[Connection]:
        """Give the connection; one on which something else failed than a row is closed, and with it its locks.

        It is given to one at a time: while a batch is stored, the group may give partitions, and where they begin must
        neither be read inside of that transaction nor end it.
        """
        with self._turn:
            yield from self._given()

    def _given(self) -> Iterator[Connection]:
        connection, fresh = self._connection, self._connection is None
        if connection is None:
            connection = self._connection = connect(self._parameters, name="iot2mqtt sink")
            _log.info("connected to %s", where(self._parameters))
        try:
            with translated(self._parameters):
                if fresh:
                    # Rows are late also where upkeep has not come to its end yet.
                    self._passed = _passed(connection)
                yield connection
        except PermanentError:
            raise
        except BaseException:
            self.close()
            raise


def _passed(connection: Connection) -> datetime | None:
    """Return up to when statistics are no longer renewed on their own, or None where they always are."""
    # By the clock of the database, which renews the statistics: ours may show another time.
    found = connection.execute("SELECT now() - refresh_window / 2 FROM iot_upkeep_state").fetchone()
    return found[0] if found else None


def _timestamp(row: Row) -> datetime:
    return row.timestamp
