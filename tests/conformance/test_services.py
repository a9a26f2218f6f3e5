"""Both brokers, by the same tests: how they start and stop, and what a client sees of MQTT 3.1.1 on the wire."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from iot2mqtt_conformance import plugin
from iot2mqtt_conformance.encoding import encode_disconnect, encode_publish
from iot2mqtt_conformance.launch import eventually
from iot2mqtt_conformance.ports import free_port, in_use
from iot2mqtt_conformance.services import base, choose, docker, embedded, local
from iot2mqtt_conformance.services.base import Broker, ServiceError
from tests.conformance.raw_client import DEADLINE, Client, Will, encode_connect

MODES = ["local", "embedded"]
BOTH = pytest.mark.parametrize("mode", MODES)
Scenario = Callable[[Broker], Awaitable[None]]


def new(mode: str) -> Broker:
    return choose.choose(mode)[0]()


def with_broker(mode: str, scenario: Scenario) -> None:
    async def play() -> None:
        broker = new(mode)
        await broker.start()
        try:
            await asyncio.wait_for(scenario(broker), 4 * DEADLINE)
            assert not broker.died.is_set()
        finally:
            await broker.stop()

    asyncio.run(play())


# ---------------------------------------------------------------------- messages
@BOTH
def test_what_is_retained_comes_flagged_after_suback_and_live_messages_unflagged(mode: str) -> None:
    async def scenario(broker: Broker) -> None:
        async with Client(broker, "one") as one, Client(broker, "two") as two:
            await one.publish("a/b", b"old", retain=True)
            await one.publish("a/b", b"new", retain=True)
            await one.publish("a/gone", b"x", retain=True)
            await one.publish("a/gone", b"", retain=True)
            assert await two.subscribe("a/+", "a/b") == [1, 1]
            assert {await two.message(), await two.message()} == {("a/b", "new", 1, True)}
            assert await two.silence() == []

        async with Client(broker, "three") as three, Client(broker, "four") as four:
            await three.subscribe("a/b")
            assert await three.message() == ("a/b", "new", 1, True)
            await four.publish("a/b", b"live", retain=True)
            assert await three.message() == ("a/b", "live", 1, False)
            await three.subscribe("a/b")
            assert await three.message() == ("a/b", "live", 1, True)
            await four.publish("a/b", b"", retain=True)
            assert await three.message() == ("a/b", "", 1, False)
            await three.subscribe("a/b")
            assert await three.silence() == []

    with_broker(mode, scenario)


@BOTH
@pytest.mark.parametrize("published", [0, 1])
@pytest.mark.parametrize("wanted", [0, 1])
def test_a_message_comes_with_the_lower_qos_whether_live_retained_or_will(
    mode: str, published: int, wanted: int
) -> None:
    async def scenario(broker: Broker) -> None:
        lower = min(published, wanted)
        async with Client(broker, "one", will=Will("q/will", b"w", qos=published)) as one, Client(broker, "two") as two:
            assert await two.subscribe("q/#", qos=wanted) == [wanted]
            await one.publish("q/live", b"l", qos=published, retain=True)
            assert await two.message() == ("q/live", "l", lower, False)
            await one.abort()
            assert await two.message() == ("q/will", "w", lower, False)
            async with Client(broker, "three") as three:
                await three.subscribe("q/#", qos=wanted)
                assert {await three.message(), await three.message()} == {
                    ("q/live", "l", lower, True),
                    ("q/will", "w", lower, True),
                }

    with_broker(mode, scenario)


@BOTH
def test_messages_of_one_publisher_come_in_order_to_one_that_does_not_acknowledge(mode: str) -> None:
    async def scenario(broker: Broker) -> None:
        slow = Client(broker, "slow", acknowledges=False)
        async with Client(broker, "one") as one, slow:
            await one.publish("o/kept", b"kept", retain=True)
            await slow.subscribe("o/#")
            for number in range(10):
                await one.publish("o/x", str(number).encode())
            assert [(await slow.message())[1] for _ in range(11)] == ["kept", *map(str, range(10))]
            await slow.publish("o/own", b"heard")
            assert await slow.message() == ("o/own", "heard", 1, False)

    with_broker(mode, scenario)


@BOTH
def test_what_is_published_in_one_breath_with_disconnect_arrives(mode: str) -> None:
    async def scenario(broker: Broker) -> None:
        one = Client(broker, "one", will=Will("d/status", b"offline by will"))
        async with Client(broker, "two") as two, one:
            await two.subscribe("d/#")
            goodbye = [encode_publish("d/status", f"bye {n}".encode(), 4, qos=n % 2, retain=True) for n in range(6)]
            one.send(*goodbye, encode_disconnect())
            assert [(await two.message())[1] for _ in range(6)] == [f"bye {n}" for n in range(6)]
            await one.closed()
            assert await two.silence() == []

    with_broker(mode, scenario)


@BOTH
def test_unsubscribing_ends_the_messages(mode: str) -> None:
    async def scenario(broker: Broker) -> None:
        async with Client(broker, "one") as one:
            await one.subscribe("u/x")
            one.send(b"\xa2\x07\x00\x09\x00\x03u/x")
            assert (await one.next("UNSUBACK")).fields["id"] == 9
            await one.publish("u/x", b"x")
            assert await one.silence() == []

    with_broker(mode, scenario)


# ---------------------------------------------------------------------- wills
@BOTH
def test_an_abrupt_end_publishes_the_will_after_everything_that_was_sent_before(mode: str) -> None:
    async def scenario(broker: Broker) -> None:
        async with Client(broker, "two") as two:
            await two.subscribe("w/status")
            one = await Client(broker, "one", will=Will("w/status", b"offline")).__aenter__()
            one.send(*(encode_publish("w/status", b"online", 4, qos=1, retain=True, packet_id=n) for n in range(1, 6)))
            one.finish()
            assert [(await two.message())[1] for _ in range(6)] == ["online"] * 5 + ["offline"]
            await one.abort()
            async with Client(broker, "three") as three:
                await three.subscribe("w/status")
                assert await three.message() == ("w/status", "offline", 1, True)

    with_broker(mode, scenario)


@BOTH
@pytest.mark.parametrize("clean", [True, False])
def test_a_second_connection_of_a_client_id_ends_the_first_and_serves_the_client(mode: str, clean: bool) -> None:
    async def scenario(broker: Broker) -> None:
        def twin(word: bytes) -> Client:
            return Client(broker, "twin", clean=clean, will=Will("t/status", word))

        async with Client(broker, "two") as two:
            await two.subscribe("t/status")
            async with twin(b"first has gone") as first:
                await first.subscribe("t/x")
                async with twin(b"second has gone") as second:
                    assert second.connack.fields == {"session_present": not clean, "code": 0}
                    await first.closed()
                    await second.publish("t/status", b"online", retain=True)
                    # Mosquitto keeps the will of a session that goes on to itself; the standard does not (3.1.2.5).
                    wills = [] if mode == "local" and not clean else ["first has gone"]
                    expected = [*wills, "online"]
                    assert [(await two.message())[1] for _ in expected] == expected
                    await two.publish("t/x", b"known")
                    await second.subscribe("t/y")
                    await two.publish("t/y", b"live")
                    expected = ["live"] if clean else ["known", "live"]
                    assert [(await second.message())[1] for _ in expected] == expected
                    assert await two.silence() == []
                    await second.abort()
                    assert (await two.message())[1] == "second has gone"

    with_broker(mode, scenario)


@BOTH
def test_a_client_that_falls_silent_for_one_and_a_half_keep_alives_is_given_up(mode: str) -> None:
    async def scenario(broker: Broker) -> None:
        will = Will("k/status", b"offline")
        async with Client(broker, "two") as two, Client(broker, "one", keepalive=1, will=will) as one:
            await two.subscribe("k/status")
            one.send(b"\xc0\x00")
            await one.next("PINGRESP")
            began = asyncio.get_running_loop().time()
            assert await two.message() == ("k/status", "offline", 1, False)
            assert asyncio.get_running_loop().time() - began > 1
            await one.closed()

    with_broker(mode, scenario)


# ---------------------------------------------------------------------- sessions
@BOTH
def test_a_session_that_lasts_gets_what_came_meanwhile_once_and_unflagged(mode: str) -> None:
    async def scenario(broker: Broker) -> None:
        async with Client(broker, "two") as two:
            await two.publish("s/kept", b"kept", retain=True)
            async with Client(broker, "lasting", clean=False) as one:
                assert one.connack.fields == {"session_present": False, "code": 0}
                await one.subscribe("s/#")
                assert await one.message() == ("s/kept", "kept", 1, True)
                await one.silence()
                one.send(encode_disconnect())
                await one.closed()
            await two.publish("s/live", b"1", retain=True)
            await two.publish("s/live", b"2")
            async with Client(broker, "lasting", clean=False) as one:
                assert one.connack.fields == {"session_present": True, "code": 0}
                assert await one.silence() == [("s/live", "1", 1, False), ("s/live", "2", 1, False)]
            async with Client(broker, "lasting") as one:
                assert one.connack.fields == {"session_present": False, "code": 0}
                await two.publish("s/live", b"3")
                assert await one.silence() == []

    with_broker(mode, scenario)


@BOTH
def test_a_second_connect_on_one_connection_ends_it(mode: str) -> None:
    async def scenario(broker: Broker) -> None:
        async with Client(broker, "one") as one:
            one.send(encode_connect("one", keepalive=1, clean=True, will=None))
            await one.closed()

    with_broker(mode, scenario)


# ---------------------------------------------------------------------- starting and stopping
@BOTH
def test_a_port_that_somebody_else_holds_is_named_and_never_talked_to(mode: str) -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            other.setblocking(False)
            broker = new(mode)
            broker.port = other.getsockname()[1]
            broker._ports_left = 1
            with pytest.raises(
                ServiceError, match=f"^port {broker.port} of 127.0.0.1 is already in use, so "
            ) as refused:
                await broker.start()
            assert "ddress already in use" in str(refused.value)
            assert "\n" not in str(refused.value)
            assert broker._process is not None
            assert broker._process.exited.is_set()
            assert not broker.died.is_set()
            with pytest.raises(BlockingIOError):
                other.accept()

    asyncio.run(scenario())


@BOTH
def test_where_the_port_was_chosen_here_another_one_is_tried(mode: str) -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            broker = new(mode)
            broker.port = taken = other.getsockname()[1]
            await broker.start()
            assert broker.port != taken
            assert not broker.died.is_set()
            await broker.stop()

    asyncio.run(scenario())


def test_a_given_port_is_kept_or_refused() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            broker = Broker("mosquitto", ["/usr/sbin/mosquitto", "-c", "{config}"], config=local.CONFIG, port=port)
            with pytest.raises(ServiceError, match=f"port {port} "):
                await broker.start()
            assert broker.port == port

    asyncio.run(scenario())


@BOTH
def test_a_second_start_keeps_the_port_and_remembers_nothing(mode: str) -> None:
    async def scenario() -> None:
        broker = new(mode)
        await broker.start()
        port = broker.port
        async with Client(broker, "one", clean=False) as one:
            await one.subscribe("x")
            await one.publish("x", b"kept", retain=True)
            await broker.stop()
        assert not in_use(port)
        await broker.start()
        assert broker.port == port
        async with Client(broker, "one", clean=False) as one:
            assert one.connack.fields["session_present"] is False
            await one.subscribe("x")
            assert await one.silence() == []
        await broker.stop()
        with socket.create_server(("127.0.0.1", port)), pytest.raises(ServiceError, match=f"port {port} "):
            await broker.start()

    asyncio.run(scenario())


@pytest.mark.parametrize("full", [False, True])
def test_mosquitto_on_a_full_disk_serves_on_and_forgets_at_its_next_start(full: bool, tmp_path: Path) -> None:
    # So what such a broker does to a connector is what the scenario `restart` plays.
    found = local.find()
    assert found is not None, "Mosquitto is not installed: apt-get install mosquitto"
    kept = f"persistence true\npersistence_location {tmp_path}/\nautosave_interval 1\nautosave_on_changes true\n"
    config = local.mosquitto(*found)._config.replace("persistence false\n", kept)  # type: ignore[union-attr]
    no_room = ["sh", "-c", 'trap "" XFSZ; ulimit -f 0; exec "$@"', "sh"] if full else []

    async def scenario() -> None:
        broker = Broker("mosquitto", [*no_room, found[0], "-c", "{config}"], config=config)
        await broker.start()
        async with Client(broker, "one") as one:
            await one.publish("x", b"kept", retain=True)
            assert await eventually((tmp_path / "mosquitto.db").exists, seconds=DEADLINE, unless=broker.died)
            await one.publish("y", b"acknowledged")
        await broker.stop()
        again = Broker("mosquitto", [found[0], "-c", "{config}"], config=config)
        await again.start()
        async with Client(again, "two") as two:
            await two.subscribe("#")
            assert [payload for _, payload, *_ in await two.silence()] == ([] if full else ["kept"])
        await again.stop()

    asyncio.run(scenario())


@BOTH
def test_a_broker_that_dies_is_told_of_and_one_that_is_stopped_is_not(mode: str) -> None:
    async def scenario() -> None:
        broker = new(mode)
        await broker.start()
        await broker.stop()
        assert not broker.died.is_set()
        await broker.start()
        assert broker._process is not None
        assert broker._process.pid is not None
        os.kill(broker._process.pid, signal.SIGKILL)
        await asyncio.wait_for(broker.died.wait(), DEADLINE)
        await broker.stop()

    asyncio.run(scenario())


def test_a_broker_that_never_listens_is_ended_and_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "START_LIMIT", 0.5)

    async def scenario() -> None:
        code = "import signal; print('warming up', flush=True); signal.pause()"
        broker = Broker("deaf", [sys.executable, "-c", code], port=free_port())
        with pytest.raises(ServiceError, match=r"did not listen within .* its last lines: warming up"):
            await broker.start()
        assert broker._process is not None
        assert not psutil.pid_exists(broker._process.pid or 0)

    asyncio.run(scenario())


def test_a_broker_that_is_not_there_is_one_sentence() -> None:
    async def scenario() -> None:
        with pytest.raises(ServiceError, match="gone could not be started: /no/mosquitto cannot be started"):
            await Broker("gone", ["/no/mosquitto"]).start()

    asyncio.run(scenario())


# ---------------------------------------------------------------------- choosing
@pytest.mark.parametrize("mode", ["podman", "", "Local"])
def test_an_unknown_mode_is_refused_with_the_known_ones(mode: str) -> None:
    with pytest.raises(ServiceError, match=f"`{mode}` are not known: choose one of auto, local, embedded"):
        choose.choose(mode)


def test_the_option_offers_the_modes_that_exist() -> None:
    parser = pytest.Parser(_ispytest=True)
    plugin.pytest_addoption(parser)
    (option,) = [o for group in parser._groups for o in group.options if "--iot2mqtt-services" in o.names()]
    assert tuple(option.attrs()["choices"]) == choose.MODES


def test_the_mode_decides_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "mosquitto" in choose.choose("auto")[1]
    assert "amqtt" in choose.choose("embedded")[1]
    monkeypatch.setattr(local, "find", lambda: None)
    assert "because mosquitto is not installed" in choose.choose("auto")[1]
    with pytest.raises(ServiceError, match="install it"):
        choose.choose("local")
    monkeypatch.setattr(embedded, "find", lambda: None)
    with pytest.raises(ServiceError, match="pip install"):
        choose.choose("embedded")

    def no_engine() -> str:
        raise ServiceError("no engine")

    monkeypatch.setattr(docker, "find", no_engine)
    with pytest.raises(ServiceError, match="no broker"):
        choose.choose("auto")


def test_mosquitto_is_found_where_it_is_not_on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found: Any = local.find()
    assert found is not None
    assert found[1][0].isdigit()
