"""Speaks to the lamp hub: one line out, one line back, over TCP."""

import json
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any


class HubError(Exception):
    """The hub answered, and said no."""


class Hub:
    """One hub. Every question takes a connection of its own, so that a slow device keeps no other one waiting.

    Args:
        host: Name or address.
        port: TCP port.
        timeout: Seconds that an answer may take.
    """

    def __init__(self, *, host: str, port: int, timeout: float = 5.0) -> None:
        self._address = (host, port)
        self._timeout = timeout
        self._closed = threading.Event()

    def get(self, address: str) -> dict[str, Any]:
        """Return all values of a device.

        Raises:
            HubError: The device does not answer the hub.
            OSError: The hub cannot be reached.
        """
        state: dict[str, Any] = json.loads(self._ask(f"get {address}"))
        return state

    def set(self, address: str, values: Mapping[str, Any]) -> None:
        """Make a device take values; raises as `get` does."""
        self._ask(f"set {address} {json.dumps(dict(values))}")

    def watch(self, on_event: Callable[[str, str], None]) -> None:
        """Call `on_event(address, event)` for each event from now on, in the background, until `close`."""
        threading.Thread(target=self._watch, args=(on_event,), daemon=True).start()

    def close(self) -> None:
        """End the watch."""
        self._closed.set()

    def _ask(self, line: str) -> str:
        with socket.create_connection(self._address, self._timeout) as connection:
            connection.sendall(f"{line}\n".encode())
            with connection.makefile(encoding="utf-8") as answers:
                word, _, rest = answers.readline().strip().partition(" ")
        if word != "ok":
            raise HubError(rest or "the hub hung up")
        return rest

    def _watch(self, on_event: Callable[[str, str], None]) -> None:
        while not self._closed.is_set():
            try:
                with socket.create_connection(self._address, self._timeout) as connection:
                    connection.settimeout(None)
                    connection.sendall(b"watch\n")
                    with connection.makefile(encoding="utf-8") as lines:
                        for line in lines:
                            _, address, event = line.split()
                            on_event(address, event)
            except OSError:
                pass  # polling reports that the hub is away; here it is enough to call again
            self._closed.wait(1)
