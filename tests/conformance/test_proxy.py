"""The proxy between real paho clients and a real Mosquitto, with and without faults."""

import asyncio
import contextlib
import hashlib
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from iot2mqtt_conformance.encoding import (
    encode_connack,
    encode_connect,
    encode_disconnect,
    encode_publish,
    encode_subscribe,
)
from iot2mqtt_conformance.ports import free_port
from iot2mqtt_conformance.proxy import Proxy
from iot2mqtt_conformance.wire import Packet, PacketReader, Session

DEADLINE = 15
BOTH = pytest.mark.parametrize("version", [4, 5])
Address = tuple[str, int]


@contextmanager
def mosquitto(folder: Path) -> Iterator[tuple[Address, subprocess.Popen[bytes]]]:
    port = free_port()
    config = folder / "mosquitto.conf"
    lines = [f"listener {port} 127.0.0.1", "allow_anonymous true", "persistence false", "user root"]
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with subprocess.Popen(["/usr/sbin/mosquitto", "-c", str(config)], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until_it_listens(port, process)
            yield ("127.0.0.1", port), process
        finally:
            process.terminate()


def wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        assert process.poll() is None, "mosquitto ended"
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
    pytest.fail("mosquitto does not listen")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    with mosquitto(tmp_path_factory.mktemp("broker")) as (address, _):
        yield address


class Events:
    """What the proxy tells, to be waited for."""

    def __init__(self) -> None:
        self.all: list[tuple[str, dict[str, Any]]] = []
        self.react: Callable[[str, dict[str, Any]], None] = lambda _kind, _facts: None
        self._news = asyncio.Event()

    def __call__(self, kind: str, facts: dict[str, Any], /) -> None:
        self.all.append((kind, facts))
        self._news.set()
        self.react(kind, facts)

    def of(self, kind: str, **wanted: Any) -> list[dict[str, Any]]:
        return [f for k, f in self.all if k == kind and all(f.get(name) == value for name, value in wanted.items())]

    async def until(self, kind: str, *, count: int = 1, **wanted: Any) -> dict[str, Any]:
        """Return the count-th event that fits, once it is there."""
        async with asyncio.timeout(DEADLINE):
            while len(self.of(kind, **wanted)) < count:
                self._news.clear()
                await self._news.wait()
        return self.of(kind, **wanted)[count - 1]


class Phone:
    """A paho client in its own network thread, with what it received."""

    def __init__(self, version: int) -> None:
        protocol = MQTTProtocolVersion(MQTTv5 if version == 5 else MQTTv311)
        self.client = Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        self.client.on_message = self._on_message
        self.client.on_connect = lambda _c, _u, _f, reason, _p: self._tell(self.answers, str(reason))
        self.client.on_subscribe = lambda _c, _u, number, _r, _p: self._tell(self.subscribed, number)
        self.messages: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.answers: asyncio.Queue[str] = asyncio.Queue()
        self.subscribed: asyncio.Queue[int] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def _tell(self, queue: asyncio.Queue[Any], item: Any) -> None:
        self._loop.call_soon_threadsafe(queue.put_nowait, item)

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._tell(self.messages, (message.topic, message.payload))

    async def message(self) -> tuple[str, bytes]:
        async with asyncio.timeout(DEADLINE):
            return await self.messages.get()

    async def answer(self) -> str:
        async with asyncio.timeout(DEADLINE):
            return await self.answers.get()

    async def follow(self, topic: str) -> None:
        self.client.subscribe(topic, qos=1)
        async with asyncio.timeout(DEADLINE):
            await self.subscribed.get()

    async def publish(self, topic: str, payload: bytes) -> None:
        message = self.client.publish(topic, payload, qos=1)
        await asyncio.to_thread(message.wait_for_publish, DEADLINE)
        assert message.is_published()


@asynccontextmanager
async def phone(
    port: int, version: int = 4, prepare: Callable[[Client], object] = lambda _client: None
) -> AsyncIterator[Phone]:
    """A client that calls a port; whether it is accepted is the test's business."""
    it = Phone(version)
    prepare(it.client)
    await asyncio.to_thread(it.client.connect, "127.0.0.1", port)
    it.client.loop_start()
    try:
        yield it
    finally:
        it.client.disconnect()
        await asyncio.to_thread(it.client.loop_stop)


class Raw:
    """A client without a library, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._packets = PacketReader(Session(4), "b2c")
        self._found: list[Packet] = []

    async def packet(self) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE):
            while not self._found:
                data = await self.reader.read(65536)
                assert data, "closed"
                self._found = self._packets.feed(data)
        return self._found.pop(0).as_record()

    async def rest(self) -> bytes:
        async with asyncio.timeout(DEADLINE):
            return await self.reader.read()


@asynccontextmanager
async def raw(port: int, data: bytes = b"") -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        yield Raw(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def holds(condition: Callable[[], bool]) -> None:
    """Let the loop run until something is so that nobody tells of."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)


def proxied(upstream: Address, scenario: Callable[[Proxy, Events], Awaitable[None]]) -> Events:
    """Run a scenario with a proxy, and see to it that the proxy leaves nothing behind."""

    async def play() -> Events:
        proxy, events = Proxy(), Events()
        await proxy.start(upstream, events)
        try:
            await scenario(proxy, events)
        finally:
            await proxy.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert len(events.of("conn.open")) == len(events.of("conn.close"))
        return events

    return asyncio.run(play())


@asynccontextmanager
async def upstream_of(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[Address]:
    """A broker that does nothing but what the test says."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[:2]


@BOTH
def test_messages_and_their_acknowledgements_pass_both_ways_and_are_told(broker: Address, version: int) -> None:
    async def scenario(proxy: Proxy, events: Events) -> None:
        topic, payload = f"forward/{version}", bytes(range(256)) * 4096
        async with phone(proxy.port, version) as it:
            assert await it.answer() == "Success"
            await it.follow(topic)
            await it.publish(topic, payload)
            assert await it.message() == (topic, payload)
            await it.publish(topic, b"small")
            assert await it.message() == (topic, b"small")
        closed = await events.until("conn.close")
        assert (closed["by"], closed["clean"]) == ("client", True)

    events = proxied(broker, scenario)
    told = [(f["dir"], f["type"]) for f in events.of("packet")]
    assert told[:4] == [("c2b", "CONNECT"), ("b2c", "CONNACK"), ("c2b", "SUBSCRIBE"), ("b2c", "SUBACK")]
    for direction in ("c2b", "b2c"):
        large, small = events.of("packet", type="PUBLISH", dir=direction)
        assert large["payload_sha256"] == hashlib.sha256(bytes(range(256)) * 4096).hexdigest()
        assert (small["payload"], small["qos"]) == ("small", 1)
        sent = [f["id"] for f in (large, small)]
        back = "b2c" if direction == "c2b" else "c2b"
        assert [f["id"] for f in events.of("packet", type="PUBACK", dir=back)] == sent
    assert events.of("packet", type="CONNECT")[0]["version"] == version
    assert told[-1] == ("c2b", "DISCONNECT")
    assert [events.all[0][0], events.all[-1][0]] == ["conn.open", "conn.close"]


def test_a_packet_is_told_before_the_broker_has_it(broker: Address) -> None:
    async def scenario(proxy: Proxy, events: Events) -> None:
        def on_event(_kind: str, facts: dict[str, Any]) -> None:
            if facts.get("type") == "PUBLISH":
                proxy.cut()

        async with phone(broker[1]) as watcher, raw(proxy.port, encode_connect("early", 4)) as client:
            await watcher.follow("early")
            await client.packet()
            events.react = on_event
            client.writer.write(encode_publish("early", b"never", 4))
            await events.until("conn.close", by="proxy")
            await watcher.publish("early", b"later")
            assert await watcher.message() == ("early", b"later")

    proxied(broker, scenario)


def test_a_client_that_stops_sending_still_gets_what_is_on_its_way(broker: Address) -> None:
    async def scenario(proxy: Proxy, events: Events) -> None:
        said = encode_connect("half", 4) + encode_publish("half", b"1", 4, qos=1, packet_id=9)
        async with raw(proxy.port, said) as client:
            client.writer.write_eof()
            assert await client.rest() == encode_connack(0, 4) + bytes.fromhex("40 02 00 09")
        closed = await events.until("conn.close")
        assert (closed["by"], closed["clean"]) == ("client", False)

    proxied(broker, scenario)


@BOTH
def test_a_cut_resets_the_client_makes_the_broker_send_the_will_and_lets_it_call_again(
    broker: Address, version: int
) -> None:
    topic = f"cut/{version}"

    async def scenario(proxy: Proxy, events: Events) -> None:
        async with (
            phone(broker[1], version) as watcher,
            phone(proxy.port, version, lambda c: c.will_set(topic, "gone", qos=1)) as it,
            raw(proxy.port, encode_connect("bystander", 4)) as bystander,
        ):
            await watcher.follow(topic)
            assert (await it.answer(), (await bystander.packet())["code"]) == ("Success", 0)
            proxy.cut()
            assert [(f["by"], f["clean"]) for f in events.of("conn.close")] == [("proxy", False)] * 2
            with pytest.raises(ConnectionResetError):
                await bystander.rest()
            assert await watcher.message() == (topic, b"gone")
            assert await it.answer() == "Success"
            await it.publish(topic, b"back")
            assert await watcher.message() == (topic, b"back")

    proxied(broker, scenario)


def test_nothing_is_told_of_a_connection_after_its_cut(broker: Address) -> None:
    async def scenario(proxy: Proxy, events: Events) -> None:
        async with raw(proxy.port, encode_connect("late", 4)) as client:
            await client.packet()
            client.writer.write(encode_publish("late", b"x" * 500_000, 4) * 8)
            await events.until("packet", type="PUBLISH")
            proxy.cut()
            count = len(events.all)
            with contextlib.suppress(ConnectionError):
                await client.rest()
        assert len(events.all) == count

    proxied(broker, scenario)


def test_while_nobody_is_accepted_every_call_is_reset_and_told(broker: Address) -> None:
    async def scenario(proxy: Proxy, events: Events) -> None:
        async with raw(proxy.port, encode_connect("inside", 4)) as inside:
            await inside.packet()
            proxy.accept(False)
            for number in (1, 2):
                async with raw(proxy.port) as client:
                    with pytest.raises(ConnectionResetError):
                        await client.rest()
                await events.until("conn.refused", count=number)
            inside.writer.write(b"\xc0\x00")
            assert (await inside.packet())["type"] == "PINGRESP"
            proxy.accept(True)
            async with raw(proxy.port, encode_connect("again", 4)) as client:
                assert (await client.packet())["code"] == 0

    events = proxied(broker, scenario)
    assert len(events.of("conn.refused")) == 2


def test_what_is_swallowed_reaches_nobody_and_the_connection_goes_on_afterwards(broker: Address) -> None:
    async def scenario(proxy: Proxy, events: Events) -> None:
        async with phone(broker[1]) as watcher, phone(proxy.port) as it:
            await watcher.follow("swallow/up")
            await it.follow("swallow/down")
            proxy.swallow(True)
            it.client.publish("swallow/up", b"lost")
            await events.until("packet", dir="c2b", payload="lost", swallowed=True)
            await watcher.publish("swallow/down", b"lost")
            await events.until("packet", dir="b2c", payload="lost", swallowed=True)
            proxy.swallow(False)
            it.client.publish("swallow/up", b"seen")
            await watcher.publish("swallow/down", b"seen")
            assert await watcher.message() == ("swallow/up", b"seen")
            assert await it.message() == ("swallow/down", b"seen")

    events = proxied(broker, scenario)
    assert len(events.of("conn.open")) == 1
    assert not any("swallowed" in f for f in events.of("packet", payload="seen"))


@pytest.mark.parametrize("reset", [False, True])
def test_a_swallowed_client_does_not_learn_that_the_broker_has_gone(reset: bool) -> None:
    async def scenario(proxy: Proxy, events: Events) -> None:
        leave = asyncio.Event()
        left = asyncio.Event()

        async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await leave.wait()
            if reset:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            left.set()

        async with upstream_of(serve) as address:
            proxy.set_upstream(address)
            async with raw(proxy.port, encode_connect("hole", 4)) as client:
                await events.until("packet", type="CONNECT")
                (link,) = proxy._links
                proxy.swallow(True)
                leave.set()
                await left.wait()
                await holds(lambda: link._hidden is not None)
                client.writer.write(b"\xc0\x00")
                await events.until("packet", type="PINGREQ", swallowed=True)
                assert not events.of("conn.close")
                proxy.swallow(False)
                with contextlib.suppress(ConnectionResetError):
                    assert await client.rest() == b""
            assert (await events.until("conn.close"))["by"] == "broker"

    proxied(("127.0.0.1", 1), scenario)


def test_a_swallowed_client_that_gives_up_is_told_and_its_will_is_sent(broker: Address) -> None:
    async def scenario(proxy: Proxy, events: Events) -> None:
        async with phone(broker[1]) as watcher:
            await watcher.follow("gaveup")
            async with phone(proxy.port, prepare=lambda c: c.will_set("gaveup", "gone", qos=1)) as it:
                await it.answer()
                proxy.swallow(True)
            closed = await events.until("conn.close")
            assert (closed["by"], closed["clean"]) == ("client", True)
            assert await watcher.message() == ("gaveup", b"gone")

    proxied(broker, scenario)


@BOTH
def test_a_refused_connect_is_answered_in_its_version_without_a_broker(version: int) -> None:
    async def scenario(proxy: Proxy, events: Events) -> None:
        proxy.refuse_connack(5)
        async with phone(proxy.port, version) as it:
            assert await it.answer() == "Not authorized"
            assert (await events.until("conn.close"))["by"] == "proxy"

    events = proxied(("127.0.0.1", 1), scenario)
    told = [f["type"] for f in events.of("packet", conn=1)]
    assert told == ["CONNECT", "CONNACK"]
    assert events.of("packet", type="CONNACK")[0]["code"] == (0x87 if version == 5 else 5)


def test_credentials_that_were_refused_are_accepted_once_the_refusal_is_taken_back(broker: Address) -> None:
    async def scenario(proxy: Proxy, events: Events) -> None:
        proxy.refuse_connack(4)
        connect = encode_connect("user", 4, username="u", password="p")
        async with raw(proxy.port, connect) as client:
            assert await client.rest() == encode_connack(4, 4)
        proxy.refuse_connack(None)
        async with raw(proxy.port, connect) as client:
            assert (await client.packet())["code"] == 0
        assert [f["password"] for f in events.of("packet", type="CONNECT")] == ["p", "p"]

    proxied(broker, scenario)


def test_a_delay_holds_for_each_direction_keeps_the_order_and_does_not_add_up(broker: Address) -> None:
    seconds, number = 0.2, 50

    async def scenario(proxy: Proxy, events: Events) -> None:
        async with raw(proxy.port, encode_connect("slow", 4) + encode_subscribe(1, {"slow": 0}, 4)) as client:
            assert [(await client.packet())["type"] for _ in range(2)] == ["CONNACK", "SUBACK"]
            proxy.delay(seconds)
            began = time.monotonic()
            for value in range(number):
                client.writer.write(encode_publish("slow", str(value).encode(), 4))
                await client.writer.drain()
            seen = [(await client.packet())["payload"] for _ in range(number)]
            took = time.monotonic() - began
            assert seen == [str(value) for value in range(number)]
            assert 2 * seconds <= took < number * seconds / 2
            client.writer.write(encode_publish("slow", b"before", 4))
            await client.writer.drain()
            proxy.delay(0)
            client.writer.write(encode_publish("slow", b"after", 4) + encode_disconnect())
            assert await client.rest() == encode_publish("slow", b"before", 4) + encode_publish("slow", b"after", 4)
        assert (await events.until("conn.close"))["clean"] is True

    proxied(broker, scenario)


def test_a_lost_puback_makes_the_publisher_send_again_after_reconnecting(broker: Address) -> None:
    async def scenario(proxy: Proxy, events: Events) -> None:
        async with phone(proxy.port) as it:
            await it.answer()
            proxy.drop_pubacks(True)
            message = it.client.publish("again", b"1", qos=1)
            await events.until("packet", type="PUBACK", dir="b2c", swallowed=True)
            assert not message.is_published()
            proxy.drop_pubacks(False)
            proxy.cut()
            await asyncio.to_thread(message.wait_for_publish, DEADLINE)
            assert message.is_published()

    events = proxied(broker, scenario)
    assert [f["dup"] for f in events.of("packet", type="PUBLISH", dir="c2b")] == [False, True]


def test_a_broker_that_is_away_is_told_and_another_one_is_called_once_named(broker: Address) -> None:
    async def scenario(proxy: Proxy, events: Events) -> None:
        async with raw(proxy.port, encode_connect("away", 4)) as client:
            with contextlib.suppress(ConnectionResetError):
                assert await client.rest() == b""
        await events.until("upstream.unreachable", conn=1)
        proxy.set_upstream(broker)
        async with raw(proxy.port, encode_connect("away", 4)) as client:
            assert (await client.packet())["code"] == 0

    events = proxied(("127.0.0.1", free_port()), scenario)
    assert events.of("conn.close")[0]["by"] == "proxy"


def test_a_broker_that_stops_is_named_as_the_one_who_closed(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as (address, process):

        async def scenario(proxy: Proxy, events: Events) -> None:
            async with raw(proxy.port, encode_connect("orphan", 4)) as client:
                await client.packet()
                process.send_signal(signal.SIGTERM)
                assert await client.rest() == b""
            closed = await events.until("conn.close")
            assert (closed["by"], closed["clean"]) == ("broker", False)

        proxied(address, scenario)


def test_a_client_that_speaks_no_mqtt_is_told_and_what_it_said_before_reaches_the_broker(broker: Address) -> None:
    async def scenario(proxy: Proxy, events: Events) -> None:
        async with phone(broker[1]) as watcher:
            await watcher.follow("noise")
            said = encode_connect("noise", 4) + encode_publish("noise", b"sense", 4)
            async with raw(proxy.port, said + b"\x00noise") as client:
                assert (await events.until("wire.error"))["dir"] == "c2b"
                with contextlib.suppress(ConnectionResetError):
                    await client.rest()
            assert (await events.until("conn.close"))["by"] == "proxy"
            assert await watcher.message() == ("noise", b"sense")
            async with raw(proxy.port, b"GET / HTTP/1.1\r\n") as browser:
                await events.until("wire.error", conn=2)
                with contextlib.suppress(ConnectionResetError):
                    assert await browser.rest() == b""

    proxied(broker, scenario)


def test_a_client_that_does_not_read_holds_up_the_broker_instead_of_filling_memory() -> None:
    packet = encode_publish("flood", b"x" * 1_000_000, 4)
    number = 48

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(encode_connect("slow", 4)))
        for _ in range(number):
            writer.write(packet)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def scenario(proxy: Proxy, events: Events) -> None:
        async with upstream_of(serve) as address:
            proxy.set_upstream(address)
            async with raw(proxy.port, encode_connect("slow", 4)) as client:
                await events.until("packet", type="CONNECT")
                (link,) = proxy._links
                await holds(lambda: link.broker.transport is not None and not link.broker.transport.is_reading())
                assert len(events.of("packet", type="PUBLISH")) < number
                assert link.client.transport is not None
                assert link.client.transport.get_write_buffer_size() < 4 * len(packet)
                assert await client.rest() == packet * number
            await events.until("conn.close", by="broker")

    proxied(("127.0.0.1", 1), scenario)


def test_closing_resets_a_client_that_does_not_read_and_ends_listening(broker: Address) -> None:
    async def play() -> None:
        proxy, events = Proxy(), Events()
        await proxy.start(broker, events)
        said = encode_connect("deaf", 4) + encode_subscribe(1, {"deaf": 0}, 4)
        async with raw(proxy.port, said) as client:
            await events.until("packet", type="SUBACK")
            client.writer.write(encode_publish("deaf", b"x" * 1_000_000, 4) * 16)
            await events.until("packet", type="PUBLISH", dir="b2c")
            await proxy.close()
            await proxy.close()
            with pytest.raises(ConnectionResetError):
                await client.rest()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", proxy.port)
        assert [f["by"] for f in events.of("conn.close")] == ["proxy"]

    asyncio.run(play())


def test_a_call_that_is_still_on_its_way_to_the_broker_is_dropped_on_closing(broker: Address) -> None:
    async def scenario(proxy: Proxy, events: Events) -> None:
        async with raw(proxy.port, encode_connect("early", 4)):
            await events.until("conn.open")

    events = proxied(broker, scenario)
    assert len(events.of("conn.close")) == 1
