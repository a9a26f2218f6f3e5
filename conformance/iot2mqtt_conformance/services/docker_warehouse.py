"""Kafka and TimescaleDB in containers, by testcontainers."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, cast

from iot2mqtt_conformance.ports import free_port
from iot2mqtt_conformance.services import docker
from iot2mqtt_conformance.services.base import LAST_LINES, ServiceError
from iot2mqtt_conformance.services.warehouse import STARTED_WITHIN, Store, Warehouse

HOST = "127.0.0.1"
KAFKA = 9092
POSTGRES = 5432
NAME = "iot2mqtt"
"""The database and its user."""
ANSWER_WITHIN = 5.0
"""Seconds of one question whether a server serves."""
ANSWERS_EVERY = 0.2


class ContainerWarehouse(Warehouse):
    """Kafka in KRaft mode and TimescaleDB, each in a container on a port of 127.0.0.1."""

    def __init__(self) -> None:
        super().__init__("docker")
        self._containers: dict[str, Any] = {}
        self._last: dict[str, str] = {}
        self._threads: list[asyncio.Future[None]] = []

    async def _start(self) -> Store:
        kafka, database = free_port(), free_port()
        password = secrets.token_urlsafe()
        address = f"{HOST}:{kafka}"
        where = {"host": HOST, "port": database, "dbname": NAME, "user": NAME, "password": password}
        made = {
            "POSTGRES_USER": NAME,
            "POSTGRES_DB": NAME,
            "POSTGRES_PASSWORD": password,
            "TIMESCALEDB_TELEMETRY": "off",
        }
        await asyncio.gather(
            self._serve("kafka", KAFKA, kafka, _kafka_settings(address), lambda: _kafka_answers(address)),
            self._serve("timescaledb", POSTGRES, database, made, lambda: _database_answers(where)),
        )
        return Store(address, where, f"{docker.image('kafka')} and {docker.image('timescaledb')} in Docker")

    async def _serve(
        self, service: str, inside: int, port: int, settings: Mapping[str, str], answers: Callable[[], str | None]
    ) -> None:
        """Start a container and wait until it serves.

        Raises:
            ServiceError: It does not; with its last lines.
        """
        starting = asyncio.ensure_future(asyncio.to_thread(self._run, service, inside, port, settings))
        self._threads.append(starting)
        try:
            await asyncio.shield(starting)
        except docker.failures() as error:
            raise self._fault(service, docker.sentence(error)) from None
        loop, never = asyncio.get_running_loop(), asyncio.Event()
        limit = loop.time() + STARTED_WITHIN
        while (why := await asyncio.to_thread(answers)) is not None:
            if await asyncio.to_thread(docker.gone, self._containers[service]):
                raise self._fault(service, "it has ended")
            if loop.time() > limit:
                raise self._fault(service, f"it does not serve within {STARTED_WITHIN:.0f} s ({why})")
            with suppress(TimeoutError):
                await asyncio.wait_for(never.wait(), ANSWERS_EVERY)

    def _run(self, service: str, inside: int, port: int, settings: Mapping[str, str]) -> None:
        from testcontainers.core.container import DockerContainer

        made = DockerContainer(docker.image(service))
        for name, value in settings.items():
            made.with_env(name, value)
        # Not with_bind_ports, which opens the port to the whole network.
        made.ports[f"{inside}/tcp"] = cast("Any", (HOST, port))
        self._containers[service] = made
        made.start()

    def _fault(self, service: str, why: str) -> ServiceError:
        name = docker.image(service)
        lines = " | ".join(docker.lines(self._containers[service])[-LAST_LINES:]) or "none"
        return ServiceError(
            f"{name} could not be started for the clauses I2M-PIPE: {why}; its last lines: {lines};"
            f" IOT2MQTT_IMAGE_{service.upper()} names another image"
        )

    async def stop(self) -> None:
        """Remove both containers; a second call does nothing."""
        await super().stop()
        # What is being started in a thread cannot be called back: it is removed when it is there.
        await asyncio.gather(*self._threads, return_exceptions=True)
        for service, container in list(self._containers.items()):
            self._last[service] = " | ".join((await asyncio.to_thread(docker.lines, container))[-LAST_LINES:])
            # Who cannot be removed has gone already, as its engine has.
            with suppress(*docker.failures()):
                await asyncio.to_thread(container.stop)
            del self._containers[service]

    def said(self) -> str:
        """Return what both containers printed last, in one line."""
        now = {name: " | ".join(docker.lines(one)[-LAST_LINES:]) for name, one in self._containers.items()}
        return "; ".join(f"{name}: {lines}" for name, lines in (self._last | now).items()) or "none"


def _kafka_settings(address: str) -> dict[str, str]:
    """Return the settings of one broker that is its own controller, and is called from outside its container."""
    return {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_LISTENERS": f"PLAINTEXT://0.0.0.0:{KAFKA},CONTROLLER://localhost:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{address}",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_INTER_BROKER_LISTENER_NAME": "PLAINTEXT",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "3",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "3",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_HEAP_OPTS": "-Xmx512m",
    }


def _kafka_answers(address: str) -> str | None:
    """Return why Kafka does not serve yet, or None where it does."""
    import logging

    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    silent = logging.getLogger("iot2mqtt.conformance.kafka")
    silent.setLevel(logging.CRITICAL)
    try:
        AdminClient({"bootstrap.servers": address}, logger=silent).list_topics(timeout=ANSWER_WITHIN)
    except KafkaException as error:
        return str(error)
    return None


def _database_answers(where: Mapping[str, Any]) -> str | None:
    """Return why the database does not serve yet, or None where it does."""
    import psycopg

    try:
        psycopg.connect(**where, connect_timeout=round(ANSWER_WITHIN)).close()
    except psycopg.Error as error:
        return docker.sentence(error)
    return None
