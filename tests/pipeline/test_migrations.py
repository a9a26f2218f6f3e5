"""Migrations: once, in order, by whoever comes first, and never other ones than were applied."""

import json
import logging
import subprocess
import sys
import threading
from contextlib import closing
from typing import get_args

import pytest

from iot2mqtt_pipeline.adapters import migrate as applying
from iot2mqtt_pipeline.adapters.migrate import migrate
from iot2mqtt_pipeline.adapters.timescale import TimescaleStore
from iot2mqtt_pipeline.errors import TransientError
from iot2mqtt_pipeline.migrations import Applied, Migration, Part, Variant, migrations, pending
from iot2mqtt_pipeline.servers.postgres import LocalPostgres
from iot2mqtt_sdk.errors import ConfigurationError
from tests.pipeline.postgres_server import TestDatabase

DOCUMENTED = (
    "SELECT * FROM device_parameters",
    "SELECT * FROM iot_measurements ORDER BY timestamp DESC LIMIT 10",
    "SELECT * FROM iot_hourly_stats ORDER BY bucket DESC LIMIT 10",
)


def test_the_documents_queries_work_as_they_stand(database: TestDatabase) -> None:
    assert [database.query(statement) for statement in DOCUMENTED] == [[], [], []]


def test_a_second_run_finds_nothing_to_do(database: TestDatabase) -> None:
    before = database.query("SELECT * FROM iot_migrations ORDER BY part, number")
    assert migrate(database.parameters, part="parameters") == []
    assert migrate(database.parameters, part="measurements") == []
    assert database.query("SELECT * FROM iot_migrations ORDER BY part, number") == before


def test_two_migrators_at_once_apply_each_file_once(empty_database: TestDatabase) -> None:
    program = (
        "import json, sys; from iot2mqtt_pipeline.adapters.migrate import migrate\n"
        "parameters = json.loads(sys.stdin.read()); print('up', flush=True)\n"
        "print(*migrate(parameters, part='measurements'))"
    )
    several = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs: list[list[str]] = [[], []]

    def run(number: int) -> None:
        out, _ = several[number].communicate(json.dumps(empty_database.parameters), timeout=60)
        outputs[number] = out.split()[1:]

    threads = [threading.Thread(target=run, args=[number]) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.returncode for one in several] == [0, 0]
    applied = [name for (name,) in empty_database.query("SELECT name FROM iot_migrations ORDER BY number")]
    assert sorted(outputs[0] + outputs[1]) == applied


@pytest.mark.parametrize("variant", ["postgres"], indirect=True)
def test_another_file_than_was_applied_is_refused(database: TestDatabase) -> None:
    database.query("UPDATE iot_migrations SET checksum = 'other' WHERE part = 'measurements' AND number = 1")
    with pytest.raises(ConfigurationError, match=r"another 001_sink\.sql than this release has"):
        migrate(database.parameters, part="measurements")


def test_a_database_of_a_newer_release_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="which this release does not know: install a newer one"):
        pending(migrations("parameters", "postgres"), [Applied(999, "999_future.sql", "")])


def test_what_is_missing_is_applied_in_order() -> None:
    wanted = migrations("measurements", "timescale")
    done = [Applied(one.number, one.name, one.checksum) for one in wanted[:2]]
    assert [one.number for one in pending(wanted, done)] == [3, 4, 5]
    assert [one.name for one in wanted if ".postgres." in one.name] == []


@pytest.mark.parametrize("part", ["parameters", "measurements"])
def test_both_kinds_of_databases_have_the_same_numbers(part: Part) -> None:
    timescale, postgres = ([one.number for one in migrations(part, kind)] for kind in get_args(Variant))
    assert timescale == postgres == list(range(1, len(postgres) + 1))


@pytest.mark.parametrize("variant", ["postgres"], indirect=True)
def test_a_database_without_timescaledb_is_told(empty_database: TestDatabase, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        migrate(empty_database.parameters, part="measurements")
    assert "so iot_measurements gets native partitions and no compression" in caplog.text


def test_a_database_that_is_away_is_no_configuration_error(own_postgres: LocalPostgres) -> None:
    parameters = own_postgres.connection()
    own_postgres.stop()
    with pytest.raises(TransientError, match=r"the database iot2mqtt at 127\.0\.0\.1:\d+ is away"):
        migrate(parameters, part="parameters")


def test_a_server_that_is_started_again_has_what_it_had(own_postgres: LocalPostgres) -> None:
    own_postgres.kill()
    own_postgres.start()
    assert migrate(own_postgres.connection(), part="measurements") == []


def test_offsets_of_an_older_release_are_kept(empty_database: TestDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    def older(part: Part, variant: Variant) -> list[Migration]:
        return migrations(part, variant)[:4]

    with monkeypatch.context() as patch:
        patch.setattr(applying, "migrations", older)
        migrate(empty_database.parameters, part="measurements")
    empty_database.query("INSERT INTO iot_sink_offsets VALUES ('decoded', 0, 7)")
    with closing(TimescaleStore(parameters=empty_database.parameters)) as store:
        with pytest.raises(ConfigurationError, match="run `iot2mqtt-pipeline init-db`"):
            store.offsets([("decoded", 0)])
        assert migrate(empty_database.parameters, part="measurements") == ["005_logs.sql"]
        assert store.offsets([("decoded", 0)]) == {("decoded", 0): 7}
