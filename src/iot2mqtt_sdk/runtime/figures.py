"""What a running connector counts, for meta/info and for the Prometheus endpoint; counting costs next to nothing."""

import threading
from bisect import bisect_left
from collections import Counter, deque
from typing import Final

BOUNDS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets of durations, in seconds."""
RECENT: Final = 100
"""Polls of which it is remembered how they ended."""


class Figures:
    """Figures of one connector, counted from any thread.

    Attributes:
        published: Messages handed to the connection.
        received: Messages that arrived.
        connections: Times that the instance went online.
        commands: Commands by what became of them: `success`, or the code of the error.
        polls: Readings of a device: polls, and those that follow a command or a get.
        failures: How many of them failed.
        seconds: How long they took together.
        buckets: How many took no longer than each of `BOUNDS`, each in one bucket only; the last holds the others.
        recent: Whether each of the last polls was good.
        last: When the last poll ended, in monotonic seconds.
        online_since: When the instance went online, likewise.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.published = 0
        self.received = 0
        self.connections = 0
        self.commands: Counter[str] = Counter()
        self.polls = 0
        self.failures = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.recent: deque[bool] = deque(maxlen=RECENT)
        self.last: float | None = None
        self.online_since: float | None = None

    def count_published(self) -> None:
        """One more message was handed to the connection."""
        with self._lock:
            self.published += 1

    def count_received(self) -> None:
        """One more message arrived."""
        with self._lock:
            self.received += 1

    def count_connection(self, now: float) -> None:
        """The instance went online."""
        with self._lock:
            self.connections += 1
            self.online_since = now

    def count_command(self, result: str) -> None:
        """A command ended: with `success`, or with the code of an error."""
        with self._lock:
            self.commands[result] += 1

    def count_poll(self, began: float, ended: float, *, good: bool) -> None:
        """A poll ended.

        Args:
            began: When it began, in monotonic seconds.
            ended: When it ended.
            good: Whether it brought a state.
        """
        with self._lock:
            self.polls += 1
            self.failures += not good
            self.seconds += ended - began
            self.buckets[bisect_left(BOUNDS, ended - began)] += 1
            self.recent.append(good)
            self.last = ended

    def cumulative(self) -> list[tuple[float, int]]:
        """Return how many polls took no longer than each bound; the last bound is infinite."""
        with self._lock:
            total, found = 0, []
            for bound, count in zip((*BOUNDS, float("inf")), self.buckets, strict=True):
                total += count
                found.append((bound, total))
            return found

    def error_rate(self) -> tuple[float, int]:
        """Return which part of the last polls failed, and how many polls that is a part of."""
        with self._lock:
            count = len(self.recent)
            return (self.recent.count(False) / count if count else 0.0), count
