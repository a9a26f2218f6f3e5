"""MQTTClient on its own: what it guarantees when the network and its users do their worst."""

import logging
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.mosquitto import running
from tests.sdk.brokers import Broker, Faults, Recorder
from tests.sdk.workshop import Workshop
from tests.waiting import DEADLINE, wait_until

from iot2mqtt_sdk import BrokerError, MQTTClient, PayloadError
from iot2mqtt_sdk.runtime.outbox import TRIES, UNACKNOWLEDGED, WAITING

Connect = Callable[..., MQTTClient]


def of_connection(faults: Faults, number: int) -> list[str]:
    """The types of the packets of one connection, in order; `online` stands for the message that says so."""
    packets = [facts for event, facts in faults.events if event == "packet" and facts["conn"] == number]
    return ["online" if "online" in str(facts.get("payload")) else facts["type"] for facts in packets]


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_online_follows_the_subscriptions_on_every_connection(
    workshop: Workshop, faults: Faults, connect: Connect, seen: Recorder, version: str
) -> None:
    assert workshop
    connect(MQTT_VERSION=version, MQTT_PORT=str(faults.port)).publish("devices/lamp/events", {"n": 1})
    for number in range(1, 3):
        seen.wait_status("online", count=number)
        faults.do(lambda proxy: proxy.cut())
    seen.wait_status("online", count=3)
    for number in range(1, 4):
        packets = of_connection(faults, number)
        assert packets[:5] == ["CONNECT", "CONNACK", "SUBSCRIBE", "SUBACK", "online"]


def test_what_was_not_acknowledged_is_sent_again(faults: Faults, connect: Connect, seen: Recorder) -> None:
    client = connect(MQTT_PORT=str(faults.port))
    seen.wait_status("online")
    faults.do(lambda proxy: proxy.swallow(swallowing=True))
    for number in range(20):
        client.publish("devices/lamp/events", {"n": number})
    faults.wait_packets("PUBLISH", 21)
    faults.do(lambda proxy: proxy.cut())
    faults.do(lambda proxy: proxy.swallow(swallowing=False))
    seen.wait("devices/lamp/events", lambda found: found.json["n"] == 19)
    assert [found.json["n"] for found in seen.of("devices/lamp/events")] == list(range(20))


def test_lost_acknowledgements_lose_no_message(faults: Faults, connect: Connect, seen: Recorder) -> None:
    client = connect(MQTT_PORT=str(faults.port))
    faults.do(lambda proxy: proxy.drop_pubacks(dropping=True))
    client.publish("devices/lamp/events", {"n": 1})
    seen.wait("devices/lamp/events")
    faults.do(lambda proxy: proxy.cut())
    faults.do(lambda proxy: proxy.drop_pubacks(dropping=False))
    seen.wait("devices/lamp/events", count=2)


def test_refused_credentials_are_told_and_tried_again(
    faults: Faults, workshop: Workshop, seen: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    workshop.env(MQTT_PORT=str(faults.port))
    faults.do(lambda proxy: proxy.refuse_connack(5))
    client = MQTTClient()
    with caplog.at_level(logging.WARNING):
        client.begin()
        faults.wait_packets("CONNECT", 2)
    assert "refused the connection" in caplog.text
    assert "MQTT_PASSWORD" in caplog.text
    assert "refused" in str(client.trouble)
    assert len([record for record in caplog.records if "refused" in record.message]) == 1
    faults.do(lambda proxy: proxy.refuse_connack(None))
    seen.wait_status("online")
    assert client.trouble is None
    client.disconnect()


def test_a_broker_that_checks_passwords_is_entered_with_the_right_one(
    tmp_path: Path, connect: Connect, base: str
) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "me", "hush"], check=True, capture_output=True)
    with running(Broker(tmp_path / "strict", listener=f"allow_anonymous false\npassword_file {passwords}")) as broker:
        client = connect(MQTT_PORT=str(broker.port), MQTT_USERNAME="me", MQTT_PASSWORD="hush")
        recorder = Recorder(broker.port, base, username="me", password="hush")
        recorder.wait_status("online")
        recorder.close()
        client.disconnect()


