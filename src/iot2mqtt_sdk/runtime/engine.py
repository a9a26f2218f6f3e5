"""Runs the work of many devices side by side: one lane a device, few threads, nobody waits for anybody else.

Jobs of one lane never overlap and keep their order, urgent ones before the others. A lane whose job hangs holds one
thread and no other lane.
"""

import heapq
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from iot2mqtt_sdk.clock import Clock

_log = logging.getLogger("iot2mqtt")

THREADS = 64
"""Threads at the most: the devices that may be slow at the same time without delaying the others."""

LEAVE_TIME = 0.5
"""Seconds that running jobs are waited for at the end."""

Job = Callable[[], None]


@dataclass(slots=True)
class Lane:
    """The queue of one device."""

    name: str
    urgent: deque[Job] = field(default_factory=deque)
    usual: deque[Job] = field(default_factory=deque)
    busy: bool = False


@dataclass(slots=True, order=True)
class _Timer:
    due: float
    number: int
    job: Job = field(compare=False)
    cancelled: bool = field(default=False, compare=False)


class Engine:
    """Lanes, timers and the threads that serve them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wake = threading.Condition()
        self._ready: deque[Lane] = deque()
        self._timers: list[_Timer] = []
        self._numbers = itertools.count()
        self._threads = 0
        self._idle = 0
        self._active = 0
        self._running = False

    def start(self) -> None:
        """Begin to serve timers."""
        self._running = True
        threading.Thread(target=self._keep_time, name="iot2mqtt-timers", daemon=True).start()

    def stop(self) -> None:
        """Take no more work, and give jobs that run a moment to end; one that hangs is left behind."""
        with self._wake:
            self._running = False
            self._wake.notify_all()
            self._wake.wait_for(lambda: self._active == 0, LEAVE_TIME)

    def submit(self, lane: Lane, job: Job, *, urgent: bool = False) -> None:
        """Queue a job on a lane; urgent ones go before the others."""
        with self._wake:
            (lane.urgent if urgent else lane.usual).append(job)
            if not lane.busy:
                lane.busy = True
                self._offer(lane)

    def after(self, seconds: float, job: Job) -> Job:
        """Run a quick job after a time, on the timers' thread; returns what cancels it."""
        timer = _Timer(self._clock.monotonic() + seconds, next(self._numbers), job)
        with self._wake:
            heapq.heappush(self._timers, timer)
            self._wake.notify_all()

        def cancel() -> None:
            timer.cancelled = True

        return cancel

    def _offer(self, lane: Lane) -> None:
        self._ready.append(lane)
        if len(self._ready) > self._idle and self._threads < THREADS:
            self._threads += 1
            threading.Thread(target=self._work, name=f"iot2mqtt-{self._threads}", daemon=True).start()
        self._wake.notify_all()

    def _work(self) -> None:
        while True:
            with self._wake:
                self._idle += 1
                while self._running and not self._ready:
                    self._wake.wait()
                self._idle -= 1
                if not self._running:
                    return
                lane = self._ready.popleft()
                job = lane.urgent.popleft() if lane.urgent else lane.usual.popleft()
                self._active += 1
            _run(job, lane.name)
            with self._wake:
                self._active -= 1
                lane.busy = bool(lane.urgent or lane.usual)
                if lane.busy and self._running:
                    self._offer(lane)
                elif not self._running:
                    self._wake.notify_all()

    def _keep_time(self) -> None:
        while True:
            with self._wake:
                if not self._running:
                    return
                now = self._clock.monotonic()
                if not self._timers or self._timers[0].due > now:
                    self._wake.wait(self._timers[0].due - now if self._timers else None)
                    continue
                timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                _run(timer.job, "timer")


def _run(job: Job, name: str) -> None:
    try:
        job()
    except Exception:  # noqa: BLE001 - the thread serves other devices too
        # Jobs handle what can be foreseen; a fault in one must not end the thread that serves the others.
        _log.exception("a job of %s failed", name)
