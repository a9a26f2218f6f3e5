"""A simulated pump house: two pumps and a gate behind a controller with a line protocol over TCP.

    python simulator.py serve --port 7171
    python simulator.py open --port 7171 gate1

Protocol: one line asks, one line answers, `ok …` or `error …`.

    list                              ok {"pump1": "pump", …}
    read pump1                        ok {"running": false, "speed": 50}
    write pump1 {"running": true}     ok
    watch                             from then on: gate1 {"open": false}, at once and whenever it changes
    open gate1, close gate1           somebody moves the gate
    fail pump1, recover pump1         the device stops answering the controller, and answers again
    slow pump1 4                      every answer of the device takes 4 s
    spoil pump1 half                  its next answer is spoiled: half, nothing, broken, text or huge

With `--faults 0.1` one of ten answers is spoiled, each in another way.
"""

import argparse
import asyncio
import itertools
import json
import random
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

HOST = "127.0.0.1"
SPOILED = {
    "half": b'ok {"running": tr',
    "nothing": b"",
    "broken": b'ok {"running": maybe}\n',
    "text": b"HTTP/1.1 500 Internal Server Error\n",
    "huge": b"ok " + b"9" * 100_000 + b"\n",
}
"""What may come in the place of an answer, before the controller hangs up."""


class RefusedError(Exception):
    """The controller says no; the message says why."""


@dataclass
class Device:
    """A pump or a gate, and what is wrong with it."""

    values: dict[str, Any]
    failing: bool = False
    delay: float = 0.0
    spoiled: str = ""


def plant() -> dict[str, Device]:
    """Return the devices of a pump house."""
    pumps = {name: Device({"running": False, "speed": 50}) for name in ("pump1", "pump2")}
    return {**pumps, "gate1": Device({"open": False})}


@dataclass
class Controller:
    """The controller.

    Attributes:
        faults: Which part of the answers is spoiled.
    """

    faults: float = 0.0
    devices: dict[str, Device] = field(default_factory=plant)
    watchers: set[asyncio.StreamWriter] = field(default_factory=set)
    ways: "itertools.cycle[str]" = field(default_factory=lambda: itertools.cycle(SPOILED))

    async def serve(self, port: int) -> None:
        """Answer until the process ends."""
        server = await asyncio.start_server(self._talk, HOST, port)
        print(f"the pump house listens on {HOST}:{port}", flush=True)
        await server.serve_forever()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                if line.strip() == b"watch":
                    self._watch(writer)
                else:
                    answer = await self._answer(line.decode().strip())
                    writer.write(answer)
                    await writer.drain()
                    if answer in SPOILED.values():
                        return
        except (ConnectionError, UnicodeDecodeError, ValueError):
            pass  # A caller that hangs up or speaks something else is no concern of the others.
        finally:
            self.watchers.discard(writer)
            writer.close()

    async def _answer(self, line: str) -> bytes:
        verb, _, rest = line.partition(" ")
        if verb == "list":
            return f"ok {json.dumps({name: name.rstrip('0123456789') for name in self.devices})}\n".encode()
        name, _, argument = rest.partition(" ")
        device = self.devices.get(name)
        if device is None:
            return f"error there is no device {name!r}\n".encode()
        try:
            if verb in ("read", "write"):
                return await self._serve(device, name, argument if verb == "write" else None)
            self._meddle(device, name, verb, argument)
        except RefusedError as refusal:
            return f"error {refusal}\n".encode()
        return b"ok\n"

    async def _serve(self, device: Device, name: str, written: str | None) -> bytes:
        await asyncio.sleep(device.delay)
        if device.failing:
            raise RefusedError(f"{name} does not answer")
        if spoiled := device.spoiled or (next(self.ways) if random.random() < self.faults else ""):
            device.spoiled = ""
            return SPOILED[spoiled]
        if written is None:
            return f"ok {json.dumps(device.values)}\n".encode()
        device.values.update(json.loads(written))
        return b"ok\n"

    def _meddle(self, device: Device, name: str, verb: str, argument: str) -> None:
        """Do what no connector does: what happens to the devices of a pump house."""
        if verb in ("open", "close"):
            device.values["open"] = verb == "open"
            self._tell(name, device.values)
        elif verb == "slow":
            device.delay = float(argument or 4)
        elif verb == "spoil":
            self._spoil(device, name, argument)
        elif verb in ("fail", "recover"):
            device.failing, device.delay = verb == "fail", 0.0
        else:
            raise RefusedError(f"the controller does not understand {verb!r}")

    def _spoil(self, device: Device, name: str, way: str) -> None:
        if way not in SPOILED:
            raise RefusedError(f"there is no way {way!r} to spoil an answer")
        if name.startswith("gate"):
            for watcher in self.watchers:
                watcher.write(SPOILED[way].replace(b"ok", name.encode()))
                watcher.close()
        else:
            device.spoiled = way

    def _watch(self, writer: asyncio.StreamWriter) -> None:
        self.watchers.add(writer)
        self._tell("gate1", self.devices["gate1"].values)

    def _tell(self, name: str, values: Mapping[str, Any]) -> None:
        for watcher in self.watchers:
            watcher.write(f"{name} {json.dumps(values)}\n".encode())


def tell(port: int, line: str) -> int:
    """Send a running pump house one line and print its answer; the exit code is 0 where it said ok."""
    try:
        with socket.create_connection((HOST, port), 5) as connection, connection.makefile("rw") as stream:
            stream.write(f"{line}\n")
            stream.flush()
            answer = stream.readline().strip()
    except OSError as error:
        print(f"no pump house answers on {HOST}:{port} ({error}): start one with `serve`", file=sys.stderr)
        return 1
    print(answer)
    return 0 if answer.startswith("ok") else 1


def main() -> int:
    """Serve, or tell a running pump house something."""
    verbs = ["serve", "open", "close", "fail", "recover", "slow", "spoil", "read", "write"]
    parser = argparse.ArgumentParser(description="A simulated pump house.")
    parser.add_argument("verb", choices=verbs)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--faults", type=float, default=0.0, help="the part of the answers that is spoiled")
    parser.add_argument("words", nargs="*", metavar="DEVICE", help="the device, and what else the verb takes")
    given = parser.parse_intermixed_args()
    if given.verb != "serve":
        return tell(given.port, " ".join([given.verb, *given.words]))
    try:
        asyncio.run(Controller(given.faults).serve(given.port))
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        print(f"the pump house cannot listen on {HOST}:{given.port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
