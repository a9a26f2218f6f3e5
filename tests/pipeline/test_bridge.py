"""The bridge against a real Mosquitto and a real Kafka: at least once, whatever is away or killed."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import pytest

from iot2mqtt_pipeline import bridge as bridge_module
from iot2mqtt_pipeline import letters
from iot2mqtt_pipeline.adapters.kafka_out import KafkaOutbox
from iot2mqtt_pipeline.adapters.mqtt import MqttInbox
from iot2mqtt_pipeline.adapters.mqtt_wire import NEVER
from iot2mqtt_pipeline.bridge import Bridge
from iot2mqtt_pipeline.errors import PermanentError, PipelineError, TransientError
from iot2mqtt_pipeline.servers.kafka import LocalKafka
from iot2mqtt_pipeline.settings import Mqtt
from iot2mqtt_pipeline.stage import Done, Message, NoFigures, Outgoing, Record
from tests.mosquitto import running as running_broker
from tests.pipeline.brokers import Broker, has_session, keep_session, publish
from tests.pipeline.kafkas import Topics, incompressible, read_until
from tests.pipeline.processes import Stage
from tests.sdk.brokers import Faults
from tests.waiting import DEADLINE, wait_until

FILTERS = ["cmnd/#"]


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Broker]:
    with running_broker(Broker(tmp_path / "mosquitto")) as broker:
        yield broker


@pytest.fixture
def faults(mosquitto: Broker) -> Iterator[Faults]:
    proxy = Faults(mosquitto.port)
    yield proxy
    proxy.close()


class Counted(NoFigures):
    """Figures that a test waits for."""

    def __init__(self) -> None:
        self.connections = self.incoming = self.safe = 0

    def connected(self) -> None:
        self.connections += 1

    def received(self, count: int) -> None:
        self.incoming += count

    def forwarded(self, count: int) -> None:
        self.safe += count


@dataclass(frozen=True)
class Refused:
    """What Kafka says of a record after it was taken."""

    error: PipelineError


@contextmanager
def running(settings: Mqtt, topics: Topics, *, window: int = 1000) -> Iterator[Counted]:
    """Run a bridge in a thread, from when it is subscribed."""
    figures = Counted()
    stopping = Event()
    bridge = Bridge(
        inbox=MqttInbox(settings=settings, filters=FILTERS, window=window, figures=figures),
        outbox=KafkaOutbox(client=topics.client),
        topic=topics.raw,
        figures=figures,
        window=window,
    )
    thread = Thread(target=bridge.run, args=(stopping.is_set,))
    thread.start()
    try:
        wait_until(lambda: figures.connections)
        yield figures
    finally:
        stopping.set()
        thread.join(DEADLINE)
        assert not thread.is_alive(), "the bridge does not stop"


def message(number: int) -> tuple[str, bytes]:
    return f"cmnd/f2-{number % 20:012x}/sensor-mode/J1/sensor-1", b'{"number": %d}' % number


def numbers(records: list[Record]) -> list[int]:
    return [json.loads(record.value)["payload"]["number"] for record in records]


def test_a_message_becomes_a_record_keyed_by_its_device(mosquitto: Broker, topics: Topics) -> None:
    with running(mosquitto.settings(), topics):
        publish(mosquitto.port, [message(1), message(21), message(41)])
        found = topics.read(topics.raw, 3)
    assert numbers(found) == [1, 21, 41]
    assert {record.key for record in found} == {b"f2-000000000001"}
    body = json.loads(found[0].value)
    assert body["original_topic"] == "cmnd/f2-000000000001/sensor-mode/J1/sensor-1"
    headers = dict(found[0].headers)
    assert (headers["mqtt-qos"], headers["mqtt-retain"], headers["mqtt-dup"]) == (b"1", b"0", b"0")
    assert int(headers["message-id"]) > 0


def test_what_cannot_be_carried_goes_to_the_dead_letters_with_its_bytes(mosquitto: Broker, topics: Topics) -> None:
    large = b'"' + incompressible(1_100_000) + b'"'
    topic = "cmnd/f2-000000000001/sensor-mode/J1/sensor-1"
    with running(mosquitto.settings(), topics):
        publish(mosquitto.port, [message(1), ("cmnd/who/is/this", b"\xff\x00"), (topic, large), message(2)])
        dead = topics.read(f"{topics.raw}.dlq", 2)
        found = topics.read(topics.raw, 2)
    assert sorted(numbers(found)) == [1, 2]
    written = [letters.read(record) for record in dead]
    assert [(one.topic, one.reason, one.value) for one in sorted(written, key=lambda one: len(one.value))] == [
        ("cmnd/who/is/this", "unknown_topic", b"\xff\x00"),
        (topic, "too_large", large),
    ]


def test_with_kafka_away_the_broker_holds_the_backlog(mosquitto: Broker, own_kafka: LocalKafka) -> None:
    topics = Topics(own_kafka)
    window, count = 50, 1000
    with running(mosquitto.settings(), topics, window=window) as figures:
        publish(mosquitto.port, [message(0)])
        wait_until(lambda: figures.safe == 1)
        own_kafka.kill()
        publish(mosquitto.port, map(message, range(1, count)))
        wait_until(lambda: figures.incoming == 1 + window)
        own_kafka.start()
        found = read_until(topics.client, topics.raw, lambda found: len(found) >= count)
    assert sorted(numbers(found)) == list(range(count))
    assert figures.incoming == count, "what was not confirmed was sent again"


def test_a_bridge_that_is_killed_under_load_loses_nothing(mosquitto: Broker, topics: Topics, tmp_path: Path) -> None:
    count = 5000
    settings = mosquitto.settings()
    keep_session(settings, FILTERS[0])
    given = {
        "mqtt": {"host": settings.host, "port": settings.port},
        "filters": FILTERS,
        "kafka": topics.client,
        "topic": topics.raw,
    }
    bridge = Stage("run_bridge.py", given, tmp_path / "log")
    publisher = Thread(target=publish, args=(mosquitto.port, [message(number) for number in range(count)]))
    publisher.start()
    read_until(topics.client, topics.raw, lambda found: len(found) >= count / 10)
    bridge.kill()
    bridge = Stage("run_bridge.py", given, tmp_path / "log")
    publisher.join(DEADLINE)
    found = read_until(topics.client, topics.raw, lambda found: len(set(numbers(list(found)))) >= count)
    assert bridge.terminate() == 0, (tmp_path / "log").read_text()
    assert set(numbers(found)) == set(range(count))


def test_a_broker_that_restarts_finds_its_subscriber_again(mosquitto: Broker, topics: Topics) -> None:
    with running(mosquitto.settings(), topics) as figures:
        publish(mosquitto.port, map(message, range(100)))
        mosquitto.stop()
        mosquitto.start()
        wait_until(lambda: figures.connections == 2)
        publish(mosquitto.port, map(message, range(100, 200)))
        found = read_until(topics.client, topics.raw, lambda found: len(set(numbers(list(found)))) >= 200)
    assert set(numbers(found)) == set(range(200))


def test_what_is_published_while_no_bridge_runs_is_carried_by_the_next(mosquitto: Broker, topics: Topics) -> None:
    with running(mosquitto.settings(), topics):
        pass
    publish(mosquitto.port, map(message, range(50)))
    with running(mosquitto.settings(), topics):
        found = topics.read(topics.raw, 50)
    assert sorted(numbers(found)) == list(range(50))


def test_a_broker_that_hangs_up_while_it_restarts_is_not_taken_for_an_old_one(
    mosquitto: Broker, faults: Faults
) -> None:
    inbox = MqttInbox(settings=mosquitto.settings(port=faults.port), filters=FILTERS)

    def connected(count: int) -> None:
        wait_until(lambda: inbox.receive(1, 0.05) == [] and len(faults.packets("SUBACK", "b2c")) >= count)

    try:
        faults.do(lambda proxy: proxy.swallow(swallowing=True))
        wait_until(lambda: inbox.receive(1, 0.05) == [] and len(faults.packets("CONNECT")) >= 1)
        faults.do(lambda proxy: proxy.cut())
        faults.do(lambda proxy: proxy.swallow(swallowing=False))
        connected(1)
        for count in (2, 3):
            faults.do(lambda proxy: proxy.cut())
            connected(count)
    finally:
        inbox.close()
    assert [packet["version"] for packet in faults.packets("CONNECT")][-2:] == [5, 5]


def test_a_window_of_large_messages_is_bounded_in_bytes(
    mosquitto: Broker, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge_module, "WINDOW_BYTES", 1_000_000)
    settings = mosquitto.settings()
    keep_session(settings, FILTERS[0])
    publish(mosquitto.port, ((message(0)[0], b"x" * 100_000) for _ in range(100)))
    inbox = MqttInbox(settings=settings, filters=FILTERS)
    bridge = Bridge(inbox=inbox, outbox=KafkaOutbox(client={"bootstrap.servers": "127.0.0.1:1"}), topic=topics.raw)
    wait_until(lambda: bridge._round() or len(bridge._flying) >= 10)  # type: ignore[func-returns-value]
    for _ in range(20):
        bridge._round()
    inbox.close()
    assert 10 <= len(bridge._flying) <= 15


class Once:
    """An inbox with a few messages, which come once; it notes what is done with it."""

    def __init__(self, count: int) -> None:
        made = [(*message(number), 1, False, False, 0.0, number + 1, 1) for number in range(count)]
        self._held = [Message(*fields) for fields in made]
        self.told: list[str] = []

    def receive(self, limit: int, timeout: float) -> list[Message]:
        del limit, timeout
        held, self._held = self._held, []
        return held

    def acknowledge(self, messages: Sequence[Message]) -> None:
        self.told.append(f"acknowledge {len(messages)}")

    def renew(self) -> None:
        self.told.append("renew")

    def close(self) -> None: ...


class Scripted:
    """An outbox that takes a record, raises an error, or takes it and tells later that it was refused."""

    def __init__(self, *answers: Exception | Refused | None) -> None:
        self._answers = [*answers]

    def send(self, record: Outgoing, done: Done) -> None:
        del record
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        done(answer.error if answer else None)

    def serve(self, timeout: float) -> None: ...

    def flush(self, timeout: float) -> int:
        del timeout
        return 0

    def discard(self) -> None: ...


def test_what_is_safe_is_acknowledged_before_what_is_not_starts_over() -> None:
    inbox = Once(4)
    bridge = Bridge(inbox=inbox, outbox=Scripted(None, None, None, TransientError("full")), topic="raw")
    bridge._round()
    assert inbox.told == ["acknowledge 3", "renew"]
    assert bridge._bytes == 0


def test_a_letter_that_cannot_be_sent_with_its_bytes_is_sent_without_and_nothing_starts_over() -> None:
    """Kafka refuses the message, and the driver the letter that holds it."""
    inbox = Once(1)
    outbox = Scripted(Refused(PermanentError("refused", "no")), PermanentError("too_large", "no"), None)
    bridge = Bridge(inbox=inbox, outbox=outbox, topic="raw")
    for _ in range(2):
        bridge._round()
    assert inbox.told == ["acknowledge 1"]


def test_two_bridges_of_one_share_divide_the_messages(mosquitto: Broker, topics: Topics) -> None:
    one, two = (mosquitto.settings(share="bridges", client_id=f"bridge-{which}") for which in "ab")
    with running(one, topics) as first, running(two, topics) as second:
        publish(mosquitto.port, map(message, range(200)))
        found = topics.read(topics.raw, 200)
        wait_until(lambda: first.safe + second.safe == 200)
    assert sorted(numbers(found)) == list(range(200))
    assert first.safe > 0
    assert second.safe > 0


def test_a_bridge_that_gets_a_share_receives_each_message_once(mosquitto: Broker, topics: Topics) -> None:
    with running(mosquitto.settings(), topics):
        pass
    with running(mosquitto.settings(share="bridges"), topics) as figures:
        publish(mosquitto.port, map(message, range(50)))
        read_until(topics.client, topics.raw, lambda found: 49 in numbers(list(found)))
        assert figures.incoming == 50


def test_a_session_gives_up_its_old_filters_also_where_the_first_attempt_was_lost(
    mosquitto: Broker, faults: Faults
) -> None:
    figures = Counted()
    settings = mosquitto.settings(port=faults.port, version="3.1.1", share="bridges")
    inbox = MqttInbox(settings=settings, filters=FILTERS, figures=figures)

    def connected(times: int) -> bool:
        inbox.receive(10, 0.05)
        return figures.connections == times

    try:
        wait_until(lambda: connected(1))
        inbox.renew()  # before the broker's answer to UNSUBSCRIBE was read
        wait_until(lambda: connected(2))
        faults.wait_packets("UNSUBSCRIBE", 2)
    finally:
        inbox.close()


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_connection_that_was_lost_brings_no_retained_message_again(mosquitto: Broker, version: str) -> None:
    figures = Counted()
    inbox = MqttInbox(settings=mosquitto.settings(version=version), filters=FILTERS, figures=figures)
    found: list[Message] = []

    def received(count: int) -> bool:
        found.extend(inbox.receive(10, 0.05))
        return len(found) >= count

    try:
        publish(mosquitto.port, [message(1)], retain=True)
        wait_until(lambda: received(1))
        inbox.acknowledge(found)
        inbox.renew()
        wait_until(lambda: received(1) and figures.connections == 2)
        publish(mosquitto.port, [message(2)])
        wait_until(lambda: received(2))
    finally:
        inbox.close()
    assert [(one.payload, one.retain) for one in found] == [(message(1)[1], True), (message(2)[1], False)]


@pytest.mark.parametrize(("expiry", "kept"), [(60, False), (NEVER, True)])
def test_a_session_that_is_not_to_stay_is_gone_at_an_old_broker(mosquitto: Broker, expiry: int, kept: bool) -> None:
    settings = mosquitto.settings(version="3.1.1")
    figures = Counted()
    inbox = MqttInbox(settings=settings, filters=FILTERS, figures=figures, expiry=expiry)
    wait_until(lambda: inbox.receive(1, 0.05) == [] and figures.connections)
    inbox.close()
    assert has_session(settings) == kept


def test_a_session_that_is_not_to_stay_outlives_a_connection(mosquitto: Broker) -> None:
    figures = Counted()
    inbox = MqttInbox(settings=mosquitto.settings(), filters=FILTERS, figures=figures, expiry=60)
    wait_until(lambda: inbox.receive(1, 0.05) == [] and figures.connections)
    inbox.renew()
    publish(mosquitto.port, [message(1)])
    wait_until(lambda: inbox.receive(1, 0.05))
    inbox.close()


@pytest.mark.parametrize("acknowledged", [False, True])
def test_what_is_received_again_keeps_the_time_at_which_it_came_first(
    mosquitto: Broker, faults: Faults, acknowledged: bool
) -> None:
    # A message that tells no time of its own has this one: with another it would be stored as another row.
    settings = mosquitto.settings(port=faults.port)
    keep_session(settings, FILTERS[0])
    inbox = MqttInbox(settings=settings, filters=FILTERS)

    def received(count: int) -> list[Message]:
        found: list[Message] = []
        wait_until(lambda: found.extend(inbox.receive(10, 0.2)) or len(found) >= count)  # type: ignore[func-returns-value]
        return found

    try:
        publish(mosquitto.port, map(message, range(3)))
        first = received(3)
        if acknowledged:
            faults.do(lambda proxy: proxy.drop_pubacks(dropping=True))
            inbox.acknowledge(first)
            faults.wait_packets("PUBACK", 3)
            faults.do(lambda proxy: proxy.drop_pubacks(dropping=False))
        inbox.renew()
        again = received(3)
        inbox.acknowledge(again)
        publish(mosquitto.port, map(message, range(3)))
        others = received(3)
    finally:
        inbox.close()
    assert [(one.topic, one.payload, one.arrived, True) for one in first] == [
        (one.topic, one.payload, one.arrived, one.dup) for one in again
    ]
    assert {one.dup for one in others} == {False}
    assert min(one.arrived for one in others) > max(one.arrived for one in again)
