"""The sink's store: iot_measurements in TimescaleDB, or in a PostgreSQL without it."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from psycopg import errors, sql

from iot2mqtt_pipeline.adapters.copying import COLUMNS, Encoder
from iot2mqtt_pipeline.adapters.postgres import SERVER, Connection, connect, translated, where
from iot2mqtt_pipeline.errors import PermanentError, TransientError
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
_MOVE = (
    "WITH moved AS (SELECT * FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::bigint[])"
    " AS given (topic, partition, expected, next_offset)) "
    "INSERT INTO iot_sink_offsets AS known (topic, partition, next_offset)"
    " SELECT topic, partition, next_offset FROM moved ORDER BY topic, partition"
    " ON CONFLICT (topic, partition) DO UPDATE SET next_offset = EXCLUDED.next_offset"
    " WHERE known.next_offset = (SELECT expected FROM moved"
    " WHERE moved.topic = known.topic AND moved.partition = known.partition)"
)
_LATE = (
    "INSERT INTO iot_late_hours AS known (bucket) SELECT * FROM unnest(%s::timestamptz[]) ORDER BY 1"
    " ON CONFLICT (bucket) DO UPDATE SET mark = known.mark + 1"
)
_HOURS_AT_A_TIME = 200
_HOUR = timedelta(hours=1)


class TimescaleStore:
    """Stores rows with the offsets that they came from. It connects when it is first used, and again after a failure.

    Args:
        parameters: How libpq connects.
        retention_days: Days after which measurements are dropped, or None for never.
    """

    def __init__(self, *, parameters: Mapping[str, str | int], retention_days: int | None = None) -> None:
        self._parameters = dict(parameters)
        self._retention_days = retention_days
        self._connection: Connection | None = None
        self._encoder = Encoder()
        self._repeating = False
        self._window: timedelta | None = None

    def offsets(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Return the next offset to read of each partition; those that were never read are left out.

        Raises:
            TransientError: The database is away.
        """
        wanted = set(partitions)
        with self._session() as connection:
            found = connection.execute(
                "SELECT topic, partition, next_offset FROM iot_sink_offsets WHERE topic = ANY(%s)",
                [sorted({topic for topic, _ in wanted})],
            ).fetchall()
        return {(topic, number): offset for topic, number, offset in found if (topic, number) in wanted}

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
        data = self._encoder.encode(rows)
        if not self._repeating:
            with self._session() as connection:
                try:
                    self._store(connection, data, rows, moves, staged=False)
                except errors.UniqueViolation:
                    self._repeating = True
                else:
                    return 0
        with self._session() as connection:
            duplicates = self._store(connection, data, rows, moves, staged=True)
        self._repeating = duplicates > 0
        return duplicates

    def upkeep(self) -> None:
        """Create and drop partitions, or set the policies; compute the hours again that got late rows.

        Raises:
            TransientError: The database is away or busy.
        """
        with self._session() as connection:
            connection.execute("SELECT iot_upkeep(%s)", [self._retention_days])
            found = connection.execute("SELECT refresh_window FROM iot_upkeep_state").fetchone()
            self._window = found[0] if found else None
            if self._window is not None:
                self._refresh(connection)

    def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # ------------------------------------------------------------------ one transaction
    def _store(
        self, connection: Connection, data: bytes, rows: Sequence[Row], moves: Mapping[Partition, Move], *, staged: bool
    ) -> int:
        duplicates: list[tuple[str, int]] = []
        with connection.transaction():
            self._move(connection, moves)
            if staged:
                connection.execute(_CREATE_STAGING)
            if rows:
                with connection.cursor().copy(_COPY.format(_STAGING if staged else _MEASUREMENTS, _COLUMNS)) as copy:
                    copy.write(data)
            if staged:
                duplicates = connection.execute(_FROM_STAGING).fetchall()
            if duplicates:
                connection.execute(_COUNT_DUPLICATES, list(map(list, zip(*duplicates, strict=True))))
            self._mark_late(connection, rows)
        return sum(count for _, count in duplicates)

    def _move(self, connection: Connection, moves: Mapping[Partition, Move]) -> None:
        columns = list(zip(*((*partition, *move) for partition, move in moves.items()), strict=True))
        moved = connection.execute(_MOVE, [list(column) for column in columns])
        if moved.rowcount != len(moves):
            raise TransientError(f"another sink has stored what this one has read of {_named(moves)}", server=SERVER)

    def _mark_late(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Note the hours that hourly statistics have passed, or soon will have."""
        if self._window is None or not rows:
            return
        passed = datetime.now(UTC) - self._window / 2
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
        for first, past in _spans([bucket for bucket, _ in marked]):
            connection.execute("CALL refresh_continuous_aggregate('iot_hourly_stats', %s, %s)", [first, past])
            done = [(bucket, mark) for bucket, mark in marked if first <= bucket < past]
            connection.cursor().executemany("DELETE FROM iot_late_hours WHERE bucket = %s AND mark = %s", done)

    # ------------------------------------------------------------------ the connection
    @contextmanager
    def _session(self) -> Iterator[Connection]:
        """Give the connection; one on which something else failed than a row is closed, and with it its locks."""
        if self._connection is None:
            self._connection = connect(self._parameters, name="iot2mqtt sink")
            _log.info("connected to %s", where(self._parameters))
        try:
            with translated(self._parameters):
                yield self._connection
        except PermanentError:
            raise
        except BaseException:
            self.close()
            raise


def _timestamp(row: Row) -> datetime:
    return row.timestamp


def _named(moves: Mapping[Partition, Move]) -> str:
    return ", ".join(f"{topic}/{number}" for topic, number in moves)


def _spans(hours: Sequence[datetime]) -> list[tuple[datetime, datetime]]:
    """Return the sorted hours as spans without gaps, each with its end."""
    spans: list[tuple[datetime, datetime]] = []
    for hour in hours:
        if spans and spans[-1][1] == hour:
            spans[-1] = (spans[-1][0], hour + _HOUR)
        else:
            spans.append((hour, hour + _HOUR))
    return spans
