"""Simulated sensors: an instrument at the far end of a serial line, and motion detectors that answer over HTTP.

    python simulator.py serve --port 7070
    python simulator.py fault --port 7070 temp_living_room noise
    python simulator.py recover --port 7070 temp_living_room

The serial line is a pseudo-terminal, to which the link `tty-7070` in this folder leads. As in a house, 5 % of the
readings on it fail, and 3 % of the questions to a detector are never answered; `--calm` does away with that.

What can be wrong with an instrument's sensor:  silent, slow SECONDS, half, noise, refuse
What can be wrong with a detector:              silent, slow SECONDS, half, broken, STATUS such as 500 or 302, endless
"""

import argparse
import http.client
import json
import math
import os
import random
import signal
import sys
import threading
import time
import tty
from collections.abc import Callable
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from instrument import checksum

HOST = "127.0.0.1"
READ_ERRORS = 0.05
TIMEOUTS = 0.03
SILENCE = 60.0
"""Seconds for which a detector that does not answer keeps the connection."""
DAY = 86_400
NOISE = 0x81
"""Bits that flip in a byte that is hit."""
ACTIVE_HOURS = range(7, 23)


def swinging(base: float, swing: float) -> Callable[[], float]:
    """Return a quantity that goes up and down once a day, with a little noise."""
    return lambda: round(base + swing * math.sin(2 * math.pi * time.time() / DAY) + random.uniform(-0.2, 0.2), 2)


SENSORS = {"temp_living_room": swinging(22, 3), "humidity_living_room": swinging(45, 10)}
TYPES = {"temp_living_room": "temperature", "humidity_living_room": "humidity"}
DETECTORS = ("motion_front_door", "motion_back_door")


class World:
    """What is wrong with which sensor.

    Args:
        calm: Whether nothing goes wrong by itself.
    """

    def __init__(self, *, calm: bool) -> None:
        self._calm = calm
        self._faults: dict[str, str] = {}

    def set(self, name: str, fault: str) -> None:
        """Let a sensor have a fault, or none when the text is empty."""
        self._faults[name] = fault

    def fault(self, name: str, usual: str, share: float) -> str:
        """Return what is wrong with a sensor now; without a fault of its own, the usual one in a share of cases."""
        now_and_then = usual if not self._calm and random.random() < share else ""
        return self._faults.get(name) or now_and_then


