"""What is to be sent: kept while the broker is away, and until the broker has acknowledged it (clause I2M-PUB-06)."""

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

_log = logging.getLogger("iot2mqtt")

UNACKNOWLEDGED = 1000
"""Messages that may be on their way at a time; what comes then waits, so that a silent broker fills no memory."""
WAITING = 1000
"""Messages of no group that wait at the most; the oldest go first."""
BRIEF = 5.0
"""Seconds within which a broker closes the connection on a message that it refuses."""
TRIES = 5
"""Brief connections in a row that may end with a message on the same topic first in line, before that is dropped.

A broker closes the connection on a message that it refuses, a too large one for instance. To send it for ever would
keep the instance, with all of its devices, offline for ever.
"""

BURST = 50_000
"""The same while there is a connection, where a burst need only wait for the broker to keep up."""

Send = Callable[["Outgoing"], int | None]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message.

    Attributes:
        topic: The whole topic.
        text: The JSON text; an object gets the time of sending where it is `stamped`.
        qos: 0, 1 or 2.
        retain: Whether the broker keeps it.
        group: The topic of the message that this one is sent with, as a property is with its state, or its own if
            that is this one. A newer group of the name makes an older one worthless, and all or nothing of one is sent.
        stamped: Whether `timestamp` is put into it when it is sent (clause I2M-PUB-03).
    """

    topic: str
    text: bytes
    qos: int
    retain: bool
    group: str | None = None
    stamped: bool = False


class _Waiting:
    """Messages that wait: the latest group of a name where that is enough, and a bounded number of others."""

    def __init__(self) -> None:
        self._begun: deque[Outgoing] = deque()
        self._others: deque[Outgoing] = deque()
        self._groups: OrderedDict[str, deque[Outgoing]] = OrderedDict()

    def put(self, message: Outgoing, most: int) -> int:
        """Keep a message, and at the most so many that are of no group; return how many had to go."""
        if message.group is None:
            self._others.append(message)
            gone = max(0, len(self._others) - most)
            for _ in range(gone):
                self._others.popleft()
            return gone
        if message.group == message.topic:
            self._groups.pop(message.group, None)
            self._groups[message.group] = deque([message])
        else:
            # Where the first of its group waits no more, that has been sent.
            self._groups.get(message.group, self._begun).append(message)
        return 0

    def first(self) -> Outgoing | None:
        """Return the message to send first: what cannot be said again goes before states, but into none of them."""
        if self._begun or self._others:
            return (self._begun or self._others)[0]
        return next(iter(self._groups.values()))[0] if self._groups else None

    def take(self) -> None:
        """Remove the message to send first."""
        if self._begun or self._others:
            (self._begun or self._others).popleft()
        else:
            self._begun = self._groups.popitem(last=False)[1]
            self._begun.popleft()

    def drain(self) -> Iterator[Outgoing]:
        """Remove and return all messages, first things first."""
        while (message := self.first()) is not None:
            self.take()
            yield message

    def __bool__(self) -> bool:
        return bool(self._begun or self._others or self._groups)


class Outbox:
    """Sends messages in order, from any thread.

    Args:
        send: Hands a message to the connection and returns its number, or None where there is no connection.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._open = False
        self._waiting = _Waiting()
        self._sent: dict[int, Outgoing] = {}
        self._acknowledged: deque[int] = deque()
        self._lost = 0
        self._opened = 0.0
        self._suspect: str | None = None
        self._tries = 0

    def put(self, messages: Iterable[Outgoing]) -> None:
        """Send messages now, or as soon as the broker is there and keeps up."""
        with self._lock:
            for message in messages:
                self._put(message)
        self._settle()

    def open(self) -> None:
        """There is a connection: send what waits."""
        with self._lock:
            self._open = True
            self._opened = time.monotonic()
            self._acknowledged.clear()
            self._pump()

    def close(self) -> None:
        """The connection is gone: keep what was not acknowledged, to be sent before what has come since."""
        with self._lock:
            self._open = False
            self._note_acknowledged()
            self._drop_what_ends_connections()
            later, self._waiting = self._waiting, _Waiting()
            for message in self._sent.values():
                self._keep(message)
            self._sent.clear()
            for message in later.drain():
                self._keep(message)

    def _drop_what_ends_connections(self) -> None:
        number = next(iter(self._sent), None)
        if number is None or time.monotonic() - self._opened > BRIEF:
            self._suspect = None
            return
        first = self._sent[number]
        self._tries = self._tries + 1 if first.topic == self._suspect else 1
        self._suspect = first.topic
        if self._tries >= TRIES:
            del self._sent[number]
            _log.error(
                "%d connections in a row ended when a message of %d bytes on %s was sent; it is dropped: the broker "
                "seems to refuse it",
                TRIES,
                len(first.text),
                first.topic,
            )

    def acknowledge(self, number: int) -> None:
        """Note that the broker has a message.

        The connection calls this with a lock of its own held that sending takes as well. So it must not wait for ours:
        whoever has that settles what was noted.
        """
        self._acknowledged.append(number)
        self._settle()

    def _settle(self) -> None:
        while self._acknowledged and self._lock.acquire(blocking=False):
            try:
                self._note_acknowledged()
                self._pump()
            finally:
                self._lock.release()

    def _note_acknowledged(self) -> None:
        while self._acknowledged:
            self._sent.pop(self._acknowledged.popleft(), None)

    def _pump(self) -> None:
        while self._room() and (message := self._waiting.first()) is not None and self._pass_on(message):
            self._waiting.take()
        if self._lost and self._open and not self._waiting:
            lost, self._lost = self._lost, 0
            _log.warning("%d messages were dropped: only the latest %d wait while the broker is away", lost, WAITING)

    def _put(self, message: Outgoing) -> None:
        if not self._room() or self._waiting or not self._pass_on(message):
            self._keep(message)

    def _room(self) -> bool:
        return self._open and len(self._sent) < UNACKNOWLEDGED

    def _pass_on(self, message: Outgoing) -> bool:
        number = self._send(message)
        if number is None:
            self._open = False
            return False
        self._sent[number] = message
        return True

    def _keep(self, message: Outgoing) -> None:
        self._lost += self._waiting.put(message, BURST if self._open else WAITING)
