"""The one answer to a group command, made of those of its members (clause I2M-GROUP-04)."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any


class GroupAnswer:
    """Collects what became of a command at each member, and answers once all are known.

    Args:
        members: Ids of the devices that were commanded.
        answer: Called once with `{status, results}`.
    """

    def __init__(self, members: Sequence[str], answer: Callable[[dict[str, Any]], None]) -> None:
        self._missing = set(members)
        self._results: dict[str, Mapping[str, Any]] = {}
        self._answer = answer
        self._lock = threading.Lock()
        if not self._missing:
            answer({"status": "success", "results": {}})

    def take(self, device_id: str, result: Mapping[str, Any]) -> None:
        """Take what became of it at one member: an object with `status`."""
        with self._lock:
            self._missing.discard(device_id)
            self._results[device_id] = result
            if self._missing:
                return
        self._answer({"status": self._status(), "results": self._results})

    def _status(self) -> str:
        words = {str(result["status"]) for result in self._results.values()}
        return words.pop() if len(words) == 1 else "partial"
