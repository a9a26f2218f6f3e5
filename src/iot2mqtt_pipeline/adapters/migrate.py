"""Applies the migrations to a database."""

import logging
from collections.abc import Mapping
from typing import cast

from psycopg import sql

from iot2mqtt_pipeline.adapters.postgres import Connection, connect, translated, where
from iot2mqtt_pipeline.migrations import RECORD, Applied, Part, Variant, migrations, pending

_log = logging.getLogger("iot2mqtt.pipeline.schema")

_LOCK = 0x49_6F_54_32
"""The advisory lock that one of several migrators holds."""


def migrate(parameters: Mapping[str, str | int], *, part: Part) -> list[str]:
    """Bring a database up to date. Run twice, or by two processes at once, it does the work once.

    Args:
        parameters: How libpq connects.
        part: Which tables to make.

    Returns:
        The names of the files that were applied.

    Raises:
        TransientError: The database is away; what was applied stays, and the rest is applied next time.
        ConfigurationError: The database cannot be migrated; the message says why.
    """
    connection = connect(parameters, name="iot2mqtt init-db")
    with connection, translated(parameters):
        variant = _variant(connection, parameters) if part == "measurements" else "postgres"
        done = []
        while (name := _next(connection, part, variant)) is not None:
            _log.info("%s: applied %s", where(parameters), name)
            done.append(name)
        return done


def _next(connection: Connection, part: Part, variant: Variant) -> str | None:
    """Apply the first migration that is missing, with its record, in one transaction."""
    with connection.transaction():
        _lock(connection)
        rows = connection.execute("SELECT number, name, checksum FROM iot_migrations WHERE part = %s", [part])
        waiting = pending(migrations(part, variant), [Applied(*row) for row in rows])
        if not waiting:
            return None
        first = waiting[0]
        connection.execute(sql.SQL(first.sql))
        connection.execute(
            "INSERT INTO iot_migrations (part, number, name, variant, checksum) VALUES (%s, %s, %s, %s, %s)",
            [part, first.number, first.name, variant, first.checksum],
        )
        return first.name


def _lock(connection: Connection) -> None:
    connection.execute("SET LOCAL lock_timeout = '60s'")
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    connection.execute(RECORD)


def _variant(connection: Connection, parameters: Mapping[str, str | int]) -> Variant:
    """Return what the database was made for, or what a new one is to be made for; create the extension for it."""
    with connection.transaction():
        _lock(connection)
        made = connection.execute("SELECT variant FROM iot_migrations WHERE part = 'measurements' LIMIT 1").fetchone()
        if made is not None:
            return cast("Variant", made[0])
        reason = _obstacle(connection)
    if reason is None:
        return "timescale"
    _log.warning("%s: %s, so iot_measurements gets native partitions and no compression", where(parameters), reason)
    return "postgres"


def _obstacle(connection: Connection) -> str | None:
    """Create TimescaleDB; return why it cannot be used, or None."""
    available = "SELECT installed_version FROM pg_available_extensions WHERE name = 'timescaledb'"
    found = connection.execute(available).fetchone()
    if found is None:
        return "TimescaleDB is not installed"
    if found[0] is None:
        # Creating it without preloading would end the session.
        loaded = connection.execute("SELECT current_setting('timescaledb.disable_load', true)").fetchone()
        if loaded is None or loaded[0] is None:
            return "TimescaleDB is installed but not in shared_preload_libraries"
        connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    licence = connection.execute("SELECT current_setting('timescaledb.license', true)").fetchone()
    if licence != ("timescale",):
        return "this TimescaleDB is the Apache edition, without compression and continuous aggregates"
    return None
