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
import asyncio
import json
import math
import socket
import sys
import time
from collections.abc import Callable, Mapping
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


class SimulatedHub:
    """The hub and what is plugged into it."""

    def __init__(self) -> None:
        self._ports = {"light1": Port(Lamp()), "light2": Port(Lamp()), "thermo1": Port(Thermometer())}
        self._watchers: set[asyncio.StreamWriter] = set()

    async def serve(self, port: int) -> None:
        """Answer until the process ends."""
        server = await asyncio.start_server(self._talk, HOST, port)
        print(f"the lamp hub listens on {HOST}:{port}", flush=True)
        await server.serve_forever()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(f"{await self._answer(line.decode(), writer)}\n".encode())
                await writer.drain()
        except (ConnectionError, UnicodeDecodeError, ValueError):
            pass  # a caller that hangs up or speaks something else is no concern of the others
        finally:
            self._watchers.discard(writer)
            writer.close()

    async def _answer(self, line: str, writer: asyncio.StreamWriter) -> str:
        verb, _, rest = line.strip().partition(" ")
        name, _, argument = rest.partition(" ")
        if verb == "list":
            return "ok " + json.dumps({name: port.device.kind for name, port in self._ports.items()})
        if verb == "watch":
            self._watchers.add(writer)
            return "event hub watching"
        verbs: dict[str, Callable[[Port, str, str], str]] = {
            "get": self._get,
            "set": self._set,
            "fail": self._fail,
            "recover": self._recover,
            "slow": self._slow,
            "press": self._press,
        }
        if verb not in verbs or name not in self._ports:
            return f"error the hub does not understand: {line.strip()}"
        port = self._ports[name]
        try:
            if verb in ("get", "set"):
                await self._reach(port, name)
            return f"ok {verbs[verb](port, name, argument)}".rstrip()
        except RefusedError as refusal:
            return f"error {refusal}"

    @staticmethod
    async def _reach(port: Port, name: str) -> None:
        await asyncio.sleep(port.delay)
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
        for watcher in self._watchers:
            watcher.write(f"event {name} pressed\n".encode())
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
        asyncio.run(SimulatedHub().serve(given.port))
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        print(f"the lamp hub cannot listen on {HOST}:{given.port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
