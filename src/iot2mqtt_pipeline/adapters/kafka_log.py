"""What Kafka's driver logs, without what it says many times a second while a broker is away."""

import logging
import re
import time
from collections.abc import Callable

SILENCE = 30.0
"""Seconds for which a message that was logged is not logged again."""
_KEPT = 1000
_CHANGING = re.compile(r"\[(?:rdkafka#|thrd:)[^\]]*\]|\(after [^)]*\)|\bafter \d+ *ms\b|\d+ request\(s\)")
"""Parts in which two messages that say the same may differ: client, thread, time, number of requests."""


class OnceInAWhile(logging.Filter):
    """Lets a message pass unless the same was logged a moment ago.

    Args:
        clock: Seconds that only ever grow.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._passed: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log this."""
        text = _CHANGING.sub("", record.getMessage())
        now = self._clock()
        if now - self._passed.get(text, -SILENCE) < SILENCE:
            return False
        if len(self._passed) >= _KEPT:
            self._passed = {known: when for known, when in self._passed.items() if now - when < SILENCE}
        self._passed[text] = now
        return True


driver_log = logging.getLogger("iot2mqtt.pipeline.kafka.driver")
"""Given to each client of Kafka as its logger."""
driver_log.addFilter(OnceInAWhile())
