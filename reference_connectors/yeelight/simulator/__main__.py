"""Simulated Yeelight bulbs: two coloured ones and a white one, that can be searched for.

    python -m simulator serve --port 1982
    python -m simulator toggle --port 1982 light1

light1 listens on the TCP port, the others on any free one. Searches arrive on the UDP port of the same number, and so
do commands to the simulator itself, a datagram each:

    toggle light1            somebody uses the app: the bulb goes on or off, and tells so
    fail light1              the bulb loses power
    recover light1           it gets power again, and a new address; it is slow no more
    slow light1 4            its answers take 4 s
    fault light1 json 2      its next two answers go wrong; also close, half, error, silent, id
    last light1              the last method that changed it, with parameters
    where light1             its address
"""

import argparse
import asyncio
import json
import random
import socket
import sys
from collections.abc import Callable
from typing import Any

from simulator.bulb import HOST, SimulatedBulb

MODELS = {"light1": "color", "light2": "color", "white1": "ct2"}
COMMANDS = ("toggle", "fail", "recover", "slow", "fault", "last", "where")
LONGEST_DATAGRAM = 65535
QUESTION = {"man": '"ssdp:discover"', "st": "wifi_bulb"}


class Simulator(asyncio.DatagramProtocol):
    """The bulbs, the port on which they are searched for, and the commands that act on them."""

    def __init__(self, *, quota: bool, faults: float, seed: int) -> None:
        chance = random.Random(seed)
        self._bulbs = {
            name: SimulatedBulb(name, f"0x{number:016x}", model, quota=quota, faults=faults, chance=chance)
            for number, (name, model) in enumerate(MODELS.items(), start=1)
        }
        self._outgoing: asyncio.DatagramTransport
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, port: int) -> None:
        """Answer until the process ends."""
        endpoint = asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=(HOST, port))
        self._outgoing, _ = await endpoint
        first, *others = self._bulbs.values()
        for bulb in others:
            await bulb.switch_on()
        await first.switch_on(port)
        print(f"the bulbs can be searched for at {HOST}:{port}", flush=True)
        await asyncio.Event().wait()

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Answer a search for bulbs, or a command."""
        first, *lines = data.decode("utf-8", "replace").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if first == "M-SEARCH * HTTP/1.1" and QUESTION.items() <= headers.items():
            for bulb in self._bulbs.values():
                if bulb.port is not None:
                    self._outgoing.sendto(bulb.advertisement(), addr)
        elif first.split(" ")[0] in COMMANDS:
            task = asyncio.ensure_future(self._obey(first.split(), addr))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _obey(self, words: list[str], addr: tuple[str | Any, int]) -> None:
        self._outgoing.sendto((await self._answer(words)).encode(), addr)

    async def _answer(self, words: list[str]) -> str:
        verb, name, *rest = [*words, ""]
        rest = rest[:-1]
        if name not in self._bulbs:
            return f"error there is no bulb {name!r}; there are {', '.join(self._bulbs)}"
        try:
            return f"ok {json.dumps(await _done(self._bulbs[name], verb, *rest))}"
        except (TypeError, ValueError):
            return f"error that is not understood: {' '.join(words)}"


async def _done(bulb: SimulatedBulb, verb: str, *words: str) -> Any:
    """Carry a command out, and return what it asks for.

    Raises:
        TypeError: It has too many words, or too few.
        ValueError: One of them makes no sense.
    """
    commands: dict[str, Callable[..., Any]] = {
        "toggle": lambda: bulb.change({"power": "off" if bulb.properties["power"] == "on" else "on"}),
        "fail": bulb.switch_off,
        "slow": lambda seconds: setattr(bulb, "delay", float(seconds)),
        "fault": lambda fault, times="1": bulb.misbehave(fault, int(times)),
        "last": lambda: bulb.last,
        "where": lambda: [HOST, bulb.port],
    }
    if verb == "recover" and not words:
        bulb.delay = 0.0
        return await bulb.switch_on()
    if verb not in commands:
        raise ValueError(verb)
    return commands[verb](*words)


def tell(port: int, line: str) -> int:
    """Send a running simulator one line and print its answer; the exit code is 0 where it said ok."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
            connection.settimeout(5)
            connection.connect((HOST, port))
            connection.send(line.encode())
            answer = connection.recv(LONGEST_DATAGRAM).decode()
    except OSError as error:
        print(f"no simulator answers on {HOST}:{port} ({error}): start one with `serve`", file=sys.stderr)
        return 1
    print(answer)
    return 0 if answer.startswith("ok") else 1


def main() -> int:
    """Serve, or tell a running simulator something."""
    parser = argparse.ArgumentParser(prog="python -m simulator", description="Simulated Yeelight bulbs.")
    parser.add_argument("verb", choices=["serve", *COMMANDS])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--no-quota", action="store_true", help="take more than 60 commands a minute")
    parser.add_argument("--faults", type=float, default=0.0, help="the share of answers that go wrong, such as 0.05")
    parser.add_argument("--seed", type=int, default=1, help="which answers those are")
    parser.add_argument("words", nargs="*", metavar="BULB", help="the bulb, and what else the verb takes")
    given = parser.parse_intermixed_args()
    if given.verb != "serve":
        return tell(given.port, " ".join([given.verb, *given.words]))
    try:
        asyncio.run(Simulator(quota=not given.no_quota, faults=given.faults, seed=given.seed).serve(given.port))
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        print(f"the simulator cannot listen on {HOST}:{given.port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
