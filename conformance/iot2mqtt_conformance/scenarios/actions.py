"""Action scripts, called as a setup flow calls them: as declared, with nonsense, at the same time, and stopped."""

import asyncio
import json
import random
import string
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from iot2mqtt_conformance.declared_actions import Action
from iot2mqtt_conformance.launch import LaunchError
from iot2mqtt_conformance.payloads import Chance, script_inputs
from iot2mqtt_conformance.peripherals import READY_WITHIN, Peripherals, placed
from iot2mqtt_conformance.scripts import Call
from iot2mqtt_conformance.stage import Stage

RUN = "actions"
AT_ONCE = 3
STOPPED_WITHIN = 4.0
"""Seconds that are waited for the end after SIGTERM: longer than is allowed, to tell late from never."""
READS_WITHIN = 10.0
"""Seconds until a script has begun to read its input."""
MOST_FIELDS = 2
"""Inputs of each tool that are mistyped in turn."""
SHORT = 8
"""Letters of a short marker."""
GARBLED = 40
"""Bytes of generated input."""

_Work = Callable[[], Awaitable[None]]


async def play(stage: Stage) -> None:
    """Call every declared tool."""
    if not stage.declaration.actions:
        return
    seconds = stage.deadline(READY_WITHIN)
    beside = Peripherals(stage.declaration, RUN, seconds=seconds, broker=stage.broker.port)
    async with beside, _mute() as mute:
        places = {**beside.places, "silent": mute.port}
        benches = [_Bench(stage, action, places, mute) for action in stage.declaration.actions]
        for bench in benches:
            await bench.play()


@dataclass(slots=True)
class _Mute:
    """A port that accepts and never answers."""

    port: int
    called: asyncio.Event


