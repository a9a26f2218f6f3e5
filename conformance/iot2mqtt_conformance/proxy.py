"""An MQTT-aware TCP proxy with a permanent address between connector and broker.

Every packet, both ways, is told to a listener before it is passed on. The proxy can cut connections, and sees calls
that come while the broker is away.
"""

import asyncio
from contextlib import suppress
from typing import Any, Protocol

from iot2mqtt_conformance.wire import PacketReader, Session, WireError

CHUNK = 65_536


class OnEvent(Protocol):
    """Called for everything that happens on the wire."""

    def __call__(self, kind: str, facts: dict[str, Any], /) -> None:
        """Take one event."""


class _Link:
    """One connection of the connector, and its counterpart to the broker."""

    def __init__(self, number: int, client: asyncio.StreamWriter, broker: asyncio.StreamWriter) -> None:
        self.number = number
        self.writers = {"c2b": broker, "b2c": client}
        self.clean = False
        self.closed_by: str | None = None

    def abort(self, by: str) -> None:
        self.closed_by = self.closed_by or by
        for writer in self.writers.values():
            writer.transport.abort()


class Proxy:
    """Listens on a free loopback port until it is closed."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._upstream = ("127.0.0.1", 0)
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0

    async def start(self, upstream: tuple[str, int], on_event: OnEvent) -> None:
        """Begin to listen.

        Args:
            upstream: Host and port of the broker.
            on_event: Told of conn.open, packet, conn.close, upstream.unreachable and wire.error.
        """
        self._upstream = upstream
        self._tell = on_event
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and drop what is connected."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Reset every live connection, on both sides."""
        for link in self._links:
            link.abort("proxy")

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._count += 1
        task = asyncio.create_task(self._serve(self._count, reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            broker_reader, broker_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            self._tell("upstream.unreachable", {"conn": number})
            writer.transport.abort()
            return
        link, session = _Link(number, writer, broker_writer), Session()
        self._links.add(link)
        self._tell("conn.open", {"conn": number})
        pumps = [
            asyncio.create_task(self._pump(link, session, "c2b", reader)),
            asyncio.create_task(self._pump(link, session, "b2c", broker_reader)),
        ]
        try:
            # Whoever closes first ends the connection: MQTT has no use for one that is half open.
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._links.discard(link)
            self._tell("conn.close", {"conn": number, "by": link.closed_by or "client", "clean": link.clean})
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for end in link.writers.values():
                end.close()
            for end in link.writers.values():
                with suppress(OSError):
                    await end.wait_closed()

    async def _pump(self, link: _Link, session: Session, direction: str, reader: asyncio.StreamReader) -> None:
        """Pass on one direction, packet by packet, until it ends."""
        packets = PacketReader(session, direction)
        writer = link.writers[direction]
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                try:
                    found = packets.feed(data)
                except WireError as error:
                    self._tell("wire.error", {"conn": link.number, "dir": direction, "message": str(error)})
                    break
                for packet in found:
                    link.clean |= packet.type == "DISCONNECT" and direction == "c2b"
                    self._tell("packet", {"conn": link.number, "dir": direction, "type": packet.type, **packet.fields})
                    writer.write(packet.raw)
                await writer.drain()
        link.closed_by = link.closed_by or ("client" if direction == "c2b" else "broker")
