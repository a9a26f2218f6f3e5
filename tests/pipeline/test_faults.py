"""Faults under load, everyday: each stage killed, each server restarted, and records that nobody can carry.

All parts are real; the controllers are simulated. `make soak` does each fault for longer: see test_faults_soak.py.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from iot2mqtt_pipeline import letters
from iot2mqtt_pipeline.servers.kafka import LocalKafka
from iot2mqtt_pipeline.servers.postgres import LocalPostgres
from tests.mosquitto import running as running_broker
from tests.pipeline import bad_records
from tests.pipeline.brokers import Broker, publish
from tests.pipeline.faults import STAGES, Plant, noted, running


@pytest.fixture(scope="module")
def outcomes(pytestconfig: pytest.Config) -> Path:
    return pytestconfig.cache.mkdir("faults")


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Broker]:
    with running_broker(Broker(tmp_path / "mosquitto")) as broker:
        yield broker


@pytest.mark.slow
def test_whatever_is_killed_or_restarted_under_load_costs_neither_a_loss_nor_a_duplicate(
    mosquitto: Broker, own_kafka: LocalKafka, own_postgres: LocalPostgres, tmp_path: Path, outcomes: Path
) -> None:
    plant = Plant(broker=mosquitto, kafka=own_kafka, postgres=own_postgres, folder=tmp_path)
    with running(plant, rate=200) as load:
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


@pytest.mark.soak
def test_each_record_that_nobody_can_carry_is_one_dead_letter_and_nothing_else(
    mosquitto: Broker, kafka: LocalKafka, own_postgres: LocalPostgres, tmp_path: Path, outcomes: Path
) -> None:
    plant = Plant(broker=mosquitto, kafka=kafka, postgres=own_postgres, folder=tmp_path)
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
