"""Each fault for as long and as often as it takes to trust the answer; left out unless asked for by -m soak."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from iot2mqtt_pipeline.servers.kafka import running as running_kafka
from iot2mqtt_pipeline.servers.postgres import LocalPostgres, temporary_folder
from iot2mqtt_pipeline.servers.postgres import running as running_postgres
from tests.mosquitto import running as running_broker
from tests.pipeline.brokers import Broker
from tests.pipeline.conftest import local_kafka
from tests.pipeline.faults import STAGES, Plant, noted, running
from tests.pipeline.postgres_server import prepare

pytestmark = pytest.mark.soak

ROUNDS = 20
OUTAGES = {"a minute": 60.0, "ten minutes": 600.0}
"""Seconds that a server is away."""
FROZEN = 20.0
"""Seconds for which a process is frozen: longer than its session in the group, and than its transaction, lasts."""
RATE = 200.0
_MEGABYTE = 2**20


@contextmanager
def plants(folder: Path, *, brokers: int = 1, timescale: bool = True, disk: Path | None = None) -> Iterator[Plant]:
    """Run servers of a fault's own."""
    with ExitStack() as stack:
        broker = stack.enter_context(running_broker(Broker(folder / "mosquitto")))
        cluster = local_kafka(folder / "kafka", brokers=brokers, heap=512 if brokers == 1 else 320)
        kafka = stack.enter_context(running_kafka(cluster))
        place = disk or stack.enter_context(temporary_folder())
        server = LocalPostgres(folder=place / "data", timescale=timescale, durable=disk is not None)
        postgres = stack.enter_context(running_postgres(server))
        prepare(postgres.connection())
        yield Plant(broker=broker, kafka=kafka, postgres=postgres, folder=folder)


@pytest.fixture
def outcomes(pytestconfig: pytest.Config) -> Path:
    return pytestconfig.cache.mkdir("faults")


def pause(seconds: float) -> None:
    """Let time pass: an outage is as long as it is."""
    threading.Event().wait(seconds)


def killed(stage: str) -> Callable[[Plant], str]:
    def fault(plant: Plant) -> str:
        for _ in range(ROUNDS):
            plant.kill(stage)
            plant.start(stage)
            plant.until_more(50)
        return ""

    return fault


def broker_restarted(plant: Plant) -> str:
    for _ in range(ROUNDS):
        plant.broker.stop()
        plant.broker.start()
        plant.until_more(50)
    return ""


def kafka_restarted(plant: Plant) -> str:
    for number in range(5):
        (plant.kafka.kill if number % 2 else plant.kafka.stop)()
        plant.kafka.start()
        plant.until_more(50)
    return ""


def database_restarted(plant: Plant) -> str:
    for number in range(ROUNDS):
        (plant.postgres.kill if number % 2 else plant.postgres.stop)()
        plant.postgres.start()
        plant.until_more(50)
    return ""


def kafka_away(seconds: float) -> Callable[[Plant], str]:
    def fault(plant: Plant) -> str:
        plant.kafka.kill()
        pause(5)
        before = plant.memory("bridge")
        most = most_memory(plant, "bridge", seconds)
        plant.kafka.start()
        assert most < before + 20, f"the bridge grew from {before:.0f} to {most:.0f} MiB"
        return f"bridge {before:.0f} MiB after 5 s, at most {most:.0f} MiB in {seconds:.0f} s"

    return fault


def database_away(seconds: float) -> Callable[[Plant], str]:
    def fault(plant: Plant) -> str:
        plant.postgres.kill()
        before = plant.memory("sink")
        most = most_memory(plant, "sink", seconds)
        plant.postgres.start()
        assert most < before + 60, f"the sink grew from {before:.0f} to {most:.0f} MiB"
        return f"sink {before:.0f} MiB before, at most {most:.0f} MiB in {seconds:.0f} s"

    return fault


def most_memory(plant: Plant, stage: str, seconds: float) -> float:
    """Let time pass, and return the most MiB that a stage has had meanwhile."""
    most, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        pause(1)
        most = max(most, plant.memory(stage))
    return most


def one_consumer_slow(plant: Plant) -> str:
    for stage in ("processor", "sink"):
        plant.start(stage, f"{stage}-2")
        plant.until_more(200)
        plant.freeze(stage)
        pause(FROZEN)
        plant.thaw(stage)
        plant.until_more(200)
    return ""


