"""A whole pipeline: three processes of the command line on a real broker, Kafka and database."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from click.testing import CliRunner, Result

from iot2mqtt_conformance.ports import free_port
from iot2mqtt_pipeline.cli import cli
from tests.waiting import DEADLINE, wait_until

STAGES = ("bridge", "processor", "sink")


class Gate:
    """A port that leads to another, until it is closed."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self.port = free_port()
        self._listener: socket.socket | None = None
        self._joined: list[socket.socket] = []

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        for one in self._joined:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._joined.clear()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self._to)
                self._joined += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def started(*words: str, env: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    """Start a command as a process; its log is kept for the failure of a test."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_CACHE_HOME") if name in os.environ}
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "iot2mqtt_pipeline", *words],
            env=kept | dict(env),
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def health(port: int) -> tuple[int, dict[str, Any]]:
    """Return what /health/ready says; 0 where nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except OSError:
        return 0, {}


@dataclass
class Pipeline:
    """One that runs.

    Attributes:
        env: What every command needs.
        ports: Where each stage tells of its health.
        gates: The ways to `mqtt`, `kafka` and `timescale`.
        broker: The broker's own port.
        database: How libpq connects.
        kafka: The settings of a client.
    """

    env: dict[str, str]
    ports: dict[str, int]
    gates: dict[str, Gate]
    broker: int
    database: dict[str, Any]
    kafka: dict[str, str]

    def run(self, *words: str, **more: str) -> Result:
        """Run a command of the command line in this process."""
        return CliRunner().invoke(cli, words, env=self.env | more)

    def query(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(psycopg.connect(**self.database, autocommit=True)) as connection:
            cursor = connection.execute(text, values or None)
            return cursor.fetchall() if cursor.description else []

    def rows(self, device: str, count: int) -> list[tuple[Any, ...]]:
        """Return the component, number, value, text and unit of a device's rows, once there are so many."""
        found: list[tuple[Any, ...]] = []

        def enough() -> bool:
            found[:] = self.query(
                "SELECT component_type, component_id, value, value_text, unit FROM iot_measurements"
                " WHERE device_id = %s ORDER BY timestamp, component_type, component_id",
                device,
            )
            return len(found) >= count

        wait_until(enough)
        return found

    def letters(self, device: str, count: int) -> list[dict[str, Any]]:
        """Return the dead letters of a device, once there are so many."""
        found: list[dict[str, Any]] = []

        def enough() -> bool:
            said = self.run("dlq", "list", "--device", device, "--json")
            found[:] = [json.loads(line) for line in said.output.splitlines()]
            return len(found) >= count

        wait_until(enough)
        return found

    def book(self, device: str) -> dict[str, int]:
        """Return what the ledger says of a device."""
        return self.books([device])[device]

    def books(self, devices: Iterable[str]) -> dict[str, dict[str, int]]:
        """Return what the ledger says of devices."""
        said = json.loads(self.run("ledger", "--json").stdout)["devices"]
        return {device: said[device] for device in devices}


@contextmanager
def running(pipeline: Pipeline, folder: Path) -> Iterator[Pipeline]:
    """Start the three stages, wait until they are ready, and end them."""
    with ExitStack() as stack:
        for gate in pipeline.gates.values():
            gate.open()
            stack.callback(gate.close)
        for stage in STAGES:
            env = pipeline.env | {"HTTP_PORT": str(pipeline.ports[stage])}
            process = started(stage, env=env, log=folder / f"{stage}.log")
            stack.callback(process.wait, DEADLINE)
            stack.callback(process.terminate)
        until_ready(pipeline.ports.values(), folder)
        yield pipeline


def until_ready(ports: Any, folder: Path) -> None:
    """Wait until stages are ready; show their logs where they are not in time."""
    left = list(ports)

    def ready() -> bool:
        left[:] = [port for port in left if health(port)[0] != 200]
        return not left

    try:
        wait_until(ready)
    except AssertionError:
        logs = "\n".join(file.read_text(encoding="utf-8") for file in folder.glob("*.log"))
        raise AssertionError(f"not ready:\n{logs}") from None


def until_said(file: Path, text: str, process: "subprocess.Popen[bytes]") -> str:
    """Wait until a process has written something."""
    end = time.monotonic() + DEADLINE
    wait_until(lambda: text in file.read_text(encoding="utf-8") or process.poll() is not None, end - time.monotonic())
    said = file.read_text(encoding="utf-8")
    assert text in said, said
    return said
