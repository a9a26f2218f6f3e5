"""Connectors for tests: within the test's process, or as programs."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.waiting import DEADLINE

from iot2mqtt_sdk import BaseConnector

C = TypeVar("C", bound=BaseConnector)
OURS = ("MQTT_", "IOT2MQTT_", "INSTANCE_NAME", "CONNECTOR_TYPE", "MODE", "LOG_LEVEL", "HOMEASSISTANT_", "PYTEST_")


def lamps(*names: str, **keys: Any) -> dict[str, Any]:
    """An instance document with devices of these names, polled ten times a second."""
    return {"update_interval": 0.1, "devices": [{"device_id": name} for name in names], **keys}


class Program:
    """A connector that runs as a process of its own."""

    def __init__(self, command: list[str], *, cwd: Path, environment: dict[str, str]) -> None:
        self.lines: list[str] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()

    @property
    def log(self) -> str:
        with self._news:
            return "".join(self.lines)

    def wait_log(self, text: str, count: int = 1) -> None:
        with self._news:
            found = self._news.wait_for(lambda: "".join(self.lines).count(text) >= count, DEADLINE)
        assert found, self.log

    def signal(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; return exit code and the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.wait(), time.monotonic() - began

    def wait(self) -> int:
        code = self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(DEADLINE)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Workshop:
    """Makes connectors of the instance `box`, and stops them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, port: int, base: str) -> None:
        self.folder = folder
        self.base = base
        self._patch = monkeypatch
        self._stops: list[Callable[[], object]] = []
        for name in list(os.environ):
            if name.startswith(OURS) and not name.startswith("PYTEST_"):
                monkeypatch.delenv(name)
        self.env(
            IOT2MQTT_PATH=str(folder),
            IOT2MQTT_SECRETS_DIR=str(folder / "secrets"),
            INSTANCE_NAME="box",
            MQTT_HOST="127.0.0.1",
            MQTT_PORT=str(port),
            MQTT_BASE_TOPIC=base,
        )

    def env(self, **variables: str) -> None:
        for name, value in variables.items():
            self._patch.setenv(name, value)

    def configure(self, document: object, name: str = "box") -> Path:
        """Write an instance file; a text or bytes are written as they are."""
        file = self.folder / "instances" / f"{name}.json"
        file.parent.mkdir(exist_ok=True)
        text = document if isinstance(document, str | bytes) else json.dumps(document)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    def make(self, kind: type[C], document: object = None) -> C:
        """Make a connector that is not started, to be stopped with the test."""
        self.configure(lamps("lamp") if document is None else document)
        connector = kind()
        self._stops.append(connector.stop)
        return connector

    def serve(self, kind: type[C], document: object = None) -> C:
        connector = self.make(kind, document)
        connector.start()
        return connector

    def program(self, code: str, document: object = None, **variables: str) -> Program:
        """Start a connector as a program; `class Lamp(BaseConnector)` and what follows is its code."""
        if document is not None or not (self.folder / "instances" / "box.json").exists():
            self.configure(lamps("lamp") if document is None else document)
        file = self.folder / "code" / "main.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(whole(code), encoding="utf-8")
        return self.run([sys.executable, "main.py"], file.parent, **variables)

    def run(self, command: list[str], cwd: Path, **variables: str) -> Program:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        program = Program(command, cwd=cwd, environment={**inherited, **variables})
        self._stops.append(program.close)
        return program

    def close(self) -> None:
        for stop in reversed(self._stops):
            stop()


def whole(code: str) -> str:
    return f"from iot2mqtt_sdk import BaseConnector, CommandError\n{textwrap.dedent(code)}\nLamp.main()\n"
