"""The sink when processes and servers die under it: every record is stored, and none twice."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from iot2mqtt_pipeline.servers.postgres import LocalPostgres
from tests.pipeline.postgres_server import TestDatabase
from tests.pipeline.sinks import Bench, measurement, records

ROOT = Path(__file__).parents[2]
COUNT = 4000
DEADLINE = 60.0


def sink_process(database: TestDatabase, base: float) -> "subprocess.Popen[str]":
    """Start a sink, and return when it begins to store."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.pipeline.programs.run_sink"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({"parameters": database.parameters, "base": base, "count": COUNT}))
    process.stdin.close()
    assert process.stdout.readline() == "begins\n"
    return process


def await_rows(database: TestDatabase, count: int) -> int:
    deadline = time.monotonic() + DEADLINE
    while (found := int(database.one("SELECT count(*) FROM iot_measurements"))) < count:
        assert time.monotonic() < deadline, f"{found} of {count} rows after {DEADLINE:g} s"
    return found


def test_a_sink_that_is_killed_in_mid_batch_loses_nothing_and_stores_nothing_twice(database: TestDatabase) -> None:
    base = round(time.time()) - 3600.0
    stored = 0
    for _ in range(2):
        process = sink_process(database, base)
        stored = await_rows(database, stored + random.randint(41, 400))
        process.kill()
        assert process.wait() == -signal.SIGKILL, "the sink was done before it was killed"
        assert process.stdout is not None
        process.stdout.close()
    last = sink_process(database, base)
    assert last.wait(DEADLINE) == 0
    assert last.stdout is not None
    last.stdout.close()
    assert database.one("SELECT count(*) FROM iot_measurements") == COUNT
    assert database.one("SELECT sum(next_offset) FROM iot_sink_offsets") == COUNT
    assert database.query("SELECT * FROM iot_sink_duplicates") == []


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_database_that_is_restarted_under_load_costs_nothing_but_time(own_postgres: LocalPostgres, how: str) -> None:
    restarted(own_postgres, how, times=1, count=COUNT)


@pytest.mark.soak
def test_a_database_that_is_restarted_again_and_again_costs_nothing_but_time(own_postgres: LocalPostgres) -> None:
    restarted(own_postgres, "kill", times=20, count=200_000)


def restarted(server: LocalPostgres, how: str, *, times: int, count: int) -> None:
    """Store records while the server is restarted, and see that each is there once."""
    database = TestDatabase(dict(server.connection()), "own")
    bench = Bench(database.parameters, records(measurement(number).encode() for number in range(count)), batch_size=20)
    runs = threading.Thread(target=bench.run, args=[DEADLINE * (times + 1)])
    runs.start()
    for turn in range(times):
        await_rows(database, count * turn // (times + 1) + 20)
        getattr(server, how)()
        assert runs.is_alive(), "the sink was done before the server was restarted"
        server.start()
    runs.join()
    assert bench.counts.of["database"] >= 1
    assert bench.counts.of["forwarded"] <= count
    assert bench.counts.of["duplicates"] == 0
    assert bench.letters.written == []
    assert database.one("SELECT count(*) FROM iot_measurements") == count


def test_a_start_without_a_database_waits_for_it(own_postgres: LocalPostgres, caplog: pytest.LogCaptureFixture) -> None:
    parameters = own_postgres.connection()
    own_postgres.stop()
    bench = Bench(parameters, records([measurement().encode()]))
    runs = threading.Thread(target=bench.run)
    runs.start()
    while bench.source.idled == 0:
        assert runs.is_alive()
    own_postgres.start()
    runs.join()
    assert "is away" in caplog.text
    assert bench.counts.of["forwarded"] == 1
