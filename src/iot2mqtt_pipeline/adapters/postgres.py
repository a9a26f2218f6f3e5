"""Connections to PostgreSQL, and what its errors mean to a stage."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from iot2mqtt_pipeline.errors import PermanentError, PipelineError, TransientError
from iot2mqtt_sdk.errors import ConfigurationError

Connection = psycopg.Connection[tuple[Any, ...]]

SERVER = "database"
"""What a TransientError calls the server."""
OLDEST = 150_000
"""PostgreSQL 15: the first whose unique indexes can treat NULLs as equal."""

_LIVELY = {
    "connect_timeout": 5,
    "tcp_user_timeout": 15_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
"""A server that vanished without a word is noticed within about 25 s."""
_SESSION = {
    "TimeZone": "UTC",
    "lock_timeout": "10s",
    # What a frozen process has locked is free again after this.
    "idle_in_transaction_session_timeout": "30s",
    "client_min_messages": "warning",
}
_OF_THE_RECORD = ("22", "23", "54")
"""Classes of errors that a value causes: data exceptions, constraints, program limits."""
_OF_THE_SETUP = ("0A", "3D", "3F", "42")
"""Classes of errors that a person has to mend: unsupported, no such database or schema, no such table or no right."""
_READABLE = dict.fromkeys(("42P01", "42703"), "run `iot2mqtt-pipeline init-db`")
"""No such table, no such column: the second one of a database that an older release made."""


def connect(parameters: Mapping[str, str | int], *, name: str) -> Connection:
    """Connect, with autocommit.

    Args:
        parameters: As libpq names them.
        name: What the session is called in pg_stat_activity.

    Raises:
        TransientError: The server is away, or refuses.
        ConfigurationError: The server is too old.
    """
    options = " ".join(f"-c {key}={value}" for key, value in _SESSION.items())
    try:
        settings: dict[str, Any] = {**_LIVELY, **parameters, "application_name": name, "options": options}
        connection = psycopg.connect(make_conninfo(**settings), autocommit=True)
    except psycopg.Error as error:
        raise TransientError(f"{where(parameters)} is away: {_sentence(error)}", server=SERVER) from None
    if connection.info.server_version < OLDEST:
        version = connection.info.server_version // 10_000
        connection.close()
        raise ConfigurationError(f"{where(parameters)} is PostgreSQL {version}: 15 or newer is needed")
    return connection


def where(parameters: Mapping[str, str | int]) -> str:
    """Return how a database is called in messages."""
    return f"the database {parameters.get('dbname')} at {parameters.get('host')}:{parameters.get('port')}"


@contextmanager
def translated(parameters: Mapping[str, str | int]) -> Iterator[None]:
    """Raise what an error of the driver means.

    Raises:
        PermanentError: A value is at fault.
        TransientError: The server is away or busy.
        ConfigurationError: Something is missing in the database, or not permitted.
    """
    try:
        yield
    except psycopg.Error as error:
        raise _meaning(error, where(parameters)) from error


def _meaning(error: psycopg.Error, place: str) -> PipelineError | ConfigurationError:
    state = error.sqlstate or ""
    if state.startswith(_OF_THE_RECORD):
        return PermanentError("refused_by_database", _sentence(error))
    if state.startswith(_OF_THE_SETUP):
        advice = f": {_READABLE[state]}" if state in _READABLE else ""
        return ConfigurationError(f"{place}: {_sentence(error)}{advice}")
    return TransientError(f"{place}: {_sentence(error)}", server=SERVER)


def _sentence(error: psycopg.Error) -> str:
    text = error.diag.message_primary or str(error)
    return " ".join(text.split()) or type(error).__name__
