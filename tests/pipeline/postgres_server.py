"""What tests against PostgreSQL share: a server with TimescaleDB and one without, databases of a test's own in them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from iot2mqtt_pipeline.adapters.migrate import migrate
from iot2mqtt_pipeline.servers.postgres import LocalPostgres, running, temporary_folder

VARIANTS = ("timescale", "postgres")
Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class TestDatabase:
    """A database of a test's own, with all tables."""

    __test__ = False
    parameters: dict[str, Any]
    variant: str

    def query(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(psycopg.connect(**self.parameters, autocommit=True)) as connection:
            cursor = connection.execute(text, values or None)
            return cursor.fetchall() if cursor.description else []

    def one(self, text: str, *values: Any) -> Any:
        return self.query(text, *values)[0][0]


Servers = Callable[[str], LocalPostgres]


@pytest.fixture(scope="session")
def postgres_servers() -> Iterator[Servers]:
    """Return a server that many tests share, by variant; none may stop it."""
    with ExitStack() as stack:
        made: dict[str, LocalPostgres] = {}

        def server(variant: str) -> LocalPostgres:
            if variant not in made:
                folder = stack.enter_context(temporary_folder())
                started = LocalPostgres(folder=folder / "data", timescale=variant == "timescale", durable=False)
                made[variant] = stack.enter_context(running(started))
            return made[variant]

        yield server


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest, postgres_servers: Servers) -> str:
    """Each of the two kinds of database; the one with TimescaleDB where this machine has it."""
    wanted = str(request.param)
    if wanted == "timescale":
        require_timescale(postgres_servers("timescale").connection())
    return wanted


@pytest.fixture
def empty_database(postgres_servers: Servers, variant: str) -> Iterator[TestDatabase]:
    """A database of a test's own without any tables."""
    parameters: dict[str, Any] = dict(postgres_servers(variant).connection())
    name = f"test_{uuid4().hex}"
    with closing(psycopg.connect(**parameters, autocommit=True)) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield TestDatabase(parameters | {"dbname": name}, variant)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database(empty_database: TestDatabase) -> TestDatabase:
    """A database of a test's own with all tables."""
    prepare(empty_database.parameters)
    return empty_database


@pytest.fixture
def own_postgres() -> Iterator[LocalPostgres]:
    """A server with all tables that a test may stop."""
    with temporary_folder() as folder, running(LocalPostgres(folder=folder / "data", durable=False)) as server:
        prepare(server.connection())
        yield server


def prepare(parameters: Parameters) -> None:
    """Make all tables."""
    migrate(parameters, part="parameters")
    migrate(parameters, part="measurements")


def require_timescale(parameters: Parameters) -> None:
    """Skip a test, loudly, where PostgreSQL has no TimescaleDB."""
    with closing(psycopg.connect(**parameters)) as connection:
        found = connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'").fetchone()
    if found is None:
        pytest.skip("NOT TESTED with TimescaleDB: this PostgreSQL has no such extension")
