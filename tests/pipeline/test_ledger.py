"""The books."""

import json

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from iot2mqtt_pipeline.adapters.kafka_out import KafkaDeadLetters
from iot2mqtt_pipeline.cli import cli
from iot2mqtt_pipeline.ledger import Account, accounts, total
from iot2mqtt_pipeline.stage import DeadLetter
from tests.pipeline.kafkas import Topics
from tests.pipeline.postgres_server import TestDatabase
from tests.waiting import DEADLINE


def test_what_is_nowhere_is_missing_device_by_device() -> None:
    books = accounts(
        published={"a": 10, "b": 5}, stored={"a": 7, "b": 6}, dead_lettered={"a": 1}, duplicates={"a": 1, "c": 2}
    )
    assert books == {"a": Account(10, 7, 1, 1), "b": Account(5, 6, 0, 0), "c": Account(0, 0, 0, 2)}
    assert {device: book.missing for device, book in books.items()} == {"a": 1, "b": -1, "c": -2}
    assert total(books) == Account(15, 13, 1, 3)


def test_no_device_makes_an_empty_book() -> None:
    assert accounts(published={}, stored={}, dead_lettered={}, duplicates={}) == {}
    assert total({}) == Account(0, 0, 0, 0)


def drop(topics: Topics, topic: str, *before: int) -> None:
    """Let Kafka drop the first records of each partition."""
    places = [TopicPartition(topic, number, offset) for number, offset in enumerate(before)]
    admin = AdminClient({"bootstrap.servers": topics.server.bootstrap})
    for done in admin.delete_records(places).values():
        done.result(DEADLINE)


def ledger(topics: Topics, database: TestDatabase, *words: str) -> Result:
    env = {
        "KAFKA_BOOTSTRAP_SERVERS": topics.server.bootstrap,
        "KAFKA_RAW_TOPIC": topics.raw,
        "KAFKA_DECODED_TOPIC": topics.decoded,
        "POSTGRES_HOST": "127.0.0.1",
        "POSTGRES_PORT": str(database.parameters["port"]),
        "POSTGRES_DB": database.parameters["dbname"],
        "POSTGRES_PASSWORD": database.parameters["password"],
    }
    return CliRunner().invoke(cli, ["ledger", *words], env=env)


@pytest.mark.parametrize("variant", ["postgres"], indirect=True)
def test_records_and_letters_that_kafka_has_dropped_are_told(topics: Topics, database: TestDatabase) -> None:
    topics.write(topics.raw, [(b"same", b"no json")] * 3)
    dead = DeadLetter(topics.raw, 0, 0, b"same", b"no json", (), "bridge", "bad_json", "it is none")
    KafkaDeadLetters(client=topics.client).write([dead, dead])
    assert json.loads(ledger(topics, database, "--json").stdout)["expired"] == 0
    of = topics.read(topics.raw, 3)[0].partition
    drop(topics, topics.raw, *(3 if number == of else 0 for number in range(topics.partitions)))
    drop(topics, f"{topics.raw}.dlq", 1)
    # Nothing is left of that partition, and one of the letters.
    assert json.loads(ledger(topics, database, "--json").stdout)["expired"] == 4
    said = ledger(topics, database).stdout
    assert "Kafka has dropped 4 records already, which nobody can count: the books may not balance" in said
