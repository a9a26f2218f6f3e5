"""The engine, one step at a time: the same lanes, jobs and timers, in an order that does not depend on threads."""

import asyncio
import heapq
import itertools
import threading
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Final

from iot2mqtt_sdk.runtime.engine import Engine, Lane, Timer
from iot2mqtt_sdk.testing.clock import VirtualClock

PATIENCE: Final = 5.0
"""Real seconds that a hook may take without waiting by the virtual clock."""

_HERE: ContextVar["SteppedEngine"] = ContextVar("the engine that runs this hook")


class SteppedEngine(Engine):
    """Runs one job at a time, each on a thread of its own, so that a hook can wait by the virtual clock.

    Args:
        clock: Says when there is work.
    """

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self._virtual = clock
        self._turn: Lane | None = None
        self._over = False
        self._sleepers: list[tuple[float, int, Callable[[], object]]] = []
        self._places = itertools.count()
        clock.drive(self)

    # ------------------------------------------------------------------ instead of the threads of the real one
    def start(self) -> None:
        """Begin to work when the clock says so."""
        self._running = True

    def _staff(self) -> None:
        """Leave it to `work` who serves a lane, and when."""

    def _next(self) -> Lane | None:
        lane, self._turn = self._turn, None
        return lane

    def _due(self) -> Timer | None:
        with self._lock:
            if self._running and self._timers and self._virtual.reached(self._timers[0][0]):
                return heapq.heappop(self._timers)[2]
        return None

    def stop(self, grace: float) -> None:
        """Begin no more work, and let hooks that wait by the clock do so for their grace."""
        self._running = False
        end = self._clock.monotonic() + grace
        while self._active and self._virtual.skip(end):
            self._virtual.settle()
        self.loop.cancel()

    def close(self) -> None:
        """Stop at once, and wake those that would wait for ever."""
        self._over = True
        with self._lock:
            sleepers, self._sleepers = self._sleepers, []
        for _, _, wake in sleepers:
            wake()
        self.loop.stop()

    # ------------------------------------------------------------------ what the clock drives
    def due(self) -> float | None:
        """Return when the next timer or sleeper is due, or None."""
        with self._lock:
            while self._timers and self._timers[0][2].cancelled:
                heapq.heappop(self._timers)
            moments = [queue[0][0] for queue in (self._timers if self._running else [], self._sleepers) if queue]
        return min(moments, default=None)

    def work(self) -> bool:
        """Wake one who slept, or serve one lane, or do what timers are for; False where nothing is due."""
        if self._wake_one() or self._serve_one():
            return True
        due = self.due()
        if not self._running or due is None or not self._virtual.reached(due):
            return False
        self._keep_time()
        return True

    def _wake_one(self) -> bool:
        with self._lock:
            if not self._sleepers or not self._virtual.reached(self._sleepers[0][0]):
                return False
            wake = heapq.heappop(self._sleepers)[2]
        wake()
        self._wait()
        return True

    def _serve_one(self) -> bool:
        with self._lock:
            if not self._ready or not self._running:
                return False
            self._turn = self._ready.popleft()
            self._active += 1
            self._threads += 1
        context = copy_context()
        context.run(_HERE.set, self)
        threading.Thread(target=context.run, args=(self._serve,), name="iot2mqtt-turn", daemon=True).start()
        self._wait()
        return True

    def _wait(self) -> None:
        """Wait until every hook has returned or waits by the clock.

        Raises:
            AssertionError: One does neither.
        """
        with self._lock:
            if not self._quiet.wait_for(lambda: self._active == len(self._sleepers), PATIENCE):
                raise AssertionError(
                    f"a hook or handler has not returned within {PATIENCE:g} s of real time: "
                    "give it fakes of whatever it waits for, such as FakeDevice"
                )

    # ------------------------------------------------------------------ for hooks
    def _lie_down(self, seconds: float, wake: Callable[[], object]) -> None:
        with self._lock:
            heapq.heappush(self._sleepers, (self._clock.monotonic() + seconds, next(self._places), wake))
            self._quiet.notify_all()

    def _get_up(self) -> None:
        if self._over:
            raise RuntimeError("the connector has stopped while the hook waited")

    def sleep(self, seconds: float) -> None:
        """Wait by the virtual clock, in a hook that is a function."""
        woken = threading.Event()
        self._lie_down(seconds, woken.set)
        woken.wait()
        self._get_up()

    async def pause(self, seconds: float) -> None:
        """Wait by the virtual clock, in a hook that is a coroutine function."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        self._lie_down(seconds, lambda: loop.call_soon_threadsafe(woken.set))
        await woken.wait()
        self._get_up()


def here() -> SteppedEngine:
    """Return the engine that runs the current hook.

    Raises:
        RuntimeError: None does.
    """
    engine = _HERE.get(None)
    if engine is None:
        raise RuntimeError(
            "only get_device_state, set_device_state and handlers can wait by the virtual clock, while a harness or a "
            "MemoryClient runs them: set the delay of a FakeDevice once the harness has started"
        )
    return engine