def redelivered(plant: Plant) -> str:
    """Have the broker send again what Kafka has not confirmed: it is away while the broker restarts."""
    for _ in range(3):
        plant.kafka.kill()
        pause(5)
        plant.broker.stop()
        plant.broker.start()
        plant.kafka.start()
        plant.until_more(200)
    return ""


def one_of_three(plant: Plant) -> str:
    for number in (1, 2, 3):
        plant.kafka.kill(number=number)
        plant.until_more(500)
        plant.kafka.start()
        plant.until_more(200)
    return ""


ONE_KAFKA: dict[str, tuple[int, Callable[[Plant], str]]] = {
    **{f"{stage} killed": (ROUNDS, killed(stage)) for stage in STAGES},
    "MQTT broker restarted": (ROUNDS, broker_restarted),
    "Kafka restarted": (5, kafka_restarted),
    "database restarted": (ROUNDS, database_restarted),
    **{f"Kafka away for {name}": (1, kafka_away(seconds)) for name, seconds in OUTAGES.items()},
    **{f"database away for {name}": (1, database_away(seconds)) for name, seconds in OUTAGES.items()},
    "processor and sink frozen for 20 s, another takes over": (1, one_consumer_slow),
    "MQTT packets redelivered": (3, redelivered),
}


def carried_out(plant: Plant, name: str, rounds: int, fault: Callable[[Plant], str], outcomes: Path) -> None:
    with running(plant, rate=RATE) as load:
        plant.until_more(200)
        note = fault(plant)
        load.stop()
        noted(outcomes, plant.outcome(load, fault=name, rounds=rounds, note=note))


@pytest.mark.parametrize("name", ONE_KAFKA)
def test_a_fault_costs_neither_a_loss_nor_a_duplicate(name: str, tmp_path: Path, outcomes: Path) -> None:
    rounds, fault = ONE_KAFKA[name]
    with plants(tmp_path) as plant:
        carried_out(plant, name, rounds, fault, outcomes)


def test_one_of_three_kafkas_killed_costs_nothing(tmp_path: Path, outcomes: Path) -> None:
    with plants(tmp_path, brokers=3) as plant:
        carried_out(plant, "one of three Kafkas killed", 3, one_of_three, outcomes)


def test_the_database_without_timescale_restarted_costs_nothing_either(tmp_path: Path, outcomes: Path) -> None:
    with plants(tmp_path, timescale=False) as plant:
        carried_out(plant, "database restarted, no TimescaleDB", ROUNDS, database_restarted, outcomes)


def test_a_disk_that_is_full_costs_nothing_but_time(tmp_path: Path, outcomes: Path) -> None:
    with small_disk(400 * _MEGABYTE) as disk, plants(tmp_path, disk=disk) as plant:

        def full(plant: Plant) -> str:
            ballast = disk / "ballast"
            fill(ballast, disk)
            wanted = "No space left"
            plant.wait(lambda: plant.tend() or wanted in plant.logs() or database_ended(plant))  # type: ignore[func-returns-value]
            ballast.unlink()
            ended = database_ended(plant)
            if ended:
                plant.postgres.kill()
                plant.postgres.start()
            plant.until_more(200)
            return "the database ended, and was started again" if ended else "the database refused, and went on"

        carried_out(plant, "disk of the database full", 1, full, outcomes)


def database_ended(plant: Plant) -> bool:
    process: Any = plant.postgres._process
    return process is None or process.poll() is not None


def fill(ballast: Path, disk: Path) -> None:
    """Leave no room on a disk."""
    with ballast.open("wb") as file:
        try:
            while True:
                file.write(bytes(_MEGABYTE))
                file.flush()
        except OSError:
            assert shutil.disk_usage(disk).free < _MEGABYTE


@contextmanager
def small_disk(size: int) -> Iterator[Path]:
    """Mount a small disk of its own, in memory; skip, loudly, where that is not permitted."""
    with temporary_folder() as folder:
        disk = folder / "disk"
        disk.mkdir()
        mounted = os.geteuid() == 0 and shutil.which("mount") is not None
        if mounted:
            mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(disk)]
            mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
        if not mounted:
            pytest.skip("NOT TESTED with a full disk: nobody here may mount a small one")
        try:
            yield disk
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)
