"""A TLS listener in front of the proxy: TLS is judged with any broker, and the CONNECT inside is still seen."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Self

HANDSHAKE = 10.0
"""Seconds that a handshake may take."""
CHUNK = 65_536
HELLO = b"\x16"
"""What TLS begins with; MQTT begins with 0x10."""


OnHandshake = Callable[[str, dict[str, Any]], object]
"""Takes what became of a connection: `tls.open`, `tls.failed` or `tls.plain`, and its facts."""


class TlsFront:
    """Takes TLS connections and passes on what they carry; an async context manager.

    Args:
        context: The broker's certificate, and whose clients it knows.
        target: Returns the loopback port that the bytes are for.
        tell: Told of every connection.
    """

    def __init__(self, *, context: ssl.SSLContext, target: Callable[[], int], tell: OnHandshake) -> None:
        self._context = context
        self._target = target
        self._tell = tell
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._tasks: set[asyncio.Task[None]] = set()
        self.port: int = self._listener.getsockname()[1]

    async def __aenter__(self) -> Self:
        """Begin to serve."""
        self._start(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Drop all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._listener.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self) -> None:
        while True:
            caller, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            self._start(self._serve(caller))

    async def _serve(self, caller: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        with caller:
            if await _first_byte(caller) != HELLO:
                self._tell("tls.plain", {})
                return
            try:
                transport, _ = await loop.connect_accepted_socket(
                    lambda: protocol, caller, ssl=self._context, ssl_handshake_timeout=HANDSHAKE
                )
            except OSError as error:
                self._tell("tls.failed", {"reason": str(error)})
                return
            self._tell("tls.open", {"certificate": bool(transport.get_extra_info("peercert"))})
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            try:
                await self._pass_on(reader, writer)
            finally:
                writer.close()
                transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry bytes both ways until either side ends."""
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._target())
        ways = [asyncio.create_task(_carry(reader, inner_writer)), asyncio.create_task(_carry(inner_reader, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            inner_writer.transport.abort()


async def _first_byte(caller: socket.socket) -> bytes:
    """Wait for the first byte and leave it where it is; nothing where the caller has gone."""
    loop = asyncio.get_running_loop()
    caller.setblocking(False)
    ready: asyncio.Future[None] = loop.create_future()

    def readable() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(caller, readable)
    try:
        await ready
        return caller.recv(1, socket.MSG_PEEK)
    except OSError:
        return b""
    finally:
        loop.remove_reader(caller)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
