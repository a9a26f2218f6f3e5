"""Where the time comes from, so that tests can bring their own."""

import time
from datetime import UTC, datetime


class Clock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Return the time of day, aware and in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that only ever grow."""
        return time.monotonic()