@asynccontextmanager
async def _mute() -> Any:
    called = asyncio.Event()
    writers: list[asyncio.StreamWriter] = []

    def take(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        called.set()

    server = await asyncio.start_server(take, "127.0.0.1", 0, start_serving=False)
    try:
        await server.start_serving()
        yield _Mute(server.sockets[0].getsockname()[1], called)
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


class _Bench:
    """One tool, and all that is tried with it."""

    def __init__(self, stage: Stage, action: Action, places: Mapping[str, int], mute: _Mute) -> None:
        self._stage = stage
        self._action = action
        self._mute = mute
        self._limit = asyncio.Semaphore(AT_ONCE)
        self._good, self._bad, self._unreachable = (
            [placed(dict(entry), places) for entry in entries]
            for entries in (action.good, action.bad, action.unreachable)
        )
        self._silent = next(
            (
                placed(dict(entry), places)
                for entry in action.unreachable
                if "{silent}" in json.dumps(entry, ensure_ascii=False)
            ),
            None,
        )

    async def play(self) -> None:
        # First alone, so that nothing that is tried otherwise can have changed the answer.
        try:
            for entry in self._good:
                await self._ask("good", entry)
        except LaunchError as error:
            self._stage.recorder.add(RUN, "action.missing", tool=self._action.tool, reason=str(error))
            return
        async with asyncio.TaskGroup() as group:
            for work in self._others():
                group.create_task(self._limited(work))
        await self._overlap()
        if self._silent is not None:
            await self._stop_calling(self._silent)

    async def _limited(self, work: _Work) -> None:
        async with self._limit:
            await work()

    def _others(self) -> Iterator[_Work]:
        good = self._good[0]
        yield self._stop_reading
        yield partial(self._ask, "again", good)
        yield from (partial(self._ask, "bad", entry) for entry in self._bad)
        yield from (partial(self._ask, "unreachable", entry) for entry in self._unreachable)
        hidden = self._hidden()
        yield from (partial(self._raw, case, text, markers=hidden) for case, text in self._nonsense(hidden))
        if good:
            yield partial(self._ask, "nothing", {})
        open_fields = [name for name in good if name not in self._action.secrets]
        for name in open_fields[:MOST_FIELDS]:
            yield partial(self._ask, "mistyped", _mistyped(good, name), field=name)
        if set(self._action.secrets) & good.keys():
            yield from (partial(self._ask, "secret", entry) for entry in self._with_markers(open_fields))

    def _hidden(self) -> dict[str, Any]:
        """Return a short marker for each secret input: a parser that quotes its text quotes a few characters only."""
        good = self._good[0]
        return {name: _marker(good[name], short=True) for name in self._action.secrets if name in good}

    def _nonsense(self, hidden: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
        """Yield what is no envelope: nothing, half of one, bytes that are no text, and other JSON.

        Args:
            hidden: The secrets that are in it, by input.
        """
        whole = self._request({**self._good[0], **hidden})
        chance = Chance(self._stage.seed)
        yield "empty", b""
        yield "malformed", whole[: 1 + chance.below(len(whole) - 1)]
        # No text goes on behind a value like that, so that the parser stumbles right behind the secret.
        for secret in (json.dumps(marker).encode() for marker in hidden.values()):
            yield "malformed", whole.replace(secret, secret + b"!", 1)
        yield "malformed", b"\xff" + chance.noise(GARBLED)
        yield from script_inputs(self._stage.seed, whole)
        yield "envelope", b"[]"
        yield "envelope", json.dumps({"tool": self._action.tool}).encode()

    def _with_markers(self, open_fields: list[str]) -> Iterator[dict[str, Any]]:
        """Yield inputs whose secrets are markers: good ones, ones with another fault, and ones that are mistyped."""
        good = self._good[0]
        secrets = [name for name in self._action.secrets if name in good]
        marked = {**good, **{name: _marker(good[name]) for name in secrets}}
        yield marked
        if open_fields:
            yield _mistyped(marked, open_fields[0])
        yield {**good, **{name: [_marker("")] for name in secrets}}

    # ------------------------------------------------------------------ calls
    def _request(self, entry: Mapping[str, Any]) -> bytes:
        return json.dumps({"tool": self._action.tool, "input": dict(entry)}).encode()

    @asynccontextmanager
    async def _call(self) -> AsyncIterator[Call]:
        """Start a call, and end it whatever happens: also where all is given up because the broker has died."""
        if self._action.script is None:
            raise LaunchError(self._action.fault)
        call = Call(self._action.script, cwd=self._action.folder, env=self._action.environment)
        try:
            await call.start()
            yield call
        finally:
            await call.close()

    async def _ask(self, case: str, entry: Mapping[str, Any], **facts: Any) -> None:
        await self._raw(case, self._request(entry), input=dict(entry), **facts)

    async def _raw(self, case: str, text: bytes, **facts: Any) -> None:
        async with self._call() as call:
            call.ask(text)
            await call.ended(self._stage.deadline(self._action.timeout))
            await self._settle(case, call, **facts, stdin=text[:200].decode("utf-8", "replace"))

    async def _settle(self, case: str, call: Call, **facts: Any) -> None:
        """Write down how a call ended; one that has not ended is killed."""
        itself, seconds = call.code is not None, call.took()
        await call.close()
        self._stage.recorder.add(
            RUN,
            "action",
            tool=self._action.tool,
            case=case,
            **facts,
            itself=itself,
            code=call.code if itself else None,
            seconds=seconds,
            limit=self._action.timeout,
            stdout=call.said(1),
            stderr=call.said(2),
            secret_names=list(self._action.secrets),
        )

    async def _overlap(self) -> None:
        """Two at once: both read before either is asked."""
        entry = self._good[0]
        async with self._call() as one, self._call() as other:
            calls = (one, other)
            await asyncio.gather(*(call.reading(self._stage.deadline(READS_WITHIN)) for call in calls))
            for call in calls:
                call.ask(self._request(entry))
            await asyncio.gather(*(call.ended(self._stage.deadline(self._action.timeout)) for call in calls))
            for call in calls:
                await self._settle("overlap", call, input=entry)

    async def _stop_reading(self) -> None:
        """SIGTERM while the script waits for the rest of its input."""
        async with self._call() as call:
            reads = await call.reading(self._stage.deadline(READS_WITHIN))
            await self._stop("stopped reading", call, running=reads)

    async def _stop_calling(self, entry: Mapping[str, Any]) -> None:
        """SIGTERM while the script waits for a target that never answers."""
        self._mute.called.clear()
        async with self._call() as call:
            call.ask(self._request(entry))
            waits = [asyncio.create_task(self._mute.called.wait()), asyncio.create_task(call.ended(READS_WITHIN))]
            await asyncio.wait(waits, timeout=self._stage.deadline(READS_WITHIN), return_when=asyncio.FIRST_COMPLETED)
            for task in waits:
                task.cancel()
            await self._stop("stopped calling", call, running=self._mute.called.is_set())

    async def _stop(self, case: str, call: Call, *, running: bool) -> None:
        running = running and call.code is None
        at = call.terminate()
        ended = await call.ended(self._stage.deadline(STOPPED_WITHIN))
        await self._settle(case, call, running=running, ended=ended, after=call.took(at))


def _mistyped(entry: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return inputs of which one is of a type that it cannot be."""
    wrong: Any = ["conformance"] if isinstance(entry[name], dict) else {"conformance": True}
    return {**entry, name: wrong}


def _marker(like: Any, *, short: bool = False) -> Any:
    """Return a secret that can stand nowhere by chance, of the type of the declared one."""
    chance = random.SystemRandom()
    if isinstance(like, int) and not isinstance(like, bool):
        return chance.randrange(10**11, 10**12)
    if short:
        return "".join(chance.choices(string.ascii_lowercase, k=SHORT))
    return "marker" + "".join(chance.choices(string.ascii_lowercase, k=16))
