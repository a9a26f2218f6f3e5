"""The one event loop of a connector: started when the first hook is to be awaited."""

import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

_log = logging.getLogger("iot2mqtt")

LEAVING = 0.1
"""Seconds that tasks may take to end once they are cancelled."""


class LoopThread:
    """An event loop on a thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._running: set[Future[Any]] = set()

    def run(self, awaitable: Awaitable[Any], done: Callable[["Future[Any]"], None]) -> None:
        """Await something on the loop, and call `done` with the outcome."""
        import asyncio

        async def outcome() -> Any:
            try:
                return await awaitable
            except (SystemExit, KeyboardInterrupt) as error:
                # asyncio would end the whole loop by it, and with it the hooks of all other devices.
                raise RuntimeError(f"a hook called for the end of the program: {error!r}") from error

        future = asyncio.run_coroutine_threadsafe(outcome(), self._started())
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        future.add_done_callback(done)

    def _started(self) -> "asyncio.AbstractEventLoop":
        import asyncio

        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_serve, args=(self._loop,), name="iot2mqtt-loop", daemon=True)
                self._thread.start()
            return self._loop

    def cancel(self) -> None:
        """Cancel what is being awaited."""
        for future in list(self._running):
            future.cancel()

    def stop(self) -> None:
        """End the loop."""
        with self._lock:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            if thread is not threading.current_thread():
                thread.join(2 * LEAVING)


def _serve(loop: "asyncio.AbstractEventLoop") -> None:
    import asyncio

    asyncio.set_event_loop(loop)
    while True:
        try:
            loop.run_forever()
        except SystemExit:
            _log.exception("a task called for the end of the program; only the task ends")
        else:
            break
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=LEAVING))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
