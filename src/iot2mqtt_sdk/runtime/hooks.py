"""Calls a hook, whether it is a function or a coroutine function.

Jobs are coroutines that run on the engine's threads. They never wait on an event loop themselves: what a hook returns
to be awaited goes to the engine, which has it awaited on the connector's one event loop and resumes the job with the
outcome. So the same job serves both kinds of hooks, and a hook that awaits holds no thread.
"""

import threading
from collections.abc import Awaitable, Callable, Generator
from queue import SimpleQueue
from typing import Any

from iot2mqtt_sdk.runtime.loop import LoopThread

SLICE = 0.5
"""Seconds after which a main thread that waits looks for a signal at the latest."""


class _Handover:
    """Gives an awaitable to the engine that drives the job."""

    def __init__(self, awaitable: Awaitable[Any]) -> None:
        self._awaitable = awaitable

    def __await__(self) -> Generator[Awaitable[Any], Any, Any]:
        return (yield self._awaitable)


async def call(hook: Callable[..., Any], *arguments: Any) -> Any:
    """Call a hook and return its result; to be awaited in a job only.

    Raises:
        RuntimeError: The hook called sys.exit: one device must not end the connector.
    """
    try:
        result = hook(*arguments)
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"a hook called for the end of the program: {error!r}") from error
    return await _Handover(result) if hasattr(result, "__await__") else result


def call_aside(
    loop: LoopThread, hook: Callable[[], Any], wake: threading.Event, timeout: float | None = None
) -> BaseException | None:
    """Call a hook on a thread of its own and wait for it, but not for ever.

    Args:
        loop: Where it is awaited if it is a coroutine function.
        hook: Called without arguments.
        wake: Set when the hook returns; whoever sets it earlier ends the wait.
        timeout: Seconds to wait.

    Returns:
        What the hook raised, a TimeoutError where its time was up, or None.
    """
    outcome: list[BaseException | None] = []

    def run() -> None:
        try:
            result = hook()
            if hasattr(result, "__await__"):
                awaited: SimpleQueue[Any] = SimpleQueue()
                loop.run(result, awaited.put)
                awaited.get().result()
            outcome.append(None)
        except BaseException as error:  # noqa: BLE001 - whatever a hook raises, sys.exit included, its caller decides
            outcome.append(error)
        wake.set()

    threading.Thread(target=run, name="iot2mqtt-hook", daemon=True).start()
    if timeout is None:
        # In slices: a signal that the system hands to another thread does not wake the main one.
        while not wake.wait(SLICE):
            pass
    elif not wake.wait(timeout):
        return TimeoutError(f"{getattr(hook, '__name__', 'the hook')} has not returned within {timeout:g} s")
    return outcome[0] if outcome else None
