"""The bridge's side of the socket: who has called, what was asked of whom, and what is told unasked."""

import itertools
import logging
import socketserver
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from protocol import LONGEST, ProtocolError, decode, encode

_log = logging.getLogger("iot2mqtt.workers")

APPEARS = 3.0
"""Seconds that a question waits for a worker that is not there: about as long as a first restart takes."""


class WorkerError(Exception):
    """A worker says no, does not answer, or is not there."""


class Worker:
    """The connection of one worker."""

    def __init__(self, name: str, stream: BufferedIOBase) -> None:
        self.name = name
        self._stream = stream
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._asked: dict[int, Future[Any]] = {}

    def send(self, **line: Any) -> None:
        """Send a line.

        Raises:
            WorkerError: The connection has ended.
        """
        try:
            with self._lock:
                self._stream.write(encode(**line))
                self._stream.flush()
        except (OSError, ValueError) as error:
            raise WorkerError(f"the {self.name} has gone: {error}") from None

    def ask(self, timeout: float, **question: Any) -> Any:
        """Send a question and return what the worker answers.

        Raises:
            WorkerError: It says no, does not answer in time, or ends meanwhile.
        """
        number, answer = next(self._numbers), Future[Any]()
        self._asked[number] = answer
        try:
            self.send(id=number, **question)
            return answer.result(timeout)
        except TimeoutError:
            raise WorkerError(f"the {self.name} has not answered within {timeout:g} s") from None
        finally:
            del self._asked[number]

    def take(self, line: Mapping[str, Any]) -> None:
        """Take an answer; one that nobody waits for any more is passed over."""
        answer = self._asked.get(line["id"])
        if answer is None or answer.done():
            return
        if "ok" in line:
            answer.set_result(line["ok"])
        else:
            answer.set_exception(WorkerError(str(line.get("error"))))

    def end(self) -> None:
        """The connection has ended: nobody waits any longer."""
        for answer in list(self._asked.values()):
            if not answer.done():
                answer.set_exception(WorkerError(f"the {self.name} has ended"))


class Workers:
    """Listens for workers.

    Args:
        path: Of the socket.
        orders: What each worker is to serve, by its name.
        on_line: Called with what comes unasked, on a thread of the connection.
    """

    def __init__(
        self, *, path: str, orders: Mapping[str, Mapping[str, Any]], on_line: Callable[[dict[str, Any]], None]
    ) -> None:
        self._path = path
        self._orders = orders
        self._on_line = on_line
        self._there: dict[str, Worker] = {}
        self._news = threading.Condition()
        self._server: socketserver.ThreadingUnixStreamServer | None = None

    def start(self) -> None:
        """Listen. A socket that a killed bridge has left behind is replaced."""
        Path(self._path).unlink(missing_ok=True)
        self._server = _Server(self._path, partial(_Handler, self._serve))
        threading.Thread(target=self._server.serve_forever, name="workers", daemon=True).start()

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def wait_for(self, name: str, seconds: float) -> Worker | None:
        """Return a worker as soon as it is there; None where it does not come in time."""
        with self._news:
            self._news.wait_for(lambda: name in self._there, seconds)
            return self._there.get(name)

    def ask(self, name: str, timeout: float, **question: Any) -> Any:
        """Ask a worker, which may have to be started first.

        Raises:
            WorkerError: It is not there, says no, does not answer in time, or ends meanwhile.
        """
        worker = self.wait_for(name, APPEARS)
        if worker is None:
            raise WorkerError(f"the {name} does not run")
        return worker.ask(timeout, **question)

    def _serve(self, reader: BufferedIOBase, writer: BufferedIOBase) -> None:
        first = decode(reader.readline(LONGEST))
        if "hello" not in first:
            self._on_line(first)
            return
        name = str(first["hello"])
        worker = Worker(name, writer)
        worker.send(configure=self._orders.get(name, {}))
        with self._news:
            self._there[name] = worker
            self._news.notify_all()
        try:
            while line := reader.readline(LONGEST):
                document = decode(line)
                if "id" in document:
                    worker.take(document)
                else:
                    self._on_line(document)
        finally:
            with self._news:
                if self._there.get(name) is worker:
                    del self._there[name]
            worker.end()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


class _Handler(socketserver.StreamRequestHandler):
    def __init__(self, serve: Callable[[BufferedIOBase, BufferedIOBase], None], *given: Any) -> None:
        self._serve_connection = serve
        super().__init__(*given)

    def handle(self) -> None:
        with suppress(OSError):
            try:
                self._serve_connection(self.rfile, self.wfile)
            except (ProtocolError, WorkerError) as error:
                _log.warning("a connection of another process is closed: %s", error)
