"""Device parameters in PostgreSQL: read, written, and followed as they change."""

import logging
import threading
from collections.abc import Iterable, Mapping
from typing import Self

from psycopg import sql
from psycopg.types.json import Jsonb

from iot2mqtt_pipeline.adapters.postgres import SERVER, Connection, connect, translated, where
from iot2mqtt_pipeline.errors import TransientError
from iot2mqtt_pipeline.parameters import ParameterRow, ParameterTable
from iot2mqtt_pipeline.patience import delay_after
from iot2mqtt_sdk.errors import ConfigurationError

_log = logging.getLogger("iot2mqtt.pipeline.parameters")

_CHANNEL = "device_parameters"
_TICK = 0.5
_SELECT = sql.SQL(
    "SELECT {owner}, connector_mode, component_type, component_id, encoding_type, units, scaling_factor, decode,"
    " version FROM {table} ORDER BY {owner}, connector_mode, component_type, component_id NULLS FIRST"
)
_OWN = _SELECT.format(owner=sql.Identifier("device_id"), table=sql.Identifier("device_parameters"))
_TEMPLATES = _SELECT.format(owner=sql.Identifier("template"), table=sql.Identifier("parameter_templates"))
_PUT = (
    "INSERT INTO device_parameters AS known (device_id, connector_mode, component_type, component_id, encoding_type,"
    " units, scaling_factor, decode) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
    " ON CONFLICT (device_id, connector_mode, component_type, component_id) DO UPDATE"
    " SET encoding_type = EXCLUDED.encoding_type, units = EXCLUDED.units,"
    " scaling_factor = EXCLUDED.scaling_factor, decode = EXCLUDED.decode"
    " WHERE (known.encoding_type, known.units, known.scaling_factor, known.decode) IS DISTINCT FROM"
    " (EXCLUDED.encoding_type, EXCLUDED.units, EXCLUDED.scaling_factor, EXCLUDED.decode)"
)


class LiveParameters:
    """The parameters as they are now, followed by a thread of its own between `with` and its end.

    While the database is away, the last ones serve; when it is back, they are read anew.

    Args:
        parameters: How libpq connects.
    """

    def __init__(self, *, parameters: Mapping[str, str | int]) -> None:
        self._parameters = dict(parameters)
        self._table: ParameterTable | None = None
        self._waiting_for = "device parameters have not been read yet"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="parameters", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def current(self) -> ParameterTable:
        """Return the parameters.

        Raises:
            TransientError: They have never been read since the start; the message says why.
        """
        if self._table is None:
            raise TransientError(self._waiting_for, server=SERVER)
        return self._table

    def _follow(self) -> None:
        failures = 0
        while not self._ended.is_set():
            try:
                with connect(self._parameters, name="iot2mqtt parameters") as connection, translated(self._parameters):
                    connection.execute(f"LISTEN {_CHANNEL}")
                    self._read(connection)
                    failures = 0
                    self._listen(connection)
            except (TransientError, ConfigurationError) as error:
                failures += 1
                self._wait(f"{error}", failures)
            except Exception as error:  # noqa: BLE001 - without this thread, old parameters would serve for ever
                failures += 1
                _log.error("a defect while device parameters were read", exc_info=True)
                self._wait(f"{type(error).__name__}: {error}", failures)

    def _wait(self, why: str, failures: int) -> None:
        self._waiting_for = f"device parameters cannot be read: {why}"
        delay = delay_after(failures)
        kept = "waiting for them" if self._table is None else "the last ones serve"
        _log.warning("%s; %s, trying again in %.1f s", self._waiting_for, kept, delay)
        self._ended.wait(delay)

    def _listen(self, connection: Connection) -> None:
        while not self._ended.is_set():
            if any(True for _ in connection.notifies(timeout=_TICK, stop_after=1)):
                self._read(connection)

    def _read(self, connection: Connection) -> None:
        self._table = load(connection)
        for fault in self._table.faults():
            _log.warning("%s; its measurements become dead letters", fault)
        _log.info("read the parameters of %s", where(self._parameters))


def load(connection: Connection) -> ParameterTable:
    """Read all parameters, as they are at one moment."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        own = connection.execute(_OWN).fetchall()
        templates = connection.execute(_TEMPLATES).fetchall()
        assignments = connection.execute("SELECT device_id, template FROM device_templates").fetchall()
    return ParameterTable(
        [ParameterRow(*row) for row in own],
        templates=[ParameterRow(*row) for row in templates],
        assignments=dict(assignments),
    )


def rows(parameters: Mapping[str, str | int], *, device_id: str | None = None) -> list[ParameterRow]:
    """Return the rows of device_parameters in order.

    Args:
        parameters: How libpq connects.
        device_id: Only of this device; of all where it is None.

    Raises:
        TransientError: The database is away.
        ConfigurationError: There is no such table.
    """
    with connect(parameters, name="iot2mqtt params") as connection, translated(parameters):
        found = [ParameterRow(*row) for row in connection.execute(_OWN)]
    return [row for row in found if device_id in (None, row.device_id)]


def put(parameters: Mapping[str, str | int], new: Iterable[ParameterRow]) -> int:
    """Add rows, or replace those of the same component, all or none; processors have them within a second.

    Returns:
        How many rows are new or changed.

    Raises:
        TransientError: The database is away.
        ConfigurationError: There is no such table, or it is not ours to write.
    """
    values = [(*row[:7], None if row.decode is None else Jsonb(row.decode)) for row in new]
    with connect(parameters, name="iot2mqtt params") as connection, translated(parameters), connection.transaction():
        cursor = connection.cursor()
        cursor.executemany(_PUT, values)
        return cursor.rowcount
