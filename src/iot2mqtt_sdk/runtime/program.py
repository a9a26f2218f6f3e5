"""What makes a connector a program: signals end it cleanly, and nothing keeps it from ending."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

_log = logging.getLogger("iot2mqtt")

INSIST = 0.5
"""Seconds that threads of the author's own may keep a stopped connector's process from ending."""


class Signals:
    """SIGTERM and SIGINT, handed over to a thread.

    A handler runs between any two steps of the main thread, which may hold the very lock that stopping takes.
    """

    def __init__(self) -> None:
        self.received = False
        self._stop: Callable[[], None] | None = None
        self._queue: SimpleQueue[None] = SimpleQueue()

    def take_over(self) -> None:
        """From now on a signal ends the program with code 0, as long as there is nothing to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._receive)

    def stop_with(self, stop: Callable[[], None]) -> None:
        """From now on a signal calls `stop`, on a thread of its own."""
        self._stop = stop
        threading.Thread(target=self._hand_over, args=(stop,), name="iot2mqtt-signals", daemon=True).start()

    def _receive(self, *_: Any) -> None:
        self.received = True
        if self._stop is None:
            raise SystemExit(0)
        self._queue.put(None)

    def _hand_over(self, stop: Callable[[], None]) -> None:
        self._queue.get()
        stop()


def end(code: int) -> None:
    """End the program, also where a thread of the author's own hangs for which Python would wait for ever.

    Args:
        code: The exit code.
    """
    threading.Thread(target=_insist, args=(code,), name="iot2mqtt-end", daemon=True).start()
    sys.exit(code)


def _insist(code: int) -> None:
    threading.Event().wait(INSIST)
    names = ", ".join(thread.name for thread in threading.enumerate() if not thread.daemon)
    _log.warning("the process ends although these threads do not: %s", names)
    os._exit(code)
