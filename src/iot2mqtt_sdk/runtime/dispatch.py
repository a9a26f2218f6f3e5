"""Hands messages to an author's handlers, off the network thread."""

import logging
import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from iot2mqtt_sdk.contract.topics import matches
from iot2mqtt_sdk.runtime.engine import Engine, Lane
from iot2mqtt_sdk.runtime.hooks import call

_log = logging.getLogger("iot2mqtt")

Handler = Callable[[str, Any], Any]
WAITING = 1000
"""Messages of one device or group that may wait for a handler; further ones are left out."""


class Dispatcher:
    """Handlers by filter: the messages of one device or group are handled in order, those of others side by side."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._handlers: list[tuple[str, Handler]] = []
        # A lane lives as long as it has work: whoever invents device names fills no memory.
        self._lanes: WeakValueDictionary[str, Lane] = WeakValueDictionary()

    def add(self, pattern: str, handler: Handler) -> None:
        """Add a handler for what a filter below the instance matches."""
        with self._lock:
            self._handlers = [*self._handlers, (pattern, handler)]

    def patterns(self) -> list[str]:
        """Return the filters."""
        return [pattern for pattern, _ in self._handlers]

    def wants(self, suffix: str) -> bool:
        """Whether any handler is for a topic."""
        return any(matches(pattern, suffix) for pattern, _ in self._handlers)

    def dispatch(self, suffix: str, topic: str, payload: Any) -> None:
        """Have the handlers called that are for a topic.

        Args:
            suffix: The topic below the instance.
            topic: The whole topic, which handlers are given.
            payload: The parsed payload.
        """
        subject = "/".join(suffix.split("/")[:2])
        with self._lock:
            lane = self._lanes.setdefault(subject, Lane())
            if len(lane.usual) >= WAITING:
                _log.warning("%d messages wait for the handlers of %s; one on %s is left out", WAITING, subject, topic)
                return
            for pattern, handler in self._handlers:
                if matches(pattern, suffix):
                    self._engine.submit(lane, lambda handler=handler: _handle(handler, topic, payload))  # type: ignore[misc]


async def _handle(handler: Handler, topic: str, payload: Any) -> None:
    try:
        await call(handler, topic, payload)
    except Exception:  # noqa: BLE001 - whatever an author's handler raises, the next message is handled
        _log.exception("the handler failed on a message on %s", topic)