def test_a_client_may_connect_again_after_it_has_disconnected(connect: Connect, seen: Recorder) -> None:
    client = connect()
    handled: list[Any] = []
    client.subscribe("devices/+/cmd", lambda topic, payload: handled.append((topic, payload)))
    for number in range(1, 3):
        seen.wait_status("online", count=number)
        client.disconnect()
        assert not client.connected
        seen.wait_status("offline", count=number)
        client.connect(retry_interval=DEADLINE)
    seen.wait_status("online", count=3)
    seen.publish("devices/lamp/cmd", {"n": 1})
    wait_until(lambda: handled)


def test_disconnect_takes_no_longer_for_a_dead_broker(faults: Faults, connect: Connect) -> None:
    client = connect(MQTT_PORT=str(faults.port))
    faults.do(lambda proxy: proxy.swallow(swallowing=True))
    began = time.monotonic()
    client.disconnect()
    assert time.monotonic() - began < 10  # that containers are given


def test_offline_is_sent_however_much_the_broker_has_yet_to_acknowledge(
    faults: Faults, connect: Connect, seen: Recorder
) -> None:
    client = connect(MQTT_PORT=str(faults.port))
    seen.wait_status("online")
    faults.do(lambda proxy: proxy.drop_pubacks(dropping=True))
    for number in range(UNACKNOWLEDGED + 100):
        client.publish("devices/lamp/events", {"n": number})
    client.disconnect()
    seen.wait_status("offline")


def test_offline_is_acknowledged_before_the_connection_ends(faults: Faults, connect: Connect) -> None:
    client = connect(MQTT_PORT=str(faults.port))
    faults.wait_packets("PUBACK", 1, "b2c")
    mark = len(faults.events)
    client.disconnect()
    faults.wait_packets("DISCONNECT", 1)
    kinds = [facts["type"] for event, facts in faults.events[mark:] if event == "packet"]
    assert kinds[-3:] == ["PUBLISH", "PUBACK", "DISCONNECT"]


def test_eight_threads_publish_without_loss(connect: Connect, seen: Recorder) -> None:
    client = connect()

    def work(thread: int) -> None:
        for number in range(250):
            client.publish(f"devices/d{thread}/events", {"n": number})
            client.publish_state(f"d{thread}", {"n": number})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    for number in range(8):
        seen.wait(f"devices/d{number}/events", count=250)
        assert [found.json["n"] for found in seen.of(f"devices/d{number}/events")] == list(range(250))
        seen.wait(f"devices/d{number}/state", lambda found: found.json["state"] == {"n": 249})


def test_the_offline_queue_is_bounded_and_says_so(
    workshop: Workshop, own_mosquitto: Broker, base: str, caplog: pytest.LogCaptureFixture
) -> None:
    workshop.env(MQTT_PORT=str(own_mosquitto.port))
    client = MQTTClient()
    for number in range(WAITING + 10):
        client.publish("devices/lamp/events", {"n": number})
        client.publish_state("lamp", {"n": number})
    recorder = Recorder(own_mosquitto.port, base)
    with caplog.at_level(logging.WARNING):
        client.connect(retry_interval=DEADLINE)
        recorder.wait("devices/lamp/events", lambda found: found.json["n"] == WAITING + 9)
        recorder.wait("devices/lamp/state")
    client.disconnect()
    recorder.close()
    assert [found.json["n"] for found in recorder.of("devices/lamp/events")] == list(range(10, WAITING + 10))
    assert [found.json["state"]["n"] for found in recorder.of("devices/lamp/state")] == [WAITING + 9]
    assert "10 messages were dropped" in caplog.text


