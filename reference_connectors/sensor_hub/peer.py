"""Another service of the hub, as its caller sees it: one that may be slow, away, or about to be restarted."""

import http.client
import json
import threading
import time
from collections.abc import Mapping
from typing import Any

LIMIT = 3
"""Failed calls in a row after which a circuit opens."""
REST = 2.0
"""Seconds that it stays open; then one call tries whether the service is back."""
LONGEST_ANSWER = 1_000_000


class PeerError(Exception):
    """A call that brought nothing.

    Args:
        status: The HTTP status of the answer; 503 where there was none.
        code: For programs, such as READ_TIMEOUT.
        message: For people.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message


class Circuit:
    """Keeps callers from waiting for a service that is known to be away.

    Args:
        limit: Failed calls in a row after which it opens.
        rest: Seconds that it stays open.
    """

    def __init__(self, *, limit: int = LIMIT, rest: float = REST) -> None:
        self._limit, self._rest = limit, rest
        self._lock = threading.Lock()
        self._failures = 0
        self._next_try = 0.0

    @property
    def state(self) -> str:
        """What it is now: `closed`, `open`, or `half-open` when the next call is let through to try."""
        with self._lock:
            if self._failures < self._limit:
                return "closed"
            return "open" if time.monotonic() < self._next_try else "half-open"

    def admit(self) -> bool:
        """Whether a call may be made now; of those that come while the circuit is half-open, one."""
        with self._lock:
            if self._failures < self._limit:
                return True
            if time.monotonic() < self._next_try:
                return False
            self._next_try = time.monotonic() + self._rest
            return True

    def note(self, *, good: bool) -> None:
        """Take what has become of a call."""
        with self._lock:
            self._failures = 0 if good else self._failures + 1
            if self._failures >= self._limit:
                self._next_try = time.monotonic() + self._rest


class Peer:
    """A service on loopback that speaks JSON.

    Args:
        name: What it is called.
        url: Its address, without a path.
        timeout: Seconds that it may be silent.
    """

    def __init__(self, *, name: str, url: str, timeout: float) -> None:
        self.name = name
        self.circuit = Circuit()
        self._address = url.removeprefix("http://")
        self._timeout = timeout

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the answer to a GET.

        Raises:
            PeerError: It answers with an error, or not at all, or is not asked because it is known to be away.
        """
        if not self.circuit.admit():
            raise PeerError(503, "CIRCUIT_OPEN", f"{self.name} was away just now and is not asked again yet")
        try:
            status, answer = self._call(path, headers or {}, self._timeout)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.circuit.note(good=False)
            raise self._away(error) from error
        # An error is an answer too: it is the sensor that fails, and not the service.
        self.circuit.note(good=True)
        if status != http.client.OK:
            raise PeerError(status, str(answer.get("error", "ERROR")), str(answer.get("message", f"status {status}")))
        return answer

    def health(self, timeout: float) -> dict[str, Any]:
        """Return the answer to GET /health, whatever the circuit says.

        Raises:
            PeerError: There is none within `timeout` seconds.
        """
        try:
            return self._call("/health", {}, timeout)[1]
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._away(error) from error

    def wait(self, seconds: float, given_up: threading.Event) -> bool:
        """Wait until the service answers; whether it did in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not given_up.is_set():
            try:
                self.health(1.0)
            except PeerError:
                given_up.wait(0.05)
            else:
                return True
        return False

    def _away(self, error: Exception) -> PeerError:
        return PeerError(503, "HANDLER_UNAVAILABLE", f"{self.name} does not answer: {error}")

    def _call(self, path: str, headers: Mapping[str, str], timeout: float) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection(self._address, timeout=timeout)
        try:
            connection.request("GET", path, headers=dict(headers))
            response = connection.getresponse()
            answer = json.loads(response.read(LONGEST_ANSWER))
        finally:
            connection.close()
        if not isinstance(answer, dict):
            raise ValueError("what it answers is no JSON object")  # noqa: TRY004 - the answer's fault, not the caller's
        return response.status, answer
