"""`iot2mqtt action-server` at its bound, with slow clients, and when it stops."""

import select
import signal
import socket
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.sdk.action_service import SECONDS, Response, Server, ask, fill, line_of, run, serving

from iot2mqtt_sdk import action_server
from iot2mqtt_sdk.action_server import ActionServer, ActionServerOptions


@pytest.fixture
def connectors(tmp_path: Path) -> Path:
    return fill(tmp_path)


@pytest.fixture
def waiting(connectors: Path) -> Iterator[tuple[Server, Future[Response]]]:
    """A server that runs the one action that it may."""
    with serving(connectors, "--concurrency", "1") as server, ThreadPoolExecutor(1) as pool:
        response = pool.submit(run, server.port, "wait")
        line_of(connectors / "lamp" / "ready")
        yield server, response


def test_beyond_the_bound_a_request_is_told_to_come_again(
    connectors: Path, waiting: tuple[Server, Future[Response]]
) -> None:
    server, first = waiting

    refused = run(server.port, "echo")
    health = ask(server.port, "GET", "/health").body
    (connectors / "lamp" / "gate").write_text("open\n")

    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "busy", "1")
    assert refused.body["error"]["retriable"] is True
    assert (health["running"], health["concurrency"]) == (1, 1)
    assert first.result(SECONDS).body == {"ok": True, "result": "open"}
    assert run(server.port, "echo").status == 200


def test_sigterm_takes_no_more_requests_but_lets_a_running_action_end(
    connectors: Path, waiting: tuple[Server, Future[Response]]
) -> None:
    server, first = waiting

    server.process.send_signal(signal.SIGTERM)
    server.wait_for_log("stopping: 1 running actions")
    with pytest.raises(ConnectionRefusedError):
        ask(server.port, "GET", "/health")
    (connectors / "lamp" / "gate").write_text("late\n")

    assert first.result(SECONDS).body == {"ok": True, "result": "late"}
    assert server.process.wait(SECONDS) == 0


@contextmanager
def served_here(connectors: Path) -> Generator[ActionServer]:
    """A server in this process, so that its patience can be shortened."""
    server = ActionServer(ActionServerOptions(connectors=connectors, port=0))
    server.open()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(SECONDS)


def test_a_stop_ends_what_does_not_end_by_itself_with_its_processes(
    connectors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(action_server, "STOP_GRACE", 0.2)
    with ThreadPoolExecutor(1) as pool:
        with served_here(connectors) as server:
            response = pool.submit(run, server.server_port, "hang")
            grandchild = int(line_of(connectors / "lamp" / "ready"))
        assert response.result(SECONDS).code == "terminated"

    stat = Path(f"/proc/{grandchild}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in "ZX"


@pytest.mark.parametrize("beginning", [b"POST /actions", b"POST /health HTTP/1.1\r\nContent-Length: 1000\r\n\r\n"])
def test_a_client_that_drips_is_cut_off(connectors: Path, monkeypatch: pytest.MonkeyPatch, beginning: bytes) -> None:
    monkeypatch.setattr(action_server, "PATIENCE", 0.5)
    with served_here(connectors) as server, socket.create_connection(("127.0.0.1", server.server_port)) as client:
        client.sendall(beginning)
        closed, deadline = False, time.monotonic() + SECONDS
        while not closed and time.monotonic() < deadline:
            closed = drips_into_the_void(client)

        assert closed
        assert ask(server.server_port, "GET", "/health").status == 200


def drips_into_the_void(client: socket.socket) -> bool:
    """Send one more byte, and tell whether the server has closed the connection."""
    try:
        client.sendall(b"x")
        return bool(select.select([client], [], [], 0.05)[0]) and client.recv(65536) == b""
    except OSError:
        return True


def test_a_flood_of_idle_connections_does_not_keep_the_server_from_recovering(
    connectors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(action_server, "_SPARE_CONNECTIONS", 4)
    with served_here(connectors) as server:
        idle = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(20)]
        assert select.select(idle, [], [], SECONDS)[0], "none was turned away"
        for each in idle:
            each.close()

        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and not answers(server.server_port):
            pass
        assert answers(server.server_port)


def answers(port: int) -> bool:
    try:
        return ask(port, "GET", "/health").status == 200
    except OSError:
        return False
