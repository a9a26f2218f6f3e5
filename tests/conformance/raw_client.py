"""An MQTT 3.1.1 client that sends what it is told, bytes for bytes, and sees every packet of a broker."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from iot2mqtt_conformance.encoding import encode_publish, encode_subscribe
from iot2mqtt_conformance.services.base import Broker
from iot2mqtt_conformance.wire import Packet, PacketReader, Session

DEADLINE = 10.0


@dataclass
class Will:
    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True


def encode_connect(name: str, *, keepalive: int, clean: bool, will: Will | None) -> bytes:
    def field(data: bytes) -> bytes:
        return len(data).to_bytes(2) + data

    flags = clean << 1
    body = field(name.encode())
    if will is not None:
        flags |= 4 | will.qos << 3 | will.retain << 5
        body += field(will.topic.encode()) + field(will.payload)
    rest = field(b"MQTT") + bytes([4, flags]) + keepalive.to_bytes(2) + body
    return bytes([0x10, len(rest)]) + rest


class Client:
    """A client that does nothing by itself but acknowledge, and sees every packet."""

    def __init__(
        self,
        broker: Broker,
        name: str,
        *,
        clean: bool = True,
        keepalive: int = 60,
        will: Will | None = None,
        acknowledges: bool = True,
    ) -> None:
        self._address = (broker.host, broker.port)
        self._hello = encode_connect(name, keepalive=keepalive, clean=clean, will=will)
        self._reader = PacketReader(Session(version=4), "b2c")
        self._acknowledges = acknowledges
        self._arrived: list[Packet] = []
        self._count = 0

    async def __aenter__(self) -> Self:
        self._in, self._out = await asyncio.open_connection(*self._address)
        self._out.write(self._hello)
        self.connack = await self.next("CONNACK")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.abort()

    async def abort(self) -> None:
        """Close without DISCONNECT."""
        self._out.transport.abort()
        with suppress(OSError):
            await self._out.wait_closed()

    def finish(self) -> None:
        """Close the sending half without DISCONNECT: what was sent is still read."""
        self._out.write_eof()

    def send(self, *packets: bytes) -> None:
        self._out.write(b"".join(packets))

    async def next(self, kind: str) -> Packet:
        """Return the next packet of a kind; what comes before it stays for later."""
        async with asyncio.timeout(DEADLINE):
            while True:
                for packet in self._arrived:
                    if packet.type == kind:
                        self._arrived.remove(packet)
                        return packet
                self._take(await self._in.read(65_536))

    def _take(self, data: bytes) -> None:
        if not data:
            raise ConnectionResetError
        for packet in self._reader.feed(data):
            self._arrived.append(packet)
            if packet.type == "PUBLISH" and packet.fields["qos"] == 1 and self._acknowledges:
                self.send(b"\x40\x02" + packet.fields["id"].to_bytes(2))

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish, and wait for the acknowledgement of QoS 1."""
        self._count += 1
        self.send(encode_publish(topic, payload, 4, qos=qos, retain=retain, packet_id=self._count))
        if qos:
            assert (await self.next("PUBACK")).fields["id"] == self._count

    async def subscribe(self, *filters: str, qos: int = 1) -> list[int]:
        self._count += 1
        self.send(encode_subscribe(self._count, dict.fromkeys(filters, qos), 4))
        codes: list[int] = (await self.next("SUBACK")).fields["codes"]
        return codes

    async def message(self) -> tuple[str, str, int, bool]:
        """Return the next message: topic, payload, QoS and retain flag."""
        fields = (await self.next("PUBLISH")).fields
        return fields["topic"], fields["payload"], fields["qos"], fields["retain"]

    async def silence(self) -> list[tuple[str, str, int, bool]]:
        """Return all messages up to one of its own, which proves that no other was under way."""
        await self.subscribe(own := f"silence/{self._count}")
        await self.publish(own, b"")
        found = []
        while (message := await self.message())[0] != own:
            found.append(message)
        return found

    async def closed(self) -> None:
        """Wait until the broker has closed the connection."""
        async with asyncio.timeout(DEADLINE):
            with suppress(ConnectionResetError):
                while True:
                    self._take(await self._in.read(65_536))
