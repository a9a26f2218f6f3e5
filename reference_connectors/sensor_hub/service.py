"""What the Python services of the hub share: settings, a JSON API on loopback, and an end in good order."""

import json
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lifeline import end_with_supervisord

HOST = "127.0.0.1"
"""A service trusts whoever reaches it, so nobody from outside may."""
LAYOUT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_log = logging.getLogger("service")


@dataclass(frozen=True, slots=True)
class Request:
    """What a caller wants.

    Attributes:
        name: The part of the path that stands for `{name}`, if any.
        max_age: How old an answer may be, in seconds, where the caller has said so (Cache-Control: max-age).
    """

    name: str
    max_age: float | None


Answer = Mapping[str, Any]
Routes = Mapping[str, Callable[[Request], Answer]]
"""What answers a method and path, such as `GET /sensor/{name}`."""


class ApiError(Exception):
    """An answer other than 200.

    Args:
        status: The HTTP status.
        code: For programs, such as READ_TIMEOUT.
        message: For people.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message


def now() -> str:
    """Return the time as the services write it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


STARTED = now()


def health(service: str, **more: Any) -> dict[str, Any]:
    """Return what GET /health answers; `started` tells one life of the process from the next."""
    return {"status": "healthy", "service": service, "started": STARTED, "timestamp": now(), **more}


def read_settings() -> dict[str, Any]:
    """Return the settings that main.py has written for this service; from now on it ends when supervisord does."""
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "INFO"), format=LAYOUT)
    end_with_supervisord()
    settings: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    return settings


def serve(routes: Routes) -> None:
    """Answer requests on SERVICE_PORT until SIGTERM or SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    port = int(os.environ["SERVICE_PORT"])
    try:
        server = _Server((HOST, port), _handler(routes))
    except OSError as error:
        _log.error("%s:%s cannot be listened on (%s): choose another port in config.ports", HOST, port, error.strerror)
        sys.exit(1)
    _log.info("listens on %s:%s", HOST, port)
    with server:
        server.serve_forever()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def _handler(routes: Routes) -> type["_Handler"]:
    table = []
    for route, function in routes.items():
        method, path = route.split(" ")
        table.append((method, re.compile(path.replace("{name}", "([^/]+)")), function))
    return type("Handler", (_Handler,), {"table": table, "known": ", ".join(routes)})


class _Handler(BaseHTTPRequestHandler):
    """Answers with JSON, whatever happens."""

    timeout = 10
    table: tuple[tuple[str, re.Pattern[str], Callable[[Request], Answer]], ...]
    known: str

    def do_GET(self) -> None:
        try:
            self._send(HTTPStatus.OK, self._function()(self._request))
        except ApiError as error:
            self._fail(error)
        except Exception:  # noqa: BLE001 - one question that fails must not look like a dead service
            _log.exception("%s %s failed in a way that nobody foresaw", self.command, self.path)
            self._fail(ApiError(500, "INTERNAL_ERROR", "the service has failed, and its log says why"))

    def do_POST(self) -> None:
        self.do_GET()

    def _function(self) -> Callable[[Request], Answer]:
        path = urlsplit(self.path).path
        taken = []
        for method, pattern, function in self.table:
            fits = pattern.fullmatch(path)
            if fits is None:
                continue
            if method == self.command:
                self._request = Request(unquote("".join(fits.groups())), self._max_age())
                return function
            taken.append(method)
        if taken:
            raise ApiError(405, "METHOD_NOT_ALLOWED", f"{path} takes only {', '.join(taken)}")
        raise ApiError(404, "NOT_FOUND", f"there is no {path}, but {self.known}")

    def _max_age(self) -> float | None:
        asked = re.fullmatch(r"max-age=(\d{1,9}(?:\.\d{1,9})?)", self.headers.get("Cache-Control", ""))
        return float(asked[1]) if asked else None

    def _fail(self, error: ApiError) -> None:
        self._send(error.status, {"error": error.code, "message": error.message, "timestamp": now()})

    def _send(self, status: int, answer: Answer) -> None:
        body = json.dumps(answer, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no proper request, in JSON as well."""
        del explain
        self._fail(ApiError(code, "BAD_REQUEST", message or HTTPStatus(code).phrase))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that http.server has given it
        """Log requests only where somebody looks for faults."""
        _log.debug(format, *args)
