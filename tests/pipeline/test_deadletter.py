"""Dead letters in a real Kafka: they are found, and go back where they came from."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]

from iot2mqtt_pipeline import deadletter, letters
from iot2mqtt_pipeline.adapters import kafka_letters, kafka_topics
from iot2mqtt_pipeline.adapters.kafka_letters import KafkaLetters
from iot2mqtt_pipeline.adapters.kafka_out import KafkaDeadLetters, KafkaOutbox
from iot2mqtt_pipeline.cli.dlq import _facts, _wanted
from iot2mqtt_pipeline.errors import PermanentError, TransientError
from iot2mqtt_pipeline.stage import DeadLetter
from tests.pipeline.kafkas import Topics
from tests.waiting import DEADLINE

DOOR = "cmnd/f2-000000000001/access-control-mode/J1/door-sensors"


def test_a_dead_letter_is_listed_shown_and_replayed(topics: Topics) -> None:
    headers = [("mqtt-qos", b"1"), ("message-id", b"7")]
    dead = DeadLetter(topics.raw, 2, 5, b"box", b"\x00bytes", headers, "processor", "bad_json", "it is no JSON")
    KafkaDeadLetters(client=topics.client).write([dead])
    cemetery = KafkaLetters(client=topics.client, topic=f"{topics.raw}.dlq")
    (found,) = deadletter.find(cemetery)
    assert (found.letter, found.replays, found.cut) == (dead, 0, False)
    assert deadletter.show(cemetery, partition=found.partition, offset=found.offset) == found
    outbox = KafkaOutbox(client=topics.client)
    done = deadletter.replay([found], outbox, raw_topic=topics.raw)
    assert (done.sent, list(done.failed)) == (1, [])
    (back,) = topics.read(topics.raw, 1)
    assert (back.key, back.value) == (b"box", b"\x00bytes")
    assert back.headers == [*headers, (letters.REPLAYS, b"1"), (letters.REPLAY_OF, f"0/{found.offset}".encode())]


def test_a_record_that_dies_again_says_how_often_it_was_replayed(topics: Topics) -> None:
    dead = DeadLetter(topics.raw, 0, 0, b"k", b"v", [(letters.REPLAYS, b"1")], "sink", "bad_value", "a word")
    KafkaDeadLetters(client=topics.client).write([dead])
    (found,) = deadletter.find(KafkaLetters(client=topics.client, topic=f"{topics.raw}.dlq"))
    assert found.replays == 1
    deadletter.replay([found], KafkaOutbox(client=topics.client), raw_topic=topics.raw)
    (back,) = topics.read(topics.raw, 1)
    assert list(back.headers) == [(letters.REPLAYS, b"2"), (letters.REPLAY_OF, b"0/0")]


def test_a_message_of_the_bridge_becomes_the_raw_record_that_it_never_was(topics: Topics) -> None:
    letter = DeadLetter(
        DOOR, -1, -1, None, b'{"a": true}', [(letters.ARRIVED, b"12.5")], "bridge", "unknown_topic", "why"
    )
    found = deadletter.Found(0, 0, letter, 0, cut=False)
    deadletter.replay([found], KafkaOutbox(client=topics.client), raw_topic=topics.raw)
    (back,) = topics.read(topics.raw, 1)
    body = json.loads(back.value)
    assert back.key == b"f2-000000000001"
    assert (body["original_topic"], body["payload"], body["timestamp"]) == (DOOR, {"a": True}, 12.5)


@pytest.mark.parametrize(
    ("topic", "key", "device"),
    [(DOOR, None, "f2-000000000001"), ("who/is/this", None, ""), ("raw_iot_data", b"light1", "light1")],
)
def test_a_letter_is_found_by_its_device_whichever_stage_wrote_it(topic: str, key: bytes | None, device: str) -> None:
    letter = DeadLetter(topic, -1, -1, key, b"", [], "any", "too_large", "why")
    found = deadletter.Found(0, 0, letter, 0, cut=False)
    assert _facts(found)["device"] == (device or topic)
    assert _wanted(None, device)(found)
    assert not _wanted(None, "another")(found)


def test_what_still_cannot_be_carried_is_told_and_the_others_go(topics: Topics) -> None:
    def of(value: bytes, topic: str, *, cut: bool = False) -> deadletter.Found:
        letter = DeadLetter(topic, -1, -1, None, value, (), "bridge", "unknown_topic", "why")
        return deadletter.Found(0, 0, letter, 0, cut=cut)

    chosen = [of(b"1", "who/is/this"), of(b"2", DOOR), of(b"3", DOOR, cut=True)]
    done = deadletter.replay(chosen, KafkaOutbox(client=topics.client), raw_topic=topics.raw)
    assert done.sent == 1
    assert [found for found, _ in done.failed] == [chosen[0], chosen[2]]
    assert [json.loads(one.value)["payload"] for one in topics.read(topics.raw, 1)] == [2]


def test_letters_are_replayed_however_many_and_those_that_come_meanwhile_are_not(topics: Topics) -> None:
    dead = [DeadLetter(topics.raw, 0, n, b"k", str(n).encode(), (), "sink", "bad_value", "why") for n in range(1200)]
    KafkaDeadLetters(client=topics.client).write(dead)
    cemetery = KafkaLetters(client=topics.client, topic=f"{topics.raw}.dlq")
    narrow = KafkaOutbox(client=topics.client)
    narrow._config["queue.buffering.max.messages"] = "100"  # there are as many letters as it has room for, and more

    def chosen() -> Iterator[deadletter.Found]:
        for number, found in enumerate(deadletter.find(cemetery)):
            if number == 1:
                KafkaDeadLetters(client=topics.client).write(dead[:10])
            yield found

    done = deadletter.replay(chosen(), narrow, raw_topic=topics.raw)
    assert (done.sent, list(done.failed)) == (1200, [])
    assert {int(record.value) for record in topics.read(topics.raw, 1200)} == set(range(1200))


def test_a_letter_whose_replay_has_died_again_is_named(topics: Topics) -> None:
    again = [(letters.REPLAYS, b"1"), (letters.REPLAY_OF, b"0/0")]
    dead = [
        DeadLetter(topics.raw, 0, n, b"k", b"v", headers, "sink", "r", "e") for n, headers in enumerate(((), again))
    ]
    KafkaDeadLetters(client=topics.client).write(dead)
    assert deadletter.replayed(KafkaLetters(client=topics.client, topic=f"{topics.raw}.dlq")) == {"0/0"}


def test_a_place_without_a_dead_letter_is_an_error(topics: Topics) -> None:
    with pytest.raises(PermanentError, match="partition 0, offset 9"):
        deadletter.show(KafkaLetters(client=topics.client, topic=f"{topics.raw}.dlq"), partition=0, offset=9)


def test_kafka_keeps_dead_letters_for_ever_and_nothing_else(topics: Topics) -> None:
    admin = AdminClient({"bootstrap.servers": topics.server.bootstrap})
    asked = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in (topics.raw, f"{topics.raw}.dlq")]
    found = {resource.name: told.result(DEADLINE) for resource, told in admin.describe_configs(asked).items()}
    assert found[f"{topics.raw}.dlq"]["retention.ms"].value == "-1"
    assert found[topics.raw]["retention.ms"].value == str(7 * 24 * 3600 * 1000)


def test_topics_are_there_once_they_are_ensured(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    lags = [True] * 3

    class Lagging(AdminClient):
        def list_topics(self, *args: Any, **settings: Any) -> Any:
            told = super().list_topics(*args, **settings)
            if name in told.topics and lags:
                lags.pop()
                del told.topics[name]
            return told

    name = f"{topics.raw}.more"
    monkeypatch.setattr(kafka_topics, "AdminClient", Lagging)
    kafka_topics.ensure_topics(topics.client, {name: 1})
    assert not lags


def test_a_partition_that_gets_a_new_leader_is_waited_for(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = [KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION))] * 3

    class Moving(Consumer):
        def get_watermark_offsets(self, *args: Any, **settings: Any) -> Any:
            if refused:
                raise refused.pop()
            return super().get_watermark_offsets(*args, **settings)

    monkeypatch.setattr(kafka_letters, "Consumer", Moving)
    KafkaDeadLetters(client=topics.client).write([DeadLetter(topics.raw, 0, 0, b"k", b"v", (), "sink", "r", "e")])
    assert len(list(KafkaLetters(client=topics.client, topic=f"{topics.raw}.dlq").records())) == 1
    assert not refused


def test_a_partition_that_may_not_be_read_is_an_error_and_not_an_end(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Barred:
        def error(self) -> KafkaError:
            return KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "not yours")

        def partition(self) -> int:
            return 0

    class Refused(Consumer):
        def consume(self, *_: Any) -> Any:
            return [Barred()]

    monkeypatch.setattr(kafka_letters, "Consumer", Refused)
    with pytest.raises(TransientError, match="not yours"):
        list(KafkaLetters(client=topics.client, topic=f"{topics.raw}.dlq").records())


def test_of_a_letter_that_is_too_large_the_beginning_is_kept() -> None:
    letter = DeadLetter("t", 0, 0, b"k", b"x" * (letters.LARGEST + 1), (), "processor", "too_large", "why")
    record = letters.outgoing(letter, "raw")
    assert len(record.value) == letters.LARGEST
    assert ("dlq-cut", str(letters.LARGEST + 1).encode()) in record.headers
