"""A clock that moves when it is told to."""

from datetime import UTC, datetime, timedelta
from typing import Protocol

from iot2mqtt_sdk.clock import Clock

BIRTH = datetime(2026, 1, 1, tzinfo=UTC)
"""What time it is at first, so that every run of a test sees the same timestamps."""

EXACT = 1e-6
"""Seconds that are no difference: sums of fractions of a second are not exact."""


class Driven(Protocol):
    """What does its work when it is told to."""

    def work(self) -> bool:
        """Do the next thing that is due now; False where there is none."""

    def due(self) -> float | None:
        """Return when the next thing is due, in monotonic seconds, or None."""


class VirtualClock(Clock):
    """Time for tests: it stands still until `advance`, and everything that falls due is done in order."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._driven: list[Driven] = []

    def now(self) -> datetime:
        """Return the time of day; the first is midnight of 2026-01-01, UTC."""
        return BIRTH + timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        """Return the seconds that the clock was advanced by."""
        return self._seconds

    def drive(self, driven: Driven) -> None:
        """Have something do its work while this clock advances; what is driven first works first."""
        self._driven.append(driven)

    def reached(self, moment: float) -> bool:
        """Whether a moment has come, in monotonic seconds; a microsecond too early is not too early."""
        return moment <= self._seconds + EXACT

    def settle(self) -> None:
        """Do everything that is due now, and what follows from it."""
        while any(driven.work() for driven in self._driven):
            pass

    def skip(self, end: float) -> bool:
        """Go to the moment when the next thing is due, or to the end.

        Args:
            end: How far to go at the most, in monotonic seconds.

        Returns:
            Whether anything is due before the end.
        """
        moments = [due for driven in self._driven if (due := driven.due()) is not None and due <= end + EXACT]
        self._seconds = max(self._seconds, min(moments, default=end))
        return bool(moments)

    def advance(self, seconds: float) -> None:
        """Let time pass, and do on the way what falls due.

        Args:
            seconds: How far to go; 0 does what is due now.

        Raises:
            ValueError: Time does not go backwards.
        """
        if seconds < 0:
            raise ValueError(f"time does not go backwards: advance({seconds:g})")
        end = self._seconds + seconds
        self.settle()
        while self.skip(end):
            self.settle()
