"""The test runner over HTTP: `POST /actions/{connector}/execute` and `GET /health`.

It runs programs on request, so it is careful whom it listens to: without a token it serves only programs of its own
machine, and no web page that a browser on it shows.
"""

import hmac
import io
import ipaddress
import json
import logging
import re
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any, Final, NoReturn

from pydantic import ValidationError

from iot2mqtt_sdk.action_runner import DRAIN, TERM_GRACE, Stop, UnknownToolError, run_tool
from iot2mqtt_sdk.contract.actions import ActionInput
from iot2mqtt_sdk.errors import ConfigurationError
from iot2mqtt_sdk.jsontext import decode

__all__ = ["ActionServer", "ActionServerOptions"]

_LOGGER: Final = logging.getLogger(__name__)
BODY_LIMIT: Final = 1024 * 1024
"""Bytes that a request's body may have."""
PATIENCE: Final = 10.0
"""Seconds for a whole request to arrive, however steadily its bytes drip in, and for the response to be taken."""
STOP_GRACE: Final = 5.0
"""Seconds that running actions have to end by themselves; with what SIGTERM allows, within Docker's 10 s."""
_SPARE_CONNECTIONS: Final = 64
"""Connections beyond those whose actions run: for health checks, refusals and slow clients."""
_EXECUTE: Final = re.compile(r"/actions/([A-Za-z0-9_-][A-Za-z0-9._-]*)/execute")
_LENGTH: Final = re.compile(r"[0-9]{1,15}")
_SKIPPED: Final = 16 * BODY_LIMIT
"""Bytes of a refused body that are read, so that the client is not cut off before it reads the refusal."""


@dataclass(frozen=True, slots=True)
class ActionServerOptions:
    """How to serve actions.

    Attributes:
        connectors: The folder whose folders are the connectors.
        host: The address to bind to.
        port: The port; 0 takes a free one.
        token: What clients must send as `Authorization: Bearer TOKEN`; None serves this machine alone.
        concurrency: Actions that may run at once.
    """

    connectors: Path
    host: str = "127.0.0.1"
    port: int = 8001
    token: str | None = field(default=None, repr=False)
    concurrency: int = 4


class _Slots:
    """A bounded number of places; who finds none is turned away."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._taken = 0
        self._freed = threading.Condition()

    @property
    def taken(self) -> int:
        return self._taken

    def take(self) -> bool:
        with self._freed:
            free = self._taken < self._bound
            self._taken += free
            return free

    def give(self) -> None:
        with self._freed:
            self._taken -= 1
            self._freed.notify_all()

    def wait_until_free(self, timeout: float) -> None:
        with self._freed:
            self._freed.wait_for(lambda: self._taken == 0, timeout)


class _RefusalError(Exception):
    """The request is not served: the status and the `error` of the response."""

    def __init__(self, status: HTTPStatus, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


class ActionServer(ThreadingHTTPServer):
    """Serves the actions of the connectors in a folder. It binds to its address on `open`.

    Args:
        options: How to serve.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, options: ActionServerOptions) -> None:
        super().__init__((options.host, options.port), _Handler, bind_and_activate=False)
        self.options = options
        self.runs = _Slots(options.concurrency)
        self.stopping = threading.Event()
        self.stop_runs = Stop()
        self._connections = _Slots(options.concurrency + _SPARE_CONNECTIONS)

    @property
    def url(self) -> str:
        """Where the server listens."""
        host = f"[{self.server_name}]" if self.address_family == socket.AF_INET6 else self.server_name
        return f"http://{host}:{self.server_port}"

    def open(self) -> None:
        """Bind to the address.

        Raises:
            ConfigurationError: The address is not this machine's or is taken, or others can reach it while there is no
                token.
        """
        # The socket that the constructor made gives way to one of the address's own family.
        self.socket.close()
        options = self.options
        try:
            family, _, _, _, (address, *_) = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
            if options.token is None and not _is_local(str(address)):
                raise ConfigurationError(
                    f"others can reach {options.host}, so the server needs a token: set ACTION_TOKEN or --token-file, "
                    "or bind it to 127.0.0.1"
                )
            self.address_family = family
            self.socket = socket.socket(family, socket.SOCK_STREAM)
            self.server_address = (str(address), options.port)
            self.server_bind()
            self.server_activate()
        except OSError as error:
            self.socket.close()
            place = f"{options.host} port {options.port}"
            raise ConfigurationError(f"cannot listen on {place}: {error.strerror or error}") from None

    def server_bind(self) -> None:
        """Bind without HTTPServer's look-up of the machine's name, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def stop(self) -> None:
        """Stop: take no more requests, let what runs end for 5 s, then end it. Called while `serve_forever` runs."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        _LOGGER.info("stopping: %d running actions have %g s to end", self.runs.taken, STOP_GRACE)
        self.runs.wait_until_free(STOP_GRACE)
        self.stop_runs.ask()
        self.runs.wait_until_free(TERM_GRACE + 3 * DRAIN)
        self._connections.wait_until_free(DRAIN)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, or close it when too many are open."""
        if not self._connections.take():
            _LOGGER.warning("a connection was closed: more than %d are open", self.runs.taken + _SPARE_CONNECTIONS)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.give()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong with a connection; a client that has gone is no error."""
        del request, client_address
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            _LOGGER.info("a client left before it had its response")
        else:
            _LOGGER.error("a request failed", exc_info=error)