class Instrument(threading.Thread):
    """Answers at one end of a pseudo-terminal; the other one gets a name.

    Args:
        world: What is wrong.
        link: The name.
    """

    def __init__(self, world: World, link: Path) -> None:
        super().__init__(daemon=True)
        self._world = world
        # The other end stays open here as well: a caller that closes it is no reason to hang up.
        self._end, self._other_end = os.openpty()
        tty.setraw(self._other_end)
        link.unlink(missing_ok=True)
        link.symlink_to(os.ttyname(self._other_end))

    def run(self) -> None:
        """Answer line by line."""
        with os.fdopen(self._end, "rb", buffering=0) as end:
            line = b""
            while byte := end.read(1):
                line += byte
                if byte == b"\n":
                    os.write(end.fileno(), self._answer(line.decode("ascii", "replace").strip()))
                    line = b""

    def _answer(self, question: str) -> bytes:
        word, _, name = question.partition(" ")
        if word == "LIST":
            return self._line("LIST " + " ".join(f"{sensor}:{kind}" for sensor, kind in TYPES.items()))
        if word != "READ" or name not in SENSORS:
            return self._line("ERR unknown")
        fault, _, seconds = self._world.fault(name, "refuse", READ_ERRORS).partition(" ")
        answer = self._line(f"{name} {SENSORS[name]()}")
        if fault == "slow":
            time.sleep(float(seconds))
        damaged = bytes(byte ^ NOISE if number % 5 == 0 else byte for number, byte in enumerate(answer[:-2]))
        return {
            "silent": b"",
            "refuse": self._line("ERR the sensor could not be read"),
            "half": answer[: len(answer) // 2],
            "noise": damaged + b"\r\n",
        }.get(fault, answer)

    @staticmethod
    def _line(text: str) -> bytes:
        return b"%s*%s\r\n" % (text.encode(), checksum(text.encode()))


class Detectors(BaseHTTPRequestHandler):
    """Answers for each detector at /NAME, and takes what is to be wrong by PUT."""

    world: World

    def do_GET(self) -> None:
        """Answer as a detector."""
        name = self.path.strip("/")
        if name not in DETECTORS:
            self.send_error(404)
            return
        active = datetime.now().astimezone().hour in ACTIVE_HOURS
        told = {
            "motion": random.random() < (0.3 if active else 0.05),
            "battery": 95.5,
            "rssi": random.randint(-60, -45),
        }
        fault, _, seconds = self.world.fault(name, "silent", TIMEOUTS).partition(" ")
        self._misbehave(fault, float(seconds or 0), json.dumps(told).encode())

    def _misbehave(self, fault: str, seconds: float, body: bytes) -> None:
        if fault == "silent":
            time.sleep(SILENCE)
        elif fault.isdecimal():
            self._send(int(fault), b"", Location="/elsewhere")
        elif fault == "endless":
            self._send(200, b" " * 10_000_000)
        elif fault == "broken":
            self._send(200, b'{"motion": ')
        elif fault == "half":
            self._send(200, body[:5], length=len(body))
        else:
            self._send(200, body[:1], length=len(body))
            time.sleep(seconds)
            self.wfile.write(body[1:])

    def do_PUT(self) -> None:
        """Take what is to be wrong with a sensor."""
        name, fault = self.path.strip("/"), self.rfile.read(int(self.headers["Content-Length"])).decode()
        if name not in SENSORS and name not in DETECTORS:
            self.send_error(404, f"there is no sensor {name}")
            return
        self.world.set(name, fault)
        self._send(200, b"")

    def _send(self, status: int, body: bytes, *, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for header, value in {"Content-Length": str(length or len(body)), **headers}.items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing of each request."""


class Server(ThreadingHTTPServer):
    """One thread a caller."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Take it easy: a caller that hangs up is no concern of the others."""


def serve(port: int, *, calm: bool) -> int:
    """Simulate until the process is told to end."""
    link = Path(__file__).parent / f"tty-{port}"
    world = World(calm=calm)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        server = Server((HOST, port), type("Handler", (Detectors,), {"world": world}))
    except OSError as error:
        print(f"the detectors cannot listen on {HOST}:{port}: {error.strerror}", file=sys.stderr)
        return 1
    try:
        Instrument(world, link).start()
        print(f"the detectors listen on {HOST}:{port}, and the instrument is at {link.name}", flush=True)
        server.serve_forever()
    finally:
        link.unlink(missing_ok=True)
    return 0


def tell(port: int, name: str, fault: str) -> int:
    """Tell a running simulator what is to be wrong with a sensor; the exit code is 0 where it took that."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("PUT", f"/{name}", fault.encode())
        answer = connection.getresponse()
    except OSError as error:
        print(f"no simulator answers on {HOST}:{port} ({error}): start one with `serve`", file=sys.stderr)
        return 1
    finally:
        connection.close()
    print(answer.reason)
    return 0 if answer.status == http.client.OK else 1


def main() -> int:
    """Serve, or tell a running simulator something."""
    parser = argparse.ArgumentParser(description="Simulated sensors.")
    parser.add_argument("verb", choices=["serve", "fault", "recover"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--calm", action="store_true", help="let nothing go wrong by itself")
    parser.add_argument("sensor", nargs="?", default="")
    parser.add_argument("fault", nargs="*", help="what is wrong, such as `slow 4`")
    given = parser.parse_intermixed_args()
    if given.verb == "serve":
        return serve(given.port, calm=given.calm)
    return tell(given.port, given.sensor, " ".join(given.fault))


if __name__ == "__main__":
    sys.exit(main())
