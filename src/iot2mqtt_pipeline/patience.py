"""Trying again what a server that is away has refused."""

import logging
import random
import time
from collections.abc import Callable

from iot2mqtt_pipeline.errors import TransientError
from iot2mqtt_pipeline.stage import Stopped

_log = logging.getLogger("iot2mqtt.pipeline")

LONGEST_DELAY = 10.0
_STEPS = 7
_TICK = 0.25


def delay_after(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row: more each time, with jitter, and bounded."""
    return min(0.1 * 2.0 ** min(failures, _STEPS), LONGEST_DELAY) * random.uniform(0.5, 1)


def patiently(work: Callable[[], None], stopped: Stopped) -> None:
    """Do something until it succeeds or it is time to stop."""
    failures = 0
    while not stopped():
        try:
            work()
        except TransientError as error:
            failures += 1
            delay = delay_after(failures)
            _log.warning("%s; trying again in %.1f s", error, delay)
            end = time.monotonic() + delay
            while not stopped() and time.monotonic() < end:
                time.sleep(_TICK)
        else:
            return
