"""Runs the sensor hub, or a part of it, for the tests."""

import asyncio
import http.client
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil

from iot2mqtt_conformance.launch import Process, connector_environment
from iot2mqtt_conformance.observer import Observer
from iot2mqtt_conformance.peripherals import placed
from iot2mqtt_conformance.ports import free_port
from iot2mqtt_conformance.services.choose import choose
from tests.conformance.suite_runs import REFERENCES

HUB = REFERENCES / "sensor_hub"
ROOT = "IoT2mqtt/v1/instances/hub"
PATIENCE = 30.0
CHILDREN = ("serial_handler.py", "http_poller/index.js", "state_aggregator.py", "mqtt_bridge.py")


# ---------------------------------------------------------------- parts
@contextmanager
def simulator(port: int, *flags: str) -> Iterator[None]:
    """Run the simulated instrument and detectors."""
    command = [sys.executable, "simulator.py", "serve", "--port", str(port), *flags]
    with subprocess.Popen(command, cwd=HUB, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "the instrument is at" in process.stdout.readline()
        try:
            yield
        finally:
            process.terminate()


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
class RunningHub:
    """The hub as a program, and everything that it has published."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.messages: list[tuple[str, str]] = []
        self.lines: list[str] = []
        self.process: Process
        self._news = asyncio.Event()

    def __call__(self, topic: str, payload: bytes, *, retained: bool) -> None:
        del retained
        self.messages.append((topic.removeprefix(f"{ROOT}/"), payload.decode()))
        self._news.set()

    @property
    def mark(self) -> int:
        """How many messages there are by now."""
        return len(self.messages)

    async def until(self, wanted: Callable[[str, str], bool], *, since: int = 0, seconds: float = PATIENCE) -> str:
        """Wait for a message, and return its payload."""
        async with asyncio.timeout(seconds):
            while True:
                for topic, payload in self.messages[since:]:
                    if wanted(topic, payload):
                        return payload
                self._news.clear()
                await self._news.wait()

    async def status(self, word: str, *, since: int = 0) -> None:
        """Wait for a status."""
        await self.until(lambda topic, payload: (topic, payload) == ("status", word), since=since)

    async def state(self, device: str, *, since: int = 0) -> dict[str, Any]:
        """Wait for a state of a device that is there, and return it."""
        found: dict[str, Any] = json.loads(
            await self.until(lambda topic, _: topic == f"devices/{device}/state", since=since)
        )
        return found

    async def error(self, device: str, *, since: int, says: str = "") -> str:
        """Wait for an error of a device."""
        return await self.until(
            lambda topic, payload: topic == f"devices/{device}/error" and says in payload, since=since
        )

    def child(self, text: str) -> psutil.Process:
        """Return the process below the hub whose command line holds a text."""
        (found,) = [p for p in psutil.Process(self.process.pid).children() if text in " ".join(p.cmdline())]
        return found


def instance(port: int, **changes: Any) -> dict[str, Any]:
    """Return the example instance, with sensors at a port, and quick."""
    document: dict[str, Any] = placed(
        json.loads((HUB / "conformance" / "instance.json").read_text(encoding="utf-8")), {"port": port}
    )
    document["update_interval"] = 0.5
    document["config"]["poll_interval"] = 0.2
    document["connection"].update(serial_timeout=0.2, http_timeout=0.5)
    return {**document, **changes}


def environment(folder: Path, document: Mapping[str, Any], broker: tuple[str, int]) -> dict[str, str]:
    """Write an instance file, and return the environment that leads to it."""
    for name in ("instances", "temporary"):
        (folder / name).mkdir()
    (folder / "instances" / "hub.json").write_text(json.dumps(document), encoding="utf-8")
    given = {"IOT2MQTT_PATH": folder, "INSTANCE_NAME": "hub", "TMPDIR": folder / "temporary"}
    address = {"MQTT_HOST": broker[0], "MQTT_PORT": broker[1]}
    return connector_environment({name: str(value) for name, value in {**given, **address}.items()})


@asynccontextmanager
async def running(folder: Path, **changes: Any) -> AsyncIterator[RunningHub]:
    """Run a broker, the sensors, and the hub until it is online with a state of every device."""
    broker = choose("local")[0]()
    await broker.start()
    hub = RunningHub(free_port())
    document = instance(hub.port, **changes)
    try:
        with simulator(hub.port, "--calm"):
            async with Observer((broker.host, broker.port), hub) as observer:
                for suffix in ("status", "+/+/error", "+/+/state", "+/+/availability"):
                    await observer.follow(f"{ROOT}/{suffix}")
                env = environment(folder, document, (broker.host, broker.port))
                hub.process = Process(
                    [sys.executable, "main.py"],
                    cwd=HUB,
                    env=env,
                    label="hub",
                    on_line=lambda _stream, line: hub.lines.append(line),
                )
                await hub.process.start()
                try:
                    await hub.status("online")
                    for device in document["devices"]:
                        await hub.state(device["device_id"])
                    yield hub
                finally:
                    await hub.process.close()
    finally:
        await broker.stop()