def test_a_message_that_the_broker_refuses_ends_no_instance(
    tmp_path: Path, connect: Connect, base: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iot2mqtt_sdk.runtime.link.LONGEST_DELAY", 0.1)
    monkeypatch.setattr("iot2mqtt_sdk.runtime.link.delay_after", lambda *_args, **_how: 0.05)
    small = Broker(tmp_path / "small", listener="allow_anonymous true\nmax_packet_size 20000")
    with running(small), caplog.at_level(logging.ERROR):
        client = connect(MQTT_PORT=str(small.port))
        client.publish("devices/lamp/events", {"long": "x" * 30_000})
        client.publish("devices/lamp/events", {"short": 1})
        recorder = Recorder(small.port, base)
        recorder.wait("devices/lamp/events", lambda found: "short" in found.json)
        recorder.wait_status("online", count=1)
        recorder.close()
        client.disconnect()
    assert f"{TRIES} connections in a row ended" in caplog.text


def test_a_session_that_is_taken_over_again_and_again_is_told(
    workshop: Workshop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iot2mqtt_sdk.runtime.link.delay_after", lambda *_args, **_how: 0.05)
    assert workshop
    with caplog.at_level(logging.ERROR):
        clients = [MQTTClient(), MQTTClient()]
        for client in clients:
            client.begin()
        wait_until(lambda: "give each its own INSTANCE_NAME" in caplog.text)
    for client in clients:
        client.disconnect()


def test_a_broker_that_accepts_and_never_answers_is_given_up(
    faults: Faults, workshop: Workshop, seen: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iot2mqtt_sdk.runtime.link.CONNACK", (0.3, 0.3))
    workshop.env(MQTT_PORT=str(faults.port), MQTT_KEEPALIVE="3600")
    faults.do(lambda proxy: proxy.swallow(swallowing=True))
    client = MQTTClient()
    client.begin()
    faults.wait_packets("CONNECT", 2)
    faults.do(lambda proxy: proxy.swallow(swallowing=False))
    seen.wait_status("online")
    client.disconnect()


def test_a_half_open_connection_is_noticed_within_twice_the_keepalive(
    faults: Faults, connect: Connect, seen: Recorder
) -> None:
    client = connect(MQTT_PORT=str(faults.port), MQTT_KEEPALIVE="3")
    seen.wait_status("online")
    faults.do(lambda proxy: proxy.swallow(swallowing=True))
    began = time.monotonic()
    wait_until(lambda: not client.connected)
    assert time.monotonic() - began < 2 * 3 + 2.5  # for a machine that has other things to do
    faults.do(lambda proxy: proxy.swallow(swallowing=False))
    seen.wait_status("online", count=2)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda client: client.publish("devices/+/x", 1), "nothing can be published"),
        (lambda client: client.publish("devices//x", 1), "nothing can be published"),
        (lambda client: client.publish("a\x00b", 1), "nothing can be published"),
        (lambda client: client.publish("a\ud800", 1), "nothing can be published"),
        (lambda client: client.publish("x" * 70_000, 1), "nothing can be published"),
        (lambda client: client.publish("x", 1, qos=3), "qos must be"),
        (lambda client: client.publish("x", b"\xff"), "type bytes"),
        (lambda client: client.publish("status", "maybe"), "online or offline"),
        (lambda client: client.publish_error("lamp", "X", "x", "loud"), "severity must be"),
        (lambda client: client.publish_state("lamp", [1]), "return a dict"),
        (lambda client: client.subscribe("a/#/b", print), "is no topic filter"),
        (lambda client: client.subscribe("a+/b", print), "is no topic filter"),
        (lambda client: client.subscribe("", print), "is no topic filter"),
        (lambda client: client.send_command("a/b", {}), "cannot be a topic level"),
        (lambda client: client.send_command("lamp", {"a": object()}), "type object"),
    ],
)
def test_what_mqtt_cannot_carry_is_refused_where_it_is_asked_for(
    connect: Connect, seen: Recorder, call: Callable[[MQTTClient], Any], reason: str
) -> None:
    client = connect()
    with pytest.raises(PayloadError, match=reason):
        call(client)
    client.publish("devices/lamp/events", {"n": 1})
    seen.wait("devices/lamp/events")