class _Arriving(io.RawIOBase):
    """What a client sends, until a deadline for all of it: a timeout for each read would let it drip for ever."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._deadline = time.monotonic() + PATIENCE

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request did not arrive in time")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    server: ActionServer
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_Arriving(self.connection))
        self._unread = 0

    def _handle(self) -> None:
        try:
            self._unread = self._length()
            self._send(HTTPStatus.OK, self._answer(), {})
        except _RefusalError as refusal:
            self._refuse(refusal)
        self._skip()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _handle  # noqa: N815 - http.server's names

    def _answer(self) -> dict[str, Any]:
        path = self.path.partition("?")[0]
        if path == "/health":
            self._only("GET", "HEAD")
            runs = self.server.runs
            return {"status": "healthy", "running": runs.taken, "concurrency": self.server.options.concurrency}
        self._authorise()
        found = _EXECUTE.fullmatch(path)
        if found is None:
            raise _RefusalError(
                HTTPStatus.NOT_FOUND, "not_found", "there are POST /actions/{connector}/execute and GET /health"
            )
        self._only("POST")
        return self._execute(found[1], self._request())

    def _authorise(self) -> None:
        token = self.server.options.token
        if token is None:
            self._refuse_web_pages()
            return
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode("latin-1", "replace"), token.encode())
        if scheme.lower() != "bearer" or not right:
            message = "send the server's token as the header Authorization: Bearer TOKEN"
            raise _RefusalError(HTTPStatus.UNAUTHORIZED, "unauthorized", message, WWW_Authenticate="Bearer")

    def _refuse_web_pages(self) -> None:
        """Refuse what a browser sends for a page, also for one whose name was made to lead to this machine."""
        if "Origin" in self.headers:
            fault = "web pages may not run actions on a server without a token"
            raise _RefusalError(HTTPStatus.FORBIDDEN, "forbidden_origin", fault)
        host = re.sub(r":\d*$", "", self.headers.get("Host", "")).strip("[]")
        if not _is_local(host):
            message = "without a token the server answers to localhost, 127.0.0.1 and [::1] only; give it a token"
            raise _RefusalError(HTTPStatus.FORBIDDEN, "forbidden_host", message)

    def _only(self, *methods: str) -> None:
        if self.command not in methods:
            allowed = ", ".join(methods)
            message = f"this path takes {allowed}, not {self.command}"
            raise _RefusalError(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", message, Allow=allowed)

    def _length(self) -> int:
        """Return the length of the body; requests without one have none."""
        if "Transfer-Encoding" in self.headers:
            message = "send the body in one piece, with a Content-Length"
            raise _RefusalError(HTTPStatus.LENGTH_REQUIRED, "length_required", message)
        given = self.headers.get_all("Content-Length", ["0"])
        if len(given) != 1 or not _LENGTH.fullmatch(given[0]):
            raise _RefusalError(HTTPStatus.BAD_REQUEST, "invalid_length", "Content-Length must be one number of bytes")
        return int(given[0])

    def _request(self) -> ActionInput:
        if self.headers.get_content_type() != "application/json":
            message = "send the body as Content-Type: application/json"
            raise _RefusalError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
        if self._unread > BODY_LIMIT:
            message = f"the body may have {BODY_LIMIT} bytes, and has {self._unread}"
            raise _RefusalError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", message)
        try:
            document = decode(self._body())
            return ActionInput.model_validate(document)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(map(str, fault["loc"])) or "body"
            message = f'the body must be {{"tool": ..., "input": {{...}}}}: {where}: {fault["msg"]}'
            raise _RefusalError(HTTPStatus.BAD_REQUEST, "invalid_envelope", message) from None
        except ValueError as error:
            raise _RefusalError(HTTPStatus.BAD_REQUEST, "invalid_json", str(error)) from None

    def _body(self) -> bytes:
        length, self._unread = self._unread, 0
        try:
            return self.rfile.read(length)
        except TimeoutError:
            message = f"the request did not arrive within {PATIENCE:g} s"
            raise _RefusalError(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", message) from None

    def _execute(self, connector: str, request: ActionInput) -> dict[str, Any]:
        server = self.server
        folder = self._folder(connector)
        if not server.runs.take():
            bound = server.options.concurrency
            self._unavailable("busy", f"{bound} actions run already, as many as may at once; try again")
        try:
            if server.stopping.is_set():
                self._unavailable("stopping", "the server is stopping")
            answer = run_tool(folder, request.tool, request.input, stop=server.stop_runs)
        except UnknownToolError:
            fault = f"{connector} declares no tool {request.tool!r}"
            raise _RefusalError(HTTPStatus.NOT_FOUND, "unknown_tool", fault) from None
        except ConfigurationError as error:
            raise _RefusalError(HTTPStatus.INTERNAL_SERVER_ERROR, "executor_error", str(error)) from None
        finally:
            server.runs.give()
        _LOGGER.info("%s/%s: %s", connector, request.tool, "ok" if answer["ok"] else answer["error"]["code"])
        return answer

    def _folder(self, connector: str) -> Path:
        root = self.server.options.connectors.resolve()
        folder = (root / connector).resolve()
        if not folder.is_relative_to(root) or not (folder / "setup.json").is_file():
            raise _RefusalError(
                HTTPStatus.NOT_FOUND, "unknown_connector", f"no connector {connector!r} has a setup.json"
            )
        return folder

    def _unavailable(self, code: str, message: str) -> NoReturn:
        raise _RefusalError(HTTPStatus.SERVICE_UNAVAILABLE, code, message, Retry_After="1")

    def _refuse(self, refusal: _RefusalError) -> None:
        retriable = refusal.status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.REQUEST_TIMEOUT}
        error = {"code": refusal.code, "message": refusal.message, "retriable": retriable}
        self._send(refusal.status, {"ok": False, "error": error}, refusal.headers)

    def _send(self, status: HTTPStatus, document: dict[str, Any], headers: dict[str, str]) -> None:
        body = json.dumps(document).encode() + b"\n"
        self.connection.settimeout(PATIENCE)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _skip(self) -> None:
        """Read what is left of a refused body: closing before that would take the refusal from the client."""
        left = min(self._unread, _SKIPPED)
        while left and (piece := self.rfile.read1(left)):
            left -= len(piece)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what http.server itself refuses, such as an unknown method, as JSON."""
        del explain
        status = HTTPStatus(code)
        self._refuse(_RefusalError(status, status.name.lower(), message or status.description or status.phrase))

    def version_string(self) -> str:
        """Name the server without its versions."""
        return "iot2mqtt"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log a request by its path alone: what stands behind a question mark may be secret."""
        del size
        path = getattr(self, "path", "").partition("?")[0]
        _LOGGER.info("%s %r %s from %s", self.command, path, code, self.client_address[0])

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's own name
        """Log what http.server has to say, such as a timeout."""
        _LOGGER.info("%s from %s", format % args, self.client_address[0])


def _is_local(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
