"""A simulated bulb: the LAN protocol as Yeelight documents it, and the ways in which bulbs go wrong.

JSON lines over TCP: a request has id, method and params; its answer has the id and a result or an error; and every
change is told to all connections, whoever made it.
"""

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

HOST = "127.0.0.1"
MOST_CONNECTIONS = 4
PER_CONNECTION = 60
"""Commands a minute that a bulb takes from one connection."""
ALTOGETHER = 144
"""Commands a minute that a bulb takes from all connections."""
MINUTE = 60.0
SHORTEST = 30
"""Milliseconds: the least duration."""

FAULTS = ("close", "half", "json", "error", "silent", "id")
"""Close in the middle of an answer, send half of it, send broken JSON, an error, nothing, or another id."""

WHITE = ("get_prop", "set_power", "toggle", "set_bright", "set_ct_abx", "set_name")
SUPPORT: Mapping[str, tuple[str, ...]] = {"ct2": WHITE, "color": (*WHITE, "set_rgb", "set_hsv")}
"""By model, the methods that it knows."""
ONLY_WHEN_ON = {"set_bright", "set_ct_abx", "set_rgb", "set_hsv"}


class RefusedError(Exception):
    """The bulb answers with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(slots=True, eq=False)
class Caller:
    """A connection to the bulb."""

    writer: asyncio.StreamWriter
    asked: deque[float] = field(default_factory=deque)


class SimulatedBulb:
    """One bulb on a TCP port of its own.

    Args:
        name: How the commands of the simulator call it.
        bulb_id: What it tells when it is searched for.
        model: `color` or `ct2`, which is white.
        quota: Whether it limits commands a minute, as real ones do.
        faults: The share of answers that go wrong by chance.
        chance: Decides which.
    """

    def __init__(
        self, name: str, bulb_id: str, model: str, *, quota: bool, faults: float, chance: random.Random
    ) -> None:
        self.name = name
        self.bulb_id = bulb_id
        self.model = model
        self.port: int | None = None
        self.last: list[Any] = []
        self.delay = 0.0
        self.properties = {"power": "on", "bright": "50", "ct": "4000", "color_mode": "2", "name": name, "fw_ver": "76"}
        if model == "color":
            self.properties |= {"rgb": "16744448", "hue": "30", "sat": "100"}
        self._quota = quota
        self._faults = faults
        self._chance = chance
        self._coming: deque[str] = deque()
        self._callers: set[Caller] = set()
        self._asked: deque[float] = deque()
        self._server: asyncio.Server | None = None

    # ------------------------------------------------------------------ mains
    async def switch_on(self, port: int = 0) -> None:
        """Get power: listen on a port, or on any free one, as a bulb may get another address from its router."""
        if self._server is None:
            self._server = await asyncio.start_server(self._talk, HOST, port)
            self.port = self._server.sockets[0].getsockname()[1]

    def switch_off(self) -> None:
        """Lose power: nobody is answered any more."""
        if self._server is not None:
            self._server.close()
            self._server = self.port = None
        for caller in self._callers:
            caller.writer.transport.abort()

    def misbehave(self, fault: str, times: int) -> None:
        """Let the next answers go wrong.

        Raises:
            ValueError: There is no such fault.
        """
        if fault not in FAULTS:
            raise ValueError(fault)
        self._coming.extend([fault] * times)

    def advertisement(self) -> bytes:
        """Return the answer to a search."""
        headers = {
            "Cache-Control": "max-age=3600",
            "Date": "",
            "Ext": "",
            "Location": f"yeelight://{HOST}:{self.port}",
            "Server": "POSIX UPnP/1.0 YGLC/1",
            "id": self.bulb_id,
            "model": self.model,
            "fw_ver": "76",
            "support": " ".join(SUPPORT[self.model]),
            **{name: self.properties.get(name, "0") for name in ("power", "bright", "color_mode", "ct", "rgb")},
            **{name: self.properties.get(name, "0") for name in ("hue", "sat")},
            "name": self.properties["name"],
        }
        lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in headers.items())]
        return "".join(f"{line}\r\n" for line in lines).encode()

    def change(self, news: Mapping[str, str]) -> None:
        """Take new properties, and tell all connections of those that differ."""
        changed = {name: value for name, value in news.items() if self.properties.get(name) != value}
        self.properties.update(changed)
        if changed:
            self._tell_all({"method": "props", "params": changed})

    # ------------------------------------------------------------------ connections
    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._callers) >= MOST_CONNECTIONS:
            writer.close()
            return
        caller = Caller(writer)
        self._callers.add(caller)
        try:
            while line := await reader.readline():
                if line.strip():
                    await self._serve(caller, line)
        except (ConnectionError, ValueError):
            pass  # a caller that hangs up, or sends a line without end, is no concern of the others
        finally:
            self._callers.discard(caller)
            writer.close()

    async def _serve(self, caller: Caller, line: bytes) -> None:
        await asyncio.sleep(self.delay)
        before = dict(self.properties)
        answer = self._answer(caller, line)
        self._send(caller, answer)
        changed = {name: value for name, value in self.properties.items() if before.get(name) != value}
        if changed:
            self._tell_all({"method": "props", "params": changed})
        await caller.writer.drain()

    def _answer(self, caller: Caller, line: bytes) -> dict[str, Any]:
        identity: Any = 0
        try:
            identity, method, params = _parsed(line)
            self._count(caller)
            return {"id": identity, "result": self._carry_out(method, params)}
        except RefusedError as refusal:
            return {"id": identity, "error": {"code": refusal.code, "message": refusal.message}}

    def _count(self, caller: Caller) -> None:
        now = time.monotonic()
        for asked, most in ((caller.asked, PER_CONNECTION), (self._asked, ALTOGETHER)):
            while asked and asked[0] <= now - MINUTE:
                asked.popleft()
            if self._quota and len(asked) >= most:
                raise RefusedError(-1, "client quota exceeded")
        caller.asked.append(now)
        self._asked.append(now)

    def _send(self, caller: Caller, answer: dict[str, Any]) -> None:
        fault = self._fault()
        line = _line(answer)
        if fault == "error":
            line = _line({"id": answer["id"], "error": {"code": -5000, "message": "general error"}})
        elif fault == "id":
            line = _line({**answer, "id": 4711})
        elif fault == "json":
            line = line.replace(b"[", b"[[", 1)
        elif fault == "silent":
            line = b""
        elif fault is not None:
            line = line[: len(line) // 2]
        caller.writer.write(line)
        if fault == "close":
            caller.writer.close()

    def _fault(self) -> str | None:
        if self._coming:
            return self._coming.popleft()
        return self._chance.choice(FAULTS) if self._chance.random() < self._faults else None

    def _tell_all(self, notification: Mapping[str, Any]) -> None:
        for caller in self._callers:
            caller.writer.write(_line(notification))

    # ------------------------------------------------------------------ methods
    def _carry_out(self, method: str, params: Sequence[Any]) -> list[str]:
        if method not in SUPPORT[self.model]:
            raise RefusedError(-1, "method not supported")
        if method == "get_prop":
            return [self.properties.get(str(name), "") for name in params]
        self.last = [method, *params]
        if method in ONLY_WHEN_ON and self.properties["power"] != "on":
            raise RefusedError(-5000, "general error")
        methods: dict[str, Callable[..., dict[str, str]]] = {
            "set_power": self._set_power,
            "toggle": lambda *_transition: {"power": "off" if self.properties["power"] == "on" else "on"},
            "set_bright": lambda *given: {"bright": _number(given, 1, 100)},
            "set_ct_abx": lambda *given: {"ct": _number(given, 1700, 6500), "color_mode": "2"},
            "set_rgb": lambda *given: {"rgb": _number(given, 0, 0xFFFFFF), "color_mode": "1"},
            "set_hsv": self._set_hsv,
            "set_name": lambda name: {"name": str(name)},
        }
        try:
            self.properties.update(methods[method](*params))
        except (TypeError, ValueError, IndexError):
            raise RefusedError(-5001, "invalid params") from None
        return ["ok"]

    @staticmethod
    def _set_power(power: str, effect: str = "sudden", duration: int = SHORTEST, _mode: int = 0) -> dict[str, str]:
        _check_transition(effect, duration)
        if power not in ("on", "off"):
            raise ValueError(power)
        return {"power": power}

    @staticmethod
    def _set_hsv(hue: int, saturation: int, *transition: Any) -> dict[str, str]:
        given = (hue, *transition)
        return {"hue": _number(given, 0, 359), "sat": _number((saturation, *transition), 0, 100), "color_mode": "3"}


def _parsed(line: bytes) -> tuple[Any, str, list[Any]]:
    try:
        request = json.loads(line)
        identity, method, params = request["id"], request["method"], request["params"]
    except (ValueError, KeyError, TypeError):
        raise RefusedError(-1, "invalid command") from None
    if not isinstance(identity, int) or not isinstance(method, str) or not isinstance(params, list):
        raise RefusedError(-1, "invalid command")
    return identity, method, params


def _number(given: Sequence[Any], least: int, most: int) -> str:
    """Return the text of a value that comes with effect and duration."""
    value, effect, duration = given
    _check_transition(effect, duration)
    if type(value) is not int or not least <= value <= most:
        raise ValueError(value)
    return str(value)


def _check_transition(effect: str, duration: int) -> None:
    if effect not in ("smooth", "sudden") or type(duration) is not int or duration < SHORTEST:
        raise ValueError(effect, duration)


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\r\n"
