"""An MQTT-aware TCP proxy with a permanent address between connector and broker.

Every packet, both ways, is told to a listener before it is passed on, byte for byte. The proxy can play the faults of
a network and of a broker. It works in the callbacks of its sockets, not in tasks, so that what is told stands in the
order of the wire, and a fault that the listener asks for while it is told of a packet holds for that very packet.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

from iot2mqtt_conformance.encoding import encode_connack
from iot2mqtt_conformance.wire import Packet, PacketReader, Session, WireError

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: closing sends RST, not FIN."""


class OnEvent(Protocol):
    """Called for everything that happens on the wire."""

    def __call__(self, kind: str, facts: dict[str, Any], /) -> None:
        """Take one event."""


@dataclass(slots=True)
class _Faults:
    """What the proxy does to connections at the moment."""

    accepting: bool = True
    swallowing: bool = False
    losing_pubacks: tuple[str, ...] = ()
    refusal: int | None = None
    latency: float = 0.0


class _Latency:
    """Runs what it is given in order, each a while after it came."""

    def __init__(self) -> None:
        self._queue: deque[tuple[float, Callable[[], None]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def put(self, action: Callable[[], None], seconds: float) -> None:
        """Run an action after some seconds, or at once where nothing is waiting and there are none."""
        if not self._queue and not seconds:
            action()
            return
        loop = asyncio.get_running_loop()
        due = max(loop.time() + seconds, self._queue[-1][0] if self._queue else 0.0)
        self._queue.append((due, action))
        if self._timer is None:
            self._timer = loop.call_at(due, self._run)

    def clear(self) -> None:
        """Forget what is waiting."""
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue and self._queue[0][0] <= loop.time():
            # It leaves the queue afterwards: what comes in the meantime must not overtake it.
            self._queue[0][1]()
            if self._queue:
                self._queue.popleft()
        self._timer = loop.call_at(self._queue[0][0], self._run) if self._queue else None


class _End(asyncio.Protocol):
    """One socket of a link, and the direction that begins there."""

    def __init__(self, link: "_Link", name: str, direction: str, session: Session) -> None:
        self.name = name
        self.direction = direction
        self.transport: asyncio.Transport | None = None
        self.finished = False
        self.latency = _Latency()
        self._link = link
        self._packets = PacketReader(session, direction)
        self._read_all = False

    def put(self, action: Callable[[], None]) -> None:
        """Let something happen in this direction, after what is under way in it."""
        self.latency.put(action, self._link.faults.latency)

    def shut(self, *, reset: bool) -> None:
        """Close the socket, with RST and at once, or with FIN after what is still to be written."""
        self.latency.clear()
        if self.transport is None:
            return
        if not reset:
            self.transport.close()
            return
        with suppress(OSError):
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def hold(self, *, reading: bool) -> None:
        """Read on, or leave what comes with the sender until the other end has room."""
        # A transport that resumes after the end of its stream would tell of that end a second time.
        if self.transport is None or self._read_all:
            return
        if reading:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._link.made(self)

    def data_received(self, data: bytes) -> None:
        try:
            packets, fault = tuple(self._packets.feed(data)), None
        except WireError as error:
            packets, fault = error.before, error
        for packet in packets:
            self.put(partial(self._link.carry, self, packet))
        if fault is not None:
            self.put(partial(self._link.fail, self, fault))

    def eof_received(self) -> bool:
        self._read_all = True
        self.put(partial(self._link.finish, self))
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        del exc  # Why a connection was lost makes no difference to the other end.
        self._link.gone(self)

    def pause_writing(self) -> None:
        self._link.other(self).hold(reading=False)

    def resume_writing(self) -> None:
        self._link.other(self).hold(reading=True)


class _Link:
    """One connection of the connector, and its counterpart to the broker."""

    def __init__(self, number: int, faults: _Faults, tell: OnEvent, arrived: Callable[["_Link"], None]) -> None:
        self.number = number
        self.faults = faults
        self.over = False
        self.closed = asyncio.Event()
        session = Session()
        self.client = _End(self, "client", "c2b", session)
        self.broker = _End(self, "broker", "b2c", session)
        self.refusal = faults.refusal
        self._session = session
        self._tell = tell
        self._arrived = arrived
        self._open: set[_End] = set()
        self._ended_by: str | None = None
        self._clean = False
        self._hidden: Callable[[], None] | None = None

    def other(self, end: _End) -> _End:
        """Return the end that what begins at one is for."""
        return self.broker if end is self.client else self.client

    def tell(self, kind: str, **facts: Any) -> None:
        """Tell the listener of something about this connection."""
        self._tell(kind, {"conn": self.number, **facts})

    def made(self, end: _End) -> None:
        """One end is connected."""
        self._open.add(end)
        self.closed.clear()
        if self.over:
            end.shut(reset=True)
        elif end is self.client:
            self._arrived(self)

    def refuse(self) -> None:
        """Reset a caller that is not to be served at all."""
        self.over = True
        self.tell("conn.refused")
        self.client.shut(reset=True)

    def carry(self, sender: _End, packet: Packet) -> None:
        """Tell of a packet, then pass it on unless a fault is in the way."""
        if self.over:
            return
        lost = self.faults.swallowing or (sender.direction in self.faults.losing_pubacks and packet.type == "PUBACK")
        if packet.type == "DISCONNECT":
            self._ended_by = self._ended_by or sender.name
            self._clean = self._clean or sender is self.client
        mark = {"swallowed": True} if lost else {}
        self.tell("packet", dir=sender.direction, **packet.as_record(), **mark)
        if lost or self.over:
            return
        if sender is self.client and self.refusal is not None:
            self._answer(encode_connack(self.refusal, self._session.version))
            return
        receiver = self.other(sender).transport
        if receiver is not None and not receiver.is_closing():
            receiver.write(packet.raw)

    def _answer(self, connack: bytes) -> None:
        """Say no in the broker's place, and close."""
        self.client.hold(reading=False)
        self.broker.data_received(connack)
        self.broker.put(partial(self.end, "proxy", reset=False))

    def fail(self, sender: _End, error: WireError) -> None:
        """End a connection that does not speak MQTT."""
        if self.over:
            return
        self.tell("wire.error", dir=sender.direction, message=str(error))
        self.end("proxy", reset=False)

    def finish(self, sender: _End) -> None:
        """Pass on that one end will send no more; what the other still has to say is passed on too."""
        if self.over or self._hide(sender, partial(self.finish, sender)):
            return
        sender.finished = True
        self._ended_by = self._ended_by or sender.name
        receiver = self.other(sender)
        if receiver.finished or receiver.transport is None or self.faults.swallowing:
            self.end(sender.name, reset=False)
            return
        with suppress(OSError):  # It has gone as well, which it tells itself.
            receiver.transport.write_eof()

    def gone(self, end: _End) -> None:
        """One socket is closed for good: by us, or by a reset."""
        self._open.discard(end)
        end.transport = None
        if not self.over:
            end.put(partial(self._lose, end))
        elif not self._open:
            self.closed.set()

    def _lose(self, end: _End) -> None:
        if not self.over and not self._hide(end, partial(self._lose, end)):
            self.end(end.name, reset=True)

    def _hide(self, sender: _End, action: Callable[[], None]) -> bool:
        """Keep it from the client that the broker has gone, as long as everything is swallowed."""
        if sender is self.client or self.client.finished or not self.faults.swallowing:
            return False
        self._hidden = action
        return True

    def reveal(self) -> None:
        """Let happen what was hidden while everything was swallowed."""
        action, self._hidden = self._hidden, None
        if action is not None:
            action()

    def end(self, by: str, *, reset: bool) -> None:
        """Close both sockets and tell of it, once."""
        if self.over:
            return
        self.over = True
        self.abandon(reset=reset)
        self.tell("conn.close", by=self._ended_by or by, clean=self._clean)

    def abandon(self, *, reset: bool) -> None:
        """Close what is open."""
        self.client.shut(reset=reset)
        self.broker.shut(reset=reset)
        if not self._open:
            self.closed.set()


class Proxy:
    """Listens on a free loopback port until it is closed.

    Faults hold from the moment they are set until they are taken back.
    """

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._upstream = ("127.0.0.1", 0)
        self._faults = _Faults()
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0
        self.port = 0

    async def start(self, upstream: tuple[str, int], on_event: OnEvent) -> None:
        """Begin to listen: on the port that `port` names, or on a free one where that is 0.

        Args:
            upstream: Host and port of the broker.
            on_event: Told, each with the number `conn` of the connection, of

                - conn.open, once for each connection, and conn.close, once for each of them, when both directions have
                  ended: `by` (client, broker or proxy: who closed or said DISCONNECT first) and `clean` (whether the
                  client had said DISCONNECT);
                - packet: `dir` (c2b or b2c), its fields, and `swallowed` where it is not passed on;
                - conn.refused, upstream.unreachable, and wire.error: `dir` and `message`.
        """
        self._upstream = upstream
        self._tell = on_event
        # In two steps: asyncio would leave the port open where all is given up between them.
        self._server = await asyncio.get_running_loop().create_server(
            self._caller, "127.0.0.1", self.port, start_serving=False
        )
        await self._server.start_serving()
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and reset what is connected; a second call does nothing."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in list(self._links):
            link.abandon(reset=True)
            await link.closed.wait()
        await server.wait_closed()

    def set_upstream(self, upstream: tuple[str, int]) -> None:
        """Lead connections from now on to another broker."""
        self._upstream = upstream

    def cut(self, *, reset: bool = True) -> None:
        """End every live connection, on both sides: reset it, or close it after what is still to be written."""
        for link in list(self._links):
            link.end("proxy", reset=reset)

    def accept(self, accepting: bool) -> None:
        """Serve callers, or reset each at once and tell of conn.refused."""
        self._faults.accepting = accepting

    def swallow(self, swallowing: bool) -> None:
        """Discard every packet, both ways, and keep it from the connector when the broker closes; or stop to do so."""
        self._faults.swallowing = swallowing
        if not swallowing:
            for link in list(self._links):
                link.reveal()

    def refuse_connack(self, code: int | None) -> None:
        """Answer CONNECT of connections from now on with a return code of MQTT 3.1.1, such as 5, and close; or not.

        A connector that speaks MQTT 5 is told the same in the codes of its version.
        """
        self._faults.refusal = code

    def delay(self, seconds: float) -> None:
        """Pass on what comes from now on, in each direction, so many seconds later."""
        self._faults.latency = seconds

    def drop_pubacks(self, dropping: bool, *, ways: tuple[str, ...] = ("c2b", "b2c")) -> None:
        """Lose every PUBACK, both ways or one; or stop to do so."""
        self._faults.losing_pubacks = ways if dropping else ()

    def _caller(self) -> asyncio.Protocol:
        self._count += 1
        return _Link(self._count, self._faults, self._tell, self._arrived).client

    def _arrived(self, link: _Link) -> None:
        self._links = {known for known in self._links if not known.closed.is_set()} | {link}
        if not self._faults.accepting or self._server is None:
            link.refuse()
            return
        link.tell("conn.open")
        if link.over or link.refusal is not None:
            return
        link.client.hold(reading=False)
        task = asyncio.create_task(self._call(link))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call(self, link: _Link) -> None:
        """Connect a link to the broker."""
        try:
            await asyncio.get_running_loop().create_connection(lambda: link.broker, *self._upstream)
        except OSError:
            if not link.over:
                link.tell("upstream.unreachable")
                link.end("proxy", reset=True)
            return
        link.client.hold(reading=True)