def test_payloads_that_are_json_already_are_sent_as_that(connect: Connect, seen: Recorder) -> None:
    client = connect()
    for payload in ('{"a": NaN}', b"[1]", "word", '{"broken', "[" * 5000):
        client.publish("devices/lamp/telemetry", payload)
    seen.wait("devices/lamp/telemetry", count=5)
    assert [found.json for found in seen.of("devices/lamp/telemetry")] == [
        {"a": None},
        [1],
        "word",
        '{"broken',
        "[" * 5000,
    ]


def test_handlers_that_fail_leave_the_connection_alone(connect: Connect, seen: Recorder) -> None:
    client = connect()
    handled: list[Any] = []

    def leave(*_: Any) -> None:
        raise SystemExit(3)

    async def leave_later(*_: Any) -> None:
        raise SystemExit(3)

    client.subscribe("devices/+/cmd", leave)
    client.subscribe("devices/+/cmd", leave_later)
    client.subscribe("devices/+/cmd", lambda _topic, payload: handled.append(payload))
    client.route("devices/+/get", leave)
    seen.publish("devices/lamp/get", b"")
    for payload in (b"\xff", b"{", b"[" * 100_000, {"n": 1}, b"", {"n": 2}):
        seen.publish("devices/lamp/cmd", payload)
    seen.publish("devices/lamp/cmd", {"n": 0}, retain=True)
    wait_until(lambda: len(handled) == 4)
    assert handled == [{"n": 1}, None, {"n": 2}, {"n": 0}]
    assert client.connected


def test_a_handler_may_call_back_and_disconnect(connect: Connect, seen: Recorder) -> None:
    client = connect()

    def handle(_topic: str, payload: Any) -> None:
        client.publish_event("lamp", "handled", payload)
        client.disconnect()

    client.subscribe("devices/+/cmd", handle)
    seen.publish("devices/lamp/cmd", {"n": 1})
    assert seen.wait("devices/lamp/events").json["data"] == {"n": 1}
    seen.wait_status("offline")


def test_a_hanging_handler_is_not_flooded(
    connect: Connect, seen: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("iot2mqtt_sdk.runtime.dispatch.WAITING", 10)
    client = connect()
    gate, handled = threading.Event(), []

    def handle(_topic: str, payload: Any) -> None:
        gate.wait(DEADLINE)
        handled.append(payload)

    client.subscribe("devices/+/cmd", handle)
    with caplog.at_level(logging.WARNING):
        for number in range(50):
            seen.publish("devices/lamp/cmd", number)
        wait_until(lambda: "is left out" in caplog.text)
    gate.set()
    wait_until(lambda: len(handled) >= 10)
    assert handled == sorted(set(handled))
    assert handled[:10] == list(range(10))


def test_a_command_without_a_connection_is_refused(workshop: Workshop) -> None:
    assert workshop
    with pytest.raises(BrokerError, match="is the client connected"):
        MQTTClient().send_command("lamp", {})


def test_a_command_carries_the_time_at_which_it_was_asked_for(
    workshop: Workshop, faults: Faults, connect: Connect, seen: Recorder
) -> None:
    assert workshop
    client = connect(MQTT_PORT=str(faults.port))
    client.send_command("lamp", {"n": 1})
    faults.do(lambda proxy: proxy.accept(accepting=False))
    faults.do(lambda proxy: proxy.cut())
    wait_until(lambda: not client.connected)
    client.send_command("lamp", {"n": 2})
    asked = client.clock.now().isoformat()
    faults.do(lambda proxy: proxy.accept(accepting=True))
    late = seen.wait("devices/lamp/cmd", lambda found: found.json["values"] == {"n": 2})
    assert late.json["timestamp"][:19] <= asked[:19]
