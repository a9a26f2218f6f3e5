"""Runs the work of many devices side by side: one lane a device, few threads, nobody waits for anybody else.

Jobs of one lane never overlap and keep their order, urgent ones before the others. A lane whose job hangs holds one
thread and no other lane; one whose job awaits holds none.
"""

import heapq
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from iot2mqtt_sdk.clock import Clock
from iot2mqtt_sdk.runtime.loop import LoopThread

_log = logging.getLogger("iot2mqtt")

THREADS = 512
"""Threads at the most: as many devices may be slow at the same time without delaying the others."""
IDLE = 30.0
"""Seconds without work after which a thread ends."""
CANCELLED = 1000
"""Cancelled timers that may lie about until they are cleared away, so that commands of long timeouts fill no memory."""
URGENT_IN_A_ROW = 20
"""Urgent jobs of a lane before one of the others gets its turn, so that no flood of commands stops the polling."""

Job = Callable[[], Coroutine[Any, Any, None]]


@dataclass(slots=True, eq=False, weakref_slot=True)
class Lane:
    """The queue of one device."""

    urgent: deque[Job] = field(default_factory=deque)
    usual: deque[Job] = field(default_factory=deque)
    resume: Callable[[], None] | None = None
    busy: bool = False
    streak: int = 0

    def take(self) -> Job:
        """Remove and return the job whose turn it is."""
        if self.urgent and not (self.usual and self.streak >= URGENT_IN_A_ROW):
            self.streak += 1
            return self.urgent.popleft()
        self.streak = 0
        return self.usual.popleft()


@dataclass(slots=True, eq=False)
class Timer:
    """Something quick that is due at a time."""

    action: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        """Let the time pass without doing it."""
        self.cancelled = True


class Engine:
    """Lanes, timers, the threads that serve them, and the event loop of hooks that are coroutines."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._time = threading.Condition(self._lock)
        self._quiet = threading.Condition(self._lock)
        self._ready: deque[Lane] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._crowded = CANCELLED
        self._numbers = itertools.count()
        self._threads = 0
        self._idle = 0
        self._active = 0
        self._running = False
        self.loop = LoopThread()

    def start(self) -> None:
        """Begin to serve lanes and timers; a second call does nothing."""
        with self._lock:
            if self._running:
                return
            self._running = True
            threading.Thread(target=self._keep_time, name="iot2mqtt-time", daemon=True).start()
            for _ in self._ready:
                self._staff()

    def stop(self, grace: float) -> None:
        """Begin no more work, wait for what runs, and cancel what is awaited.

        Args:
            grace: Seconds to wait; what runs then is left behind on its daemon thread.
        """
        end = self._clock.monotonic() + grace
        with self._lock:
            self._running = False
            self._work.notify_all()
            self._time.notify_all()
            while self._active and (left := end - self._clock.monotonic()) > 0:
                self._quiet.wait(left)
        self.loop.cancel()

    def close(self) -> None:
        """Stop at once, and end the event loop."""
        self.stop(0)
        self.loop.stop()

    def submit(self, lane: Lane, job: Job, *, urgent: bool = False) -> None:
        """Queue a job on a lane; urgent ones go before the others."""
        with self._lock:
            (lane.urgent if urgent else lane.usual).append(job)
            if not lane.busy:
                lane.busy = True
                self._offer(lane)

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Do something quick after a time, on the thread of the timers."""
        timer = Timer(action)
        entry = (self._clock.monotonic() + seconds, next(self._numbers), timer)
        with self._lock:
            if len(self._timers) > self._crowded:
                self._timers = [known for known in self._timers if not known[2].cancelled]
                heapq.heapify(self._timers)
                self._crowded = 2 * len(self._timers) + CANCELLED
            heapq.heappush(self._timers, entry)
            if self._timers[0] is entry:
                self._time.notify()
        return timer

    def overdue(self) -> float:
        """Return by how many seconds the earliest timer is late."""
        now = self._clock.monotonic()
        with self._lock:
            return max(0.0, now - self._timers[0][0]) if self._timers else 0.0

    # ------------------------------------------------------------------ lanes
    def _offer(self, lane: Lane) -> None:
        self._ready.append(lane)
        if self._running:
            self._staff()

    def _staff(self) -> None:
        if self._idle >= len(self._ready) or self._threads >= THREADS:
            self._work.notify()
            return
        thread = threading.Thread(target=self._serve, name=f"iot2mqtt-{self._threads + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if self._threads == 0:
                raise
            _log.exception("the system gives no further thread: slow devices now delay others")
            self._work.notify()
        else:
            self._threads += 1

    def _serve(self) -> None:
        while (lane := self._next()) is not None:
            resume, lane.resume = lane.resume, None
            if resume is None:
                self._step(lane, lane.take()(), None, None)
            else:
                resume()
            with self._lock:
                self._active -= 1
                self._quiet.notify_all()
        with self._lock:
            self._threads -= 1

    def _next(self) -> Lane | None:
        with self._lock:
            self._idle += 1
            try:
                while self._running and not self._ready:
                    if not self._work.wait(IDLE) and not self._ready:
                        return None
                if not self._running:
                    return None
                self._active += 1
                return self._ready.popleft()
            finally:
                self._idle -= 1

    def _step(self, lane: Lane, job: Coroutine[Any, Any, None], value: Any, error: BaseException | None) -> None:
        """Run a job until it ends, or until there is something to await."""
        try:
            awaitable = job.send(value) if error is None else job.throw(error)
        except StopIteration:
            self._finish(lane)
        except BaseException:  # noqa: BLE001 - jobs handle what can be foreseen; no fault may end the serving thread
            _log.exception("a job failed in a way that nobody foresaw")
            self._finish(lane)
        else:
            with self._lock:
                self._active += 1
            self.loop.run(awaitable, partial(self._awaited, lane, job))

    def _awaited(self, lane: Lane, job: Coroutine[Any, Any, None], future: "Future[Any]") -> None:
        """Put the job back on its lane with what was awaited."""
        error: BaseException | None
        try:
            error = future.exception()
        except CancelledError as cancelled:
            error = cancelled
        value = None if error is not None else future.result()
        with self._lock:
            self._active -= 1
            self._quiet.notify_all()
            lane.resume = partial(self._step, lane, job, value, error)
            self._offer(lane)

    def _finish(self, lane: Lane) -> None:
        with self._lock:
            lane.busy = bool(lane.urgent or lane.usual)
            if lane.busy:
                self._offer(lane)

    # ------------------------------------------------------------------ timers
    def _keep_time(self) -> None:
        while (timer := self._due()) is not None:
            if timer.cancelled:
                continue
            try:
                timer.action()
            except BaseException:  # noqa: BLE001 - as in a lane: one fault must not stop the time for all
                _log.exception("something that was due failed in a way that nobody foresaw")

    def _due(self) -> Timer | None:
        with self._lock:
            while self._running:
                left = self._timers[0][0] - self._clock.monotonic() if self._timers else None
                if left is not None and left <= 0:
                    return heapq.heappop(self._timers)[2]
                self._time.wait(None if left is None else min(left, threading.TIMEOUT_MAX))
            return None
