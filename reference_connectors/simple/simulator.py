"""A simulated lamp hub: two lamps and a thermometer behind a line protocol over TCP.

    python simulator.py serve --port 7070
    python simulator.py press --port 7070 light1

Protocol: one line asks, one line answers, `ok …` or `error …`.

    list                              ok {"light1": "light", …}
    get light1                        ok {"power": false, "brightness": 50}
    set light1 {"power": true}        ok
    watch                             from then on: event light1 pressed
    fail light1, recover light1       the device stops answering the hub, and answers again
    slow light1 4                     every answer of the device takes 4 s
    press light1                      somebody presses the lamp's button
"""

import argparse
import json
import math
import socket
import socketserver
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

HOST = "127.0.0.1"


class RefusedError(Exception):
    """The hub says no; the message says why."""


@dataclass
class Lamp:
    """A lamp that takes whatever fits its two registers."""

    kind = "light"
    values: dict[str, Any] = field(default_factory=lambda: {"power": False, "brightness": 50})

    def read(self) -> dict[str, Any]:
        """Return power and brightness in percent."""
        return self.values

    def write(self, values: Mapping[str, Any]) -> None:
        """Take new values."""
        self.values.update(values)


class Thermometer:
    """A thermometer in a room that warms and cools."""

    kind = "thermometer"

    def read(self) -> dict[str, Any]:
        """Return degrees Celsius and percent of relative humidity."""
        swing = math.sin(time.monotonic() / 30)
        return {"temperature": round(21 + 2 * swing, 2), "humidity": round(45 - 5 * swing, 1)}

    def write(self, values: Mapping[str, Any]) -> None:
        """Refuse."""
        raise RefusedError(f"a thermometer takes no {', '.join(values)}")


@dataclass
class Port:
    """Where a device is plugged into the hub, and what is wrong with it."""

    device: Lamp | Thermometer
    failing: bool = False
    delay: float = 0.0


class SimulatedHub(socketserver.ThreadingTCPServer):
    """The hub and what is plugged into it; each caller has a thread."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int) -> None:
        self.ports = {"light1": Port(Lamp()), "light2": Port(Lamp()), "thermo1": Port(Thermometer())}
        self.watchers: set[Caller] = set()
        super().__init__((HOST, port), Caller)


class Caller(socketserver.StreamRequestHandler):
    """Somebody who has called the hub, and asks one line after the other."""

    server: SimulatedHub

    def handle(self) -> None:
        """Answer until the caller hangs up, or speaks something else."""
        try:
            while line := self.rfile.readline():
                self.tell(self._answer(line.decode()))
        except (OSError, ValueError):
            pass  # which is no concern of the others
        finally:
            self.server.watchers.discard(self)

    def tell(self, line: str) -> None:
        """Send the caller one line, if it is still there."""
        with suppress(OSError):
            self.wfile.write(f"{line}\n".encode())

    def _answer(self, line: str) -> str:
        verb, _, rest = line.strip().partition(" ")
        name, _, argument = rest.partition(" ")
        if verb == "list":
            return "ok " + json.dumps({name: port.device.kind for name, port in self.server.ports.items()})
        if verb == "watch":
            self.server.watchers.add(self)
            return "event hub watching"
        verbs: dict[str, Callable[[Port, str, str], str]] = {
            "get": self._get,
            "set": self._set,
            "fail": self._fail,
            "recover": self._recover,
            "slow": self._slow,
            "press": self._press,
        }
        if verb not in verbs or name not in self.server.ports:
            return f"error the hub does not understand: {line.strip()}"
        port = self.server.ports[name]
        try:
            if verb in ("get", "set"):
                self._reach(port, name)
            return f"ok {verbs[verb](port, name, argument)}".rstrip()
        except RefusedError as refusal:
            return f"error {refusal}"

    @staticmethod
    def _reach(port: Port, name: str) -> None:
        time.sleep(port.delay)
        if port.failing:
            raise RefusedError(f"{name} does not answer")

    @staticmethod
    def _get(port: Port, _name: str, _argument: str) -> str:
        return json.dumps(port.device.read())

    @staticmethod
    def _set(port: Port, _name: str, argument: str) -> str:
        port.device.write(json.loads(argument))
        return ""

    @staticmethod
    def _fail(port: Port, _name: str, _argument: str) -> str:
        port.failing = True
        return ""

    @staticmethod
    def _recover(port: Port, _name: str, _argument: str) -> str:
        port.failing, port.delay = False, 0.0
        return ""

    @staticmethod
    def _slow(port: Port, _name: str, argument: str) -> str:
        port.delay = float(argument or 4)
        return ""

    def _press(self, _port: Port, name: str, _argument: str) -> str:
        for watcher in tuple(self.server.watchers):
            watcher.tell(f"event {name} pressed")
        return ""


def tell(port: int, line: str) -> int:
    """Send a running hub one line and print its answer; the exit code is 0 where it said ok."""
    try:
        with socket.create_connection((HOST, port), 5) as connection, connection.makefile("rw") as stream:
            stream.write(f"{line}\n")
            stream.flush()
            answer = stream.readline().strip()
    except OSError as error:
        print(f"no lamp hub answers on {HOST}:{port} ({error}): start one with `serve`", file=sys.stderr)
        return 1
    print(answer)
    return 0 if answer.startswith("ok") else 1


def main() -> int:
    """Serve, or tell a running hub something."""
    parser = argparse.ArgumentParser(description="A simulated lamp hub.")
    parser.add_argument("verb", choices=["serve", "fail", "recover", "slow", "press", "get", "set"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("words", nargs="*", metavar="DEVICE", help="the device, and what else the verb takes")
    given = parser.parse_intermixed_args()
    if given.verb != "serve":
        return tell(given.port, " ".join([given.verb, *given.words]))
    try:
        hub = SimulatedHub(given.port)
    except OSError as error:
        print(f"the lamp hub cannot listen on {HOST}:{given.port}: {error.strerror}", file=sys.stderr)
        return 1
    print(f"the lamp hub listens on {HOST}:{given.port}", flush=True)
    with hub, suppress(KeyboardInterrupt):
        hub.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
