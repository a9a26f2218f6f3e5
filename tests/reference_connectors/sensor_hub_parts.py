"""Runs the sensor hub, or a part of it, for the tests."""

import http.client
import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from iot2mqtt_conformance.launch import connector_environment
from iot2mqtt_conformance.peripherals import placed
from iot2mqtt_conformance.ports import free_port
from tests.conformance.suite_runs import REFERENCES
from tests.reference_connectors.launched import Launched, launched, simulated
from tests.sdk.brokers import Broker

HUB = REFERENCES / "sensor_hub"
PATIENCE = 30.0
CHILDREN = ("serial_handler.py", "http_poller/index.js", "state_aggregator.py", "mqtt_bridge.py")


# ---------------------------------------------------------------- parts
def simulator(port: int, *flags: str) -> AbstractContextManager[object]:
    """Run the simulated instrument and detectors."""
    return simulated(HUB.name, "--port", str(port), *flags)


def fault(port: int, sensor: str, what: str = "") -> None:
    """Let a simulated sensor have a fault, or none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("PUT", f"/{sensor}", what.encode())
    assert connection.getresponse().status == 200
    connection.close()


def call(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, Any]]:
    """Ask a service, and return status and answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@contextmanager
def service(command: list[str], settings: Mapping[str, Any], folder: Path, **environment: str) -> Iterator[int]:
    """Run one service of the hub alone until it listens, and yield its port."""
    port = free_port()
    file = folder / f"{port}.json"
    file.write_text(json.dumps(settings), encoding="utf-8")
    env = connector_environment({"SERVICE_PORT": str(port), **environment})
    with subprocess.Popen(
        [*command, str(file)], cwd=HUB, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "listens" in line:
                break
        # Nobody reads what follows, and a full pipe must not hold it up.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        try:
            yield port
        finally:
            process.terminate()


class Handler:
    """A handler of which the test decides what it answers.

    Args:
        port: Where it listens.

    Attributes:
        answers: Status and body by path.
        asked: The paths that were asked for, one after the other.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: dict[str, tuple[int, Any]] = {"/health": (200, {"status": "healthy", "started": "then"})}
        self.asked: list[str] = []
        outer = self

        class Answering(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                status, body = outer.answers[self.path]
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Answering)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        """Go away; who calls is refused from then on."""
        self._server.shutdown()
        self._server.server_close()


def until(condition: Callable[[], Any], what: str) -> Any:
    """Ask again and again until the answer is a good one, and return it."""
    end = threading.Event()
    timer = threading.Timer(PATIENCE, end.set)
    timer.start()
    try:
        while not end.is_set():
            if found := condition():
                return found
            end.wait(0.02)
    finally:
        timer.cancel()
    raise TimeoutError(what)


# ---------------------------------------------------------------- the whole
def instance(port: int, **changes: Any) -> dict[str, Any]:
    """Return the example instance, with sensors at a port, and quick."""
    document: dict[str, Any] = placed(
        json.loads((HUB / "conformance" / "instance.json").read_text(encoding="utf-8")), {"port": port}
    )
    document["update_interval"] = 0.5
    document["config"]["poll_interval"] = 0.2
    document["connection"].update(serial_timeout=0.2, http_timeout=0.5)
    return {**document, **changes}


def temporary(folder: Path) -> Path:
    """Return where a hub of this folder keeps what it has at run time."""
    made = folder / "temporary"
    made.mkdir(exist_ok=True)
    return made


@contextmanager
def hub(broker: Broker, folder: Path, port: int, **changes: Any) -> Iterator[Launched]:
    """Run the hub until it is online with a state of every device; its sensors are at a port."""
    document = instance(port, **changes)
    variables = {"TMPDIR": str(temporary(folder))}
    with launched(HUB.name, "main.py", document, broker=broker, folder=folder, **variables) as house:
        for device in document["devices"]:
            house.state_since(0, device["device_id"])
        yield house


@contextmanager
def hub_and_sensors(broker: Broker, folder: Path, **changes: Any) -> Iterator[tuple[Launched, int]]:
    """Run the sensors and the hub, and yield the hub and the port of the sensors."""
    port = free_port()
    with simulator(port, "--calm"), hub(broker, folder, port, **changes) as house:
        yield house, port
