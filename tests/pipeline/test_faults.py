"""Faults under load, everyday: each stage killed, each server restarted, and records that nobody can carry.

All parts are real; the controllers are simulated. `make soak` does each fault for longer: see test_faults_soak.py.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from iot2mqtt_pipeline import letters
from iot2mqtt_pipeline.servers.kafka import LocalKafka
from iot2mqtt_pipeline.servers.kafka import running as running_kafka
from iot2mqtt_pipeline.servers.postgres import LocalPostgres
from tests.pipeline import bad_records
from tests.pipeline.brokers import Broker, publish
from tests.pipeline.brokers import running as running_broker
from tests.pipeline.conftest import local_kafka
from tests.pipeline.faults import STAGES, Plant, noted, running


@pytest.fixture(scope="module")
def outcomes(pytestconfig: pytest.Config) -> Path:
    return pytestconfig.cache.mkdir("faults")


@pytest.fixture
def plant(tmp_path: Path, own_postgres: LocalPostgres) -> Iterator[Plant]:
    with ExitStack() as stack:
        broker = stack.enter_context(running_broker(Broker(tmp_path / "mosquitto")))
        kafka: LocalKafka = stack.enter_context(running_kafka(local_kafka(tmp_path / "kafka")))
        yield Plant(broker=broker, kafka=kafka, postgres=own_postgres, folder=tmp_path)


@pytest.mark.slow
def test_whatever_is_killed_or_restarted_under_load_costs_neither_a_loss_nor_a_duplicate(
    plant: Plant, outcomes: Path
) -> None:
    with running(plant, rate=200, malformed=0.0) as load:
        plant.until_more(200)
        for stage in STAGES:
            plant.kill(stage)
            plant.start(stage)
        plant.until_more(500)
        plant.broker.stop()
        plant.broker.start()
        plant.postgres.kill()
        plant.postgres.start()
        plant.until_more(500)
        plant.kafka.kill()
        plant.kafka.start()
        plant.until_more(500)
        load.stop()
        noted(outcomes, plant.outcome(load, fault="each stage and each server, one after the other", rounds=1))


@pytest.mark.slow
def test_each_record_that_nobody_can_carry_is_one_dead_letter_and_nothing_else(plant: Plant, outcomes: Path) -> None:
    with running(plant, rate=200, malformed=0.02) as load:
        bad_records.set_parameters(plant.database.parameters)
        plant.until_more(100)
        publish(plant.broker.port, bad_records.MESSAGES)
        plant.topics.write(plant.topics.raw, bad_records.RAW)
        plant.topics.write(plant.topics.decoded, bad_records.DECODED)
        plant.wait(lambda: len(plant.letters()) >= bad_records.COUNT)
        plant.until_more(300)
        load.stop()
        noted(outcomes, plant.outcome(load, fault=bad_records.NAME, rounds=1, bad=bad_records.COUNT))
    reasons = {letters.read(record).reason for record in plant.letters()}
    assert reasons >= bad_records.REASONS
