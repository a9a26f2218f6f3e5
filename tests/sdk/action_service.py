"""A running action server for tests, the connectors that it serves, and how to ask it."""

import json
import os
import re
import select
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

IOT2MQTT = str(Path(sys.executable).with_name("iot2mqtt"))
SECONDS = 30
JSON = {"Content-Type": "application/json"}
SETUP = {
    "tools": {
        "echo": {"entry": "actions/echo.sh", "secrets": ["password"]},
        "fail": {"entry": "actions/fail.sh", "secrets": ["password"]},
        "wait": {"entry": "actions/wait.sh"},
        "hang": {"entry": "actions/hang.sh"},
        "away": {"entry": "../../away.sh"},
    }
}
SCRIPTS = {
    "echo.sh": 'text=$(cat)\necho "got $text" >&2\nenv >&2\nprintf \'{"ok": true, "result": %s}\' "$text"\n',
    "fail.sh": "cat >&2\nexit 3\n",
    "wait.sh": 'echo >ready\nread -r word <gate\necho "{\\"ok\\": true, \\"result\\": \\"$word\\"}"\n',
    "hang.sh": "trap '' TERM\nsleep 300 &\necho $! >ready\nwait\nwait\n",
}


@dataclass(frozen=True)
class Response:
    status: int
    headers: dict[str, str]
    body: Any

    @property
    def code(self) -> str:
        assert self.body["ok"] is False
        assert self.body["error"]["message"]
        return str(self.body["error"]["code"])


def ask(
    port: int, method: str, path: str, body: str | bytes | None = None, headers: dict[str, str] | None = None
) -> Response:
    connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        text = response.read()
        assert response.headers["Content-Type"] == "application/json"
        return Response(response.status, dict(response.headers), json.loads(text) if text else None)
    finally:
        connection.close()


def run(port: int, tool: str, connector: str = "lamp", token: str | None = None, **inputs: Any) -> Response:
    headers = JSON if token is None else {**JSON, "Authorization": f"Bearer {token}"}
    return ask(port, "POST", f"/actions/{connector}/execute", json.dumps({"tool": tool, "input": inputs}), headers)


def fill(root: Path) -> Path:
    """Make a folder of connectors: one that works, one that is broken, one that leads out."""
    folder = root / "connectors" / "lamp"
    (folder / "actions").mkdir(parents=True)
    (folder / "setup.json").write_text(json.dumps(SETUP))
    for path, body in [(f"actions/{name}", body) for name, body in SCRIPTS.items()] + [("../../away.sh", "")]:
        (folder / path).write_text(f"#!/bin/sh\n{body}")
        (folder / path).chmod(0o755)
    for pipe in ("ready", "gate"):
        os.mkfifo(folder / pipe)
    (root / "connectors" / "broken").mkdir()
    (root / "connectors" / "broken" / "setup.json").write_text("{")
    (root / "outside").mkdir()
    (root / "outside" / "setup.json").write_text(json.dumps(SETUP))
    (root / "connectors" / "linked").symlink_to(root / "outside")
    return root / "connectors"


class Server:
    """A running `iot2mqtt action-server`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._said: list[str] = []
        self._heard = 0
        self._news = threading.Condition()
        # A pipe that nobody reads would be full after some dozens of requests, and stop the server.
        self._listening = threading.Thread(target=self._listen)
        self._listening.start()
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)$", process.stdout.readline().strip())
        assert found is not None
        self.port = int(found[1])

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self._said.append(line)
                self._news.notify_all()

    def wait_for_log(self, words: str) -> None:
        """Wait for a line after those that were waited for before."""
        with self._news:
            assert self._news.wait_for(lambda: self._found(words), SECONDS), self._said

    def _found(self, words: str) -> bool:
        place = next((at for at, line in enumerate(self._said) if at >= self._heard and words in line), None)
        self._heard = self._heard if place is None else place + 1
        return place is not None

    def stop(self) -> str:
        """Stop it with SIGTERM; return its log."""
        self.end()
        assert self.process.returncode == 0, self._said
        return "".join(self._said)

    def end(self) -> None:
        """Stop it, however it ends."""
        self.process.terminate()
        self.process.wait(SECONDS)
        self._listening.join(SECONDS)


@contextmanager
def serving(connectors: Path, *arguments: str, **variables: str) -> Generator[Server]:
    command = [IOT2MQTT, "action-server", "--port", "0", "--connectors", str(connectors), *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **variables}) as process:
        server = Server(process)
        try:
            yield server
        finally:
            server.end()


def line_of(pipe: Path) -> str:
    """Return the line that a script writes into a named pipe, once it does."""
    descriptor = os.open(pipe, os.O_RDWR)
    try:
        assert select.select([descriptor], [], [], SECONDS)[0], f"nothing was written to {pipe.name}"
        return os.read(descriptor, 100).decode().strip()
    finally:
        os.close(descriptor)
