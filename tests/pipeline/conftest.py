"""What the tests of the pipeline share: a Kafka, topics of their own in it, and brokers."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from iot2mqtt_pipeline.servers.kafka import LocalKafka, running
from iot2mqtt_pipeline.servers.kafka_jars import jars, java
from iot2mqtt_sdk.errors import ConfigurationError
from tests.pipeline.kafkas import Topics
from tests.pipeline.postgres_server import database, empty_database, own_postgres, postgres_servers, variant

__all__ = ["database", "empty_database", "own_postgres", "postgres_servers", "variant"]


def local_kafka(folder: Path, *, brokers: int = 1, heap: int = 512) -> LocalKafka:
    """Return a Kafka that is not started; where a machine has none, CI fails and others skip."""
    try:
        java()
        jars()
    except ConfigurationError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"NOT TESTED against Kafka: {error}")
    return LocalKafka(folder=folder, brokers=brokers, heap=heap)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """A Kafka that many tests share; each has topics of its own, and none may stop it."""
    with running(local_kafka(tmp_path_factory.mktemp("kafka"))) as server:
        yield server


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[LocalKafka]:
    """A Kafka that a test may stop."""
    with running(local_kafka(tmp_path / "kafka", heap=256)) as server:
        yield server


@pytest.fixture
def topics(kafka: LocalKafka) -> Topics:
    """Topics of a test's own in the shared Kafka."""
    return Topics(kafka)
