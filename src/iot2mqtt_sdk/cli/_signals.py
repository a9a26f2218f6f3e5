"""Signals that are waited for."""

import os
import signal
from collections.abc import Callable, Mapping
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


def unheeded(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: that the signal has come is all that counts."""


ENDING: Mapping[signal.Signals, Handler] = {signal.SIGTERM: unheeded, signal.SIGINT: unheeded}


def open_signals(handlers: Mapping[signal.Signals, Handler] = ENDING) -> int:
    """Return the end of a pipe at which a byte arrives for each signal, which no longer ends the process.

    A handler alone runs in the main thread, which wakes only if the signal happens to reach it, and not just before it
    begins to wait.
    """
    arrived, announce = os.pipe()
    os.set_blocking(announce, False)
    signal.set_wakeup_fd(announce, warn_on_full_buffer=False)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    return arrived
