"""What the database has: rows and duplicates by device, the newest rows, the statistics of the last hours."""

from collections.abc import Mapping
from typing import Any

from iot2mqtt_pipeline.adapters.postgres import connect, translated

Cells = list[tuple[Any, ...]]

_STORED = "SELECT device_id, count(*) FROM iot_measurements GROUP BY device_id"
_DUPLICATES = "SELECT device_id, duplicates FROM iot_sink_duplicates"
_NEWEST = (
    "SELECT timestamp, device_id, component_type, component_id, value, value_text, unit FROM iot_measurements"
    " ORDER BY timestamp DESC LIMIT %s"
)
_HOURLY = (
    "SELECT bucket, device_id, component_type, component_id, unit, avg_value, min_value, max_value, measurement_count"
    " FROM iot_hourly_stats WHERE avg_value IS NOT NULL"
    " ORDER BY bucket DESC, connector_mode DESC, device_id, component_type, component_id LIMIT %s"
)


def stored(parameters: Mapping[str, str | int]) -> tuple[dict[str, int], dict[str, int]]:
    """Return rows and duplicates by device, as they are at one moment.

    Raises:
        TransientError: The database is away.
        ConfigurationError: The tables are missing.
    """
    with connect(parameters, name="iot2mqtt ledger") as connection, translated(parameters), connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        rows = connection.execute(_STORED).fetchall()
        duplicates = connection.execute(_DUPLICATES).fetchall()
    return dict(rows), dict(duplicates)


def newest(parameters: Mapping[str, str | int], count: int) -> Cells:
    """Return the newest rows, the newest first.

    Raises:
        TransientError: The database is away.
        ConfigurationError: The tables are missing.
    """
    return _query(parameters, _NEWEST, count)


def hourly(parameters: Mapping[str, str | int], count: int) -> Cells:
    """Return hourly statistics of numbers, the newest first.

    Raises:
        TransientError: The database is away.
        ConfigurationError: The tables are missing.
    """
    return _query(parameters, _HOURLY, count)


def _query(parameters: Mapping[str, str | int], text: str, count: int) -> Cells:
    with connect(parameters, name="iot2mqtt up") as connection, translated(parameters):
        return connection.execute(text, [count]).fetchall()
