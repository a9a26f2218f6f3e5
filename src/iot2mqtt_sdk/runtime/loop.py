"""The one event loop of a connector: started when the first hook is to be awaited."""

import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio


class LoopThread:
    """An event loop on a thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: set[Future[Any]] = set()

    def run(self, awaitable: Awaitable[Any], done: Callable[["Future[Any]"], None]) -> None:
        """Await something on the loop, and call `done` with the outcome."""
        import asyncio

        async def outcome() -> Any:
            return await awaitable

        future = asyncio.run_coroutine_threadsafe(outcome(), self._started())
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        future.add_done_callback(done)

    def _started(self) -> "asyncio.AbstractEventLoop":
        import asyncio

        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_serve, args=(self._loop,), name="iot2mqtt-loop", daemon=True).start()
            return self._loop

    def cancel(self) -> None:
        """Cancel what is being awaited."""
        for future in list(self._running):
            future.cancel()

    def stop(self) -> None:
        """End the loop."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)


def _serve(loop: "asyncio.AbstractEventLoop") -> None:
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
