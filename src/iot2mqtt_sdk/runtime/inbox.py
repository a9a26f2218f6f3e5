"""Who is to get what arrives, and the subscriptions that follow from it."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from iot2mqtt_sdk.contract.topics import Topics, matches
from iot2mqtt_sdk.jsontext import decode
from iot2mqtt_sdk.runtime.dispatch import Dispatcher
from iot2mqtt_sdk.runtime.engine import Engine
from iot2mqtt_sdk.runtime.link import Link
from iot2mqtt_sdk.runtime.messages import checked_filter

_log = logging.getLogger("iot2mqtt")

FILTERS = ("devices/+/cmd", "devices/+/get", "groups/+/cmd", "meta/request/+")
"""What every connector subscribes to, before it says `online` (clauses I2M-SUB-01 to 04)."""


@dataclass(frozen=True, slots=True)
class Message:
    """A received message.

    Attributes:
        suffix: The topic below the instance.
        payload: The bytes as they came.
        retain: Whether it was kept by the broker from earlier.
    """

    suffix: str
    payload: bytes
    retain: bool

    @property
    def levels(self) -> list[str]:
        """The levels of the suffix."""
        return self.suffix.split("/")


Route = Callable[[Message], None]


class Inbox:
    """Routes on the network thread, and an author's handlers off it.

    Args:
        topics: The topics of the instance.
        engine: Runs the handlers.
        link: Returns the link to the broker.
    """

    def __init__(self, *, topics: Topics, engine: Engine, link: Callable[[], Link]) -> None:
        self._topics = topics
        self._handlers = Dispatcher(engine)
        self._link = link
        self._lock = threading.Lock()
        self._routes: list[tuple[str, Route]] = []
        self._outside: dict[str, Route] = {}

    def filters(self) -> list[str]:
        """Return the whole filters that every connection subscribes to."""
        with self._lock:
            patterns = [*FILTERS, *(pattern for pattern, _ in self._routes), *self._handlers.patterns()]
            return [*(self._topics.below(pattern) for pattern in dict.fromkeys(patterns)), *self._outside]

    # ------------------------------------------------------------------ asking
    def route(self, pattern: str, route: Route, patience: float = 0.0) -> bool:
        """Call a route with what a filter below the instance matches, on the network thread.

        Args:
            pattern: The filter.
            route: Must return at once.
            patience: Seconds to wait for the broker's acknowledgement.

        Returns:
            Whether the broker has acknowledged it, now or for somebody else before.
        """
        checked_filter(pattern)
        new = self._topics.below(pattern) not in self.filters()
        with self._lock:
            self._routes = [*self._routes, (pattern, route)]
        return not new or self._link().subscribe(self._topics.below(pattern), patience)

    def unroute(self, pattern: str, route: Route) -> None:
        """Take back what `route` has asked for."""
        with self._lock:
            self._routes = [known for known in self._routes if known != (pattern, route)]
        if self._topics.below(pattern) not in self.filters():
            self._link().unsubscribe(self._topics.below(pattern))

    def has(self, pattern: str, route: Route) -> bool:
        """Whether a route was asked for."""
        return (pattern, route) in self._routes

    def route_outside(self, pattern: str, route: Route, patience: float = 0.0) -> None:
        """Do as `route` does for a filter outside the instance; the message's suffix is its whole topic."""
        with self._lock:
            self._outside = {**self._outside, pattern: route}
        self._link().subscribe(pattern, patience)

    def unroute_outside(self, pattern: str) -> None:
        """Take back what `route_outside` has asked for."""
        with self._lock:
            self._outside = {known: route for known, route in self._outside.items() if known != pattern}
        self._link().unsubscribe(pattern)

    def handle(self, pattern: str, handler: Callable[[str, Any], Any]) -> None:
        """Call a handler with topic and parsed JSON of what a filter matches, off the network thread."""
        checked_filter(pattern)
        new = self._topics.below(pattern) not in self.filters()
        self._handlers.add(pattern, handler)
        if new:
            self._link().subscribe(self._topics.below(pattern))

    # ------------------------------------------------------------------ receiving
    def take(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Take a message on the network thread."""
        suffix = self._topics.suffix_of(topic)
        if suffix is None:
            message = Message(topic, payload, retain)
            for pattern, route in self._outside.items():
                if matches(pattern, topic):
                    route(message)
            return
        message = Message(suffix, payload, retain)
        for pattern, route in self._routes:
            if matches(pattern, suffix):
                route(message)
        if self._handlers.wants(suffix):
            self._hand_over(message, topic)

    def _hand_over(self, message: Message, topic: str) -> None:
        """Give an author's handlers the parsed payload; what they must not act on is logged and left out."""
        if message.retain and message.levels[-1] in ("cmd", "get"):
            _log.warning("a retained message on %s is left out (clause I2M-CMD-13): clear the topic", topic)
            return
        try:
            payload = decode(message.payload) if message.payload else None
        except ValueError as error:
            _log.warning("a message on %s is left out: %s", topic, error)
            return
        self._handlers.dispatch(message.suffix, topic, payload)
