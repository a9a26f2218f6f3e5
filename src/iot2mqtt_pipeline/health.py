"""What a stage says of itself over HTTP: /metrics, /health/live and /health/ready.

Live means that the stage still goes round; an orchestrator starts one anew that is not. Ready means that what it needs
answers just now. Both answer 503 when it is not so, with the reason.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from iot2mqtt_pipeline.stage import Stopped
from iot2mqtt_sdk.errors import ConfigurationError

Check = Callable[[], str | None]
"""Returns why something cannot be used just now, or None where it can; takes seconds at the most."""

STUCK: Final = 120.0
"""Seconds without a round after which a stage is not live; the longest that a batch may wait for a server."""
FRESH: Final = 2.0
"""Seconds for which an answer of a check is used again."""


class Health:
    """What is known of the stages of a process.

    Args:
        checks: What they need, by name.
        text: Returns the metrics as Prometheus reads them.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self, *, checks: Mapping[str, Check], text: Callable[[], bytes], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._checks = dict(checks)
        self._clock = clock
        self._rounds: dict[str, float] = {}
        self._said: dict[str, tuple[float, str | None]] = {}
        self._lock = threading.Lock()
        self.metrics = text

    def watched(self, stage: str, stopped: Stopped) -> Stopped:
        """Return a `stopped` that notes when the stage asks it, which is once a round."""
        self._rounds[stage] = self._clock()

        def asked() -> bool:
            self._rounds[stage] = self._clock()
            return stopped()

        return asked

    def dead(self) -> dict[str, str]:
        """Return the stages that go round no more."""
        now = self._clock()
        late = {stage: now - last for stage, last in self._rounds.items() if now - last > STUCK}
        return {stage: f"has not gone round for {seconds:.0f} s" for stage, seconds in late.items()}

    def unready(self) -> dict[str, str]:
        """Return what is missing just now, with the reason."""
        with self._lock:
            found = {name: self._ask(name, check) for name, check in self._checks.items()}
        return self.dead() | {name: reason for name, reason in found.items() if reason is not None}

    def _ask(self, name: str, check: Check) -> str | None:
        at, reason = self._said.get(name, (float("-inf"), None))
        if self._clock() - at > FRESH:
            reason = check()
            self._said[name] = (self._clock(), reason)
        return reason


class Endpoint:
    """The HTTP server.

    Args:
        health: What it tells.
        host: HTTP_HOST.
        port: HTTP_PORT; 0 takes a free one.
    """

    def __init__(self, *, health: Health, host: str, port: int) -> None:
        self._health = health
        self._host = host
        self._port = port
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> int:
        """Begin to listen, and return the port.

        Raises:
            ConfigurationError: Nobody can listen there.
        """
        try:
            self._server = ThreadingHTTPServer((self._host, self._port), _handler(self._health))
        except OSError as error:
            place, reason = f"{self._host}:{self._port}", error.strerror or str(error)
            raise ConfigurationError(
                f"metrics and health cannot be served on {place}: {reason}; set HTTP_HOST and HTTP_PORT to an address "
                "of this machine that is free"
            ) from None
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="iot2mqtt-health", daemon=True).start()
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Stop listening; a second call does nothing."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()


def _handler(health: Health) -> type[BaseHTTPRequestHandler]:
    def live() -> tuple[int, str, bytes]:
        return _verdict(health.dead())

    def ready() -> tuple[int, str, bytes]:
        return _verdict(health.unready())

    def metrics() -> tuple[int, str, bytes]:
        return 200, "text/plain; version=0.0.4; charset=utf-8", health.metrics()

    pages = {"/health/live": live, "/health/ready": ready, "/metrics": metrics}

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            missing = 404, "text/plain; charset=utf-8", f"there are {', '.join(pages)}\n".encode()
            status, kind, body = page() if page is not None else missing
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Leave the log to the stages."""

    return Handler


def _verdict(faults: dict[str, str]) -> tuple[int, str, bytes]:
    body = json.dumps({"ok": not faults, "faults": faults}).encode() + b"\n"
    return (503 if faults else 200), "application/json", body
