"""The time of day jumps while records flow: no stage may notice, but for the time of arrival that it writes down.

The stages run with a time of day of the test's own; the servers and the controllers keep the real one. libfaketime will
not do: Kafka's driver waits by a call that it does not know, and waits for ever.
"""

import json
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import KafkaError

from iot2mqtt_pipeline import letters
from iot2mqtt_pipeline.adapters.kafka_errors import meaning
from iot2mqtt_pipeline.cli import cli
from iot2mqtt_pipeline.errors import TransientError
from iot2mqtt_pipeline.servers.kafka import LocalKafka
from iot2mqtt_pipeline.servers.postgres import LocalPostgres
from tests.mosquitto import running as running_broker
from tests.pipeline.brokers import Broker, publish
from tests.pipeline.faults import STAGES, Plant, noted, running
from tests.pipeline.postgres_server import TestDatabase
from tests.pipeline.processes import PROGRAMS

HOUR, DAY = 3600, 86_400
DEVICE = "f2-e4fd45f654be"
TOPIC = f"cmnd/{DEVICE}/sensor-mode/J3/sensor-3"
TIMELESS = [(TOPIC, b'{"data": "0x12A"}')] * 50
"""Messages that tell no time of their own, all of one sensor and at once."""


class Clock:
    """The time of day of processes that have `env` in their environment."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            if os.environ.get("CI"):
                pytest.fail("there is no C compiler: install Debian's packages gcc and libc6-dev")
            pytest.skip("NOT TESTED with a clock that jumps: there is no C compiler")
        self._file = folder / "clock"
        self._file.write_bytes(bytes(8))
        library = folder / "clock.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(PROGRAMS / "clock.c")], check=True)
        self.env = {"LD_PRELOAD": str(library), "CLOCK_FILE": str(self._file)}

    def set(self, seconds: int) -> None:
        """Have it differ from the real one by so many seconds from now on."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", seconds))


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


@pytest.fixture
def plant(kafka: LocalKafka, own_postgres: LocalPostgres, clock: Clock, tmp_path: Path) -> Iterator[Plant]:
    with running_broker(Broker(tmp_path / "mosquitto")) as broker:
        plant = Plant(broker=broker, kafka=kafka, postgres=own_postgres, folder=tmp_path, env=clock.env)
        yield plant
        plant.kill_all()


def timeless(plant: Plant) -> list[int]:
    """Return how many hours the rows of messages without a time lie ahead of the real time."""
    query = (
        "SELECT round(extract(epoch FROM timestamp - now()) / 3600)::int FROM iot_measurements"
        " WHERE device_id = %s ORDER BY 1"
    )
    return [hours for (hours,) in plant.database.query(query, DEVICE)]


_STATISTICS = (
    "SELECT device_id, bucket, component_type, component_id, connector, measurement_count FROM iot_hourly_stats"
)
_RECKONED = (
    "SELECT device_id, date_trunc('hour', timestamp, 'UTC'), component_type, component_id, connector, count(*)"
    " FROM iot_measurements GROUP BY 1, 2, 3, 4, 5"
)


@pytest.mark.slow
@pytest.mark.soak
def test_a_clock_that_jumps_under_load_costs_neither_a_loss_nor_a_duplicate(
    plant: Plant, clock: Clock, pytestconfig: pytest.Config
) -> None:
    def jump(offset: int, count: int) -> None:
        # What waits for a server just then waits no longer than it would have.
        plant.broker.stop()
        plant.postgres.kill()
        clock.set(offset)
        plant.broker.start()
        plant.postgres.start()
        plant.until_more(100)
        publish(plant.broker.port, TIMELESS)
        plant.wait(lambda: len(timeless(plant)) >= count)

    with running(plant, rate=200) as load:
        plant.until_more(100)
        jump(-HOUR, len(TIMELESS))
        jump(DAY - HOUR, 2 * len(TIMELESS))
        load.stop()
        outcome = plant.outcome(load, fault="time of day an hour back, then a day forward", rounds=1)
        noted(pytestconfig.cache.mkdir("faults"), outcome)
    assert outcome.restarts == 0
    assert timeless(plant) == [-1] * len(TIMELESS) + [23] * len(TIMELESS)
    assert set(plant.database.query(_STATISTICS)) == set(plant.database.query(_RECKONED))


@pytest.mark.slow
def test_what_a_clock_that_was_days_behind_has_refused_is_stored_when_it_is_set_and_that_is_replayed(
    plant: Plant, clock: Clock
) -> None:
    clock.set(-3 * DAY)
    for stage in STAGES:
        plant.start(stage)
    plant.until_subscribed()
    publish(plant.broker.port, [(TOPIC, b'{"data": "0x12A", "timestamp": %.3f}' % time.time())])
    plant.wait(plant.letters)
    assert [letters.read(record).reason for record in plant.letters()] == ["bad_time"]
    clock.set(0)
    said = CliRunner().invoke(cli, ["dlq", "replay", "--reason", "bad_time"], env=plant._env)
    assert said.exit_code == 0, said.output
    plant.wait(lambda: plant.stored() == 1)
    plant.end()


@pytest.mark.parametrize("variant", ["timescale"], indirect=True)
def test_which_rows_are_late_for_the_statistics_is_not_for_the_clock_of_the_sink_to_say(
    database: TestDatabase, clock: Clock
) -> None:
    clock.set(-3 * DAY)
    given = json.dumps({"database": database.parameters, "moment": time.time() - 4 * DAY})
    words = [sys.executable, "-m", "tests.pipeline.programs.late_row", given]
    subprocess.run(words, env=dict(os.environ) | clock.env, cwd=PROGRAMS.parents[2], check=True)
    assert database.one("SELECT count(*) FROM iot_late_hours") == 1


@pytest.mark.parametrize("code", [KafkaError.INVALID_TIMESTAMP, KafkaError.INVALID_RECORD])
def test_a_kafka_that_refuses_the_time_of_records_is_waited_for(code: int) -> None:
    found = meaning(KafkaError(code))
    assert isinstance(found, TransientError)
    assert "LogAppendTime" in str(found)
