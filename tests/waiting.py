"""Waiting for what tells nobody when it happens."""

import threading
import time
from collections.abc import Callable

DEADLINE = 60.0
"""Seconds that anything may take on a loaded machine."""


def wait_until(condition: Callable[[], object], seconds: float = DEADLINE) -> None:
    """Look again and again until a condition holds."""
    pause = threading.Event()
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it has not happened in time"
        pause.wait(0.01)
