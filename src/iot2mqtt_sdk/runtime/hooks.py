"""Calls a hook, whether it is a function or a coroutine function."""

import threading
from collections.abc import Callable
from typing import Any

_starting = threading.Lock()
_loop: Any = None


def call(hook: Callable[..., Any], *arguments: Any) -> Any:
    """Call a hook and return its result; a coroutine runs on the event loop that all async hooks share."""
    result = hook(*arguments)
    if not hasattr(result, "__await__"):
        return result
    import asyncio

    return asyncio.run_coroutine_threadsafe(result, _shared_loop()).result()


def _shared_loop() -> Any:
    global _loop  # noqa: PLW0603 - one loop a process, made when the first async hook is called
    import asyncio

    with _starting:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="iot2mqtt-async", daemon=True).start()
    return _loop
