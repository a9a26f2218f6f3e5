"""Dead letters in a real Kafka: they are found, and go back where they came from."""

import json

import pytest

from iot2mqtt_pipeline import deadletter, letters
from iot2mqtt_pipeline.adapters.kafka_letters import KafkaLetters
from iot2mqtt_pipeline.adapters.kafka_out import KafkaDeadLetters, KafkaOutbox
from iot2mqtt_pipeline.errors import PermanentError
from iot2mqtt_pipeline.stage import DeadLetter
from tests.pipeline.kafkas import Topics

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
    done = deadletter.replay([found], outbox, raw_topic=topics.raw, arrived=0.0)
    assert (done.sent, list(done.failed)) == (1, [])
    (back,) = topics.read(topics.raw, 1)
    assert (back.key, back.value) == (b"box", b"\x00bytes")
    assert back.headers == [*headers, (letters.REPLAYS, b"1"), (letters.REPLAY_OF, f"0/{found.offset}".encode())]


def test_a_record_that_dies_again_says_how_often_it_was_replayed(topics: Topics) -> None:
    dead = DeadLetter(topics.raw, 0, 0, b"k", b"v", [(letters.REPLAYS, b"1")], "sink", "bad_value", "a word")
    KafkaDeadLetters(client=topics.client).write([dead])
    (found,) = deadletter.find(KafkaLetters(client=topics.client, topic=f"{topics.raw}.dlq"))
    assert found.replays == 1
    deadletter.replay([found], KafkaOutbox(client=topics.client), raw_topic=topics.raw, arrived=0.0)
    (back,) = topics.read(topics.raw, 1)
    assert list(back.headers) == [(letters.REPLAYS, b"2"), (letters.REPLAY_OF, b"0/0")]


def test_a_message_of_the_bridge_becomes_the_raw_record_that_it_never_was(topics: Topics) -> None:
    letter = DeadLetter(DOOR, -1, -1, None, b'{"a": true}', [("mqtt-qos", b"1")], "bridge", "unknown_topic", "why")
    found = deadletter.Found(0, 0, letter, 0, cut=False)
    deadletter.replay([found], KafkaOutbox(client=topics.client), raw_topic=topics.raw, arrived=12.5)
    (back,) = topics.read(topics.raw, 1)
    body = json.loads(back.value)
    assert back.key == b"f2-000000000001"
    assert (body["original_topic"], body["payload"], body["timestamp"]) == (DOOR, {"a": True}, 12.5)


def test_what_still_cannot_be_carried_is_told_and_the_others_go(topics: Topics) -> None:
    def of(value: bytes, topic: str, *, cut: bool = False) -> deadletter.Found:
        letter = DeadLetter(topic, -1, -1, None, value, (), "bridge", "unknown_topic", "why")
        return deadletter.Found(0, 0, letter, 0, cut=cut)

    chosen = [of(b"1", "who/is/this"), of(b"2", DOOR), of(b"3", DOOR, cut=True)]
    done = deadletter.replay(chosen, KafkaOutbox(client=topics.client), raw_topic=topics.raw, arrived=0.0)
    assert done.sent == 1
    assert [found for found, _ in done.failed] == [chosen[0], chosen[2]]
    assert [json.loads(one.value)["payload"] for one in topics.read(topics.raw, 1)] == [2]


def test_a_place_without_a_dead_letter_is_an_error(topics: Topics) -> None:
    with pytest.raises(PermanentError, match="partition 0, offset 9"):
        deadletter.show(KafkaLetters(client=topics.client, topic=f"{topics.raw}.dlq"), partition=0, offset=9)


def test_of_a_letter_that_is_too_large_the_beginning_is_kept() -> None:
    letter = DeadLetter("t", 0, 0, b"k", b"x" * (letters.LARGEST + 1), (), "processor", "too_large", "why")
    record = letters.outgoing(letter, "raw")
    assert len(record.value) == letters.LARGEST
    assert ("dlq-cut", str(letters.LARGEST + 1).encode()) in record.headers
