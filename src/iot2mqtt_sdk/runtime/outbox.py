"""What is to be sent: kept while the broker is away, and until the broker has acknowledged it (clause I2M-PUB-06)."""

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_log = logging.getLogger("iot2mqtt")

UNACKNOWLEDGED = 2000
"""Messages that may be on their way at a time; what comes then waits, so that a silent broker fills no memory."""
WAITING = 1000
"""Messages other than the latest of a topic that wait at the most; the oldest go first."""

Send = Callable[["Outgoing"], int | None]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message.

    Attributes:
        topic: The whole topic.
        body: The value that becomes JSON; an object gets the time of sending where it is `stamped`.
        qos: 0, 1 or 2.
        retain: Whether the broker keeps it.
        latest: Whether it makes an older one on the same topic worthless, as a state does.
        stamped: Whether `timestamp` is put into it when it is sent (clause I2M-PUB-03).
    """

    topic: str
    body: Any
    qos: int
    retain: bool
    latest: bool = False
    stamped: bool = False


class _Waiting:
    """Messages that wait: the latest of each topic where that is enough, and a bounded number of others."""

    def __init__(self) -> None:
        self._latest: OrderedDict[str, Outgoing] = OrderedDict()
        self._others: deque[Outgoing] = deque()

    def put(self, message: Outgoing) -> bool:
        """Keep a message; False where an older one had to go for it."""
        if message.latest:
            self._latest.pop(message.topic, None)
            self._latest[message.topic] = message
            return True
        self._others.append(message)
        if len(self._others) <= WAITING:
            return True
        self._others.popleft()
        return False

    def take(self) -> Outgoing | None:
        """Remove and return the message to send first: what cannot be said again goes before states."""
        if self._others:
            return self._others.popleft()
        return self._latest.popitem(last=False)[1] if self._latest else None

    def drain(self) -> Iterator[Outgoing]:
        """Remove and return all messages, first things first."""
        while (message := self.take()) is not None:
            yield message

    def __bool__(self) -> bool:
        return bool(self._latest or self._others)


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
            self._acknowledged.clear()
            lost, self._lost = self._lost, 0
            self._pump()
        if lost:
            _log.warning("%d messages were dropped while the broker was away: only the latest %d wait", lost, WAITING)

    def close(self) -> None:
        """The connection is gone: keep what was not acknowledged, to be sent before what has come since."""
        with self._lock:
            self._open = False
            later, self._waiting = self._waiting, _Waiting()
            for message in self._sent.values():
                self._keep(message)
            self._sent.clear()
            for message in later.drain():
                self._keep(message)

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
                while self._acknowledged:
                    self._sent.pop(self._acknowledged.popleft(), None)
                self._pump()
            finally:
                self._lock.release()

    def _pump(self) -> None:
        while self._open and len(self._sent) < UNACKNOWLEDGED and (message := self._waiting.take()) is not None:
            self._pass_on(message)

    def _put(self, message: Outgoing) -> None:
        if self._open and not self._waiting and len(self._sent) < UNACKNOWLEDGED:
            self._pass_on(message)
        else:
            self._keep(message)

    def _pass_on(self, message: Outgoing) -> None:
        number = self._send(message)
        if number is None:
            self._keep(message)
            self._open = False
        else:
            self._sent[number] = message

    def _keep(self, message: Outgoing) -> None:
        if not self._waiting.put(message):
            self._lost += 1
