"""Finds the smallest payload after which a connector does not answer any more, with launches of its own."""

import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, Self

from iot2mqtt_conformance.noticing import is_publish
from iot2mqtt_conformance.payloads import FRAGMENTS
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.transcript import Record, Recorder

MOST_NESTED = 100
"""Arrays and objects of a JSON text up to which its members are left out one by one."""

Message = tuple[str, bytes]

WITHIN = 25.0
"""Seconds that looking for a smaller payload may take."""
PATIENCE = 2.0
"""Seconds in which a connector that is well has answered, before the measured round trip is added."""


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The smallest payload that was found.

    Attributes:
        suffix: Its topic below the instance.
        payload: The payload.
        size: The size in bytes of the payload that it was made from.
        how: What the connector did.
        launches: How many launches it took.
        done: Whether no smaller one does it, or the time was up.
    """

    suffix: str
    payload: bytes
    size: int
    how: str
    launches: int
    done: bool


class Trials:
    """Launches of the connector, one after another, that are written down nowhere; an async context manager."""

    def __init__(self, stage: Stage) -> None:
        self._stage = replace(stage, recorder=Recorder())
        self._end = self._stage.recorder.now() + WITHIN
        self._stack = AsyncExitStack()
        self._rig: Rig | None = None
        self.launches = 0
        self.how = ""

    async def __aenter__(self) -> Self:
        """Do nothing yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop what still runs."""
        await self._stack.aclose()

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self._stage.recorder.now() > self._end

    async def harmed_by(self, message: Message) -> bool:
        """Send one message to a connector that is well, and return whether it is not any more."""
        rig = self._rig or await self._launch()
        if rig is None:
            return False
        since = rig.mark
        await rig.observer.publish(rig.topic(message[0]), message[1])
        fault = await _fault(rig, since)
        if fault is not None:
            self.how = fault
            self._rig = None
            await self._stack.aclose()
        return fault is not None

    async def _launch(self) -> Rig | None:
        self.launches += 1
        rig = await self._stack.enter_async_context(Rig(self._stage, f"fuzz{self.launches}"))
        self._rig = rig if await rig.online() else None
        return self._rig


async def _fault(rig: Rig, since: int) -> str | None:
    """Ask a question, and return what is wrong with the connector, or None where it answers."""
    await rig.observer.publish(rig.topic("meta/request/info"), b"{}")
    topic = rig.topic("meta/info")

    def tells(record: Record) -> bool:
        # Who publishes each message over a connection of its own closes many of them, and says so.
        given_up = record.kind == "conn.close" and not record.data["clean"]
        return given_up or record.kind == "proc.exit" or is_publish(record, topic)

    seconds = rig.stage.deadline(PATIENCE)
    record = await rig.stage.recorder.wait(rig.run, tells, since=since, seconds=seconds)
    if record is not None and record.kind == "conn.close":
        # The end of a connection is often the first that is seen of the end of a process.
        ended = await rig.stage.recorder.wait(rig.run, lambda r: r.kind == "proc.exit", since=since, seconds=0.5)
        record = ended or record
    if record is None:
        return "it lives and does not answer any more"
    if record.kind == "packet":
        return None
    return f"it ends with code {record.data['code']}" if record.kind == "proc.exit" else "it gives its connection up"


async def smallest(stage: Stage, suspects: Sequence[Message]) -> Shrunk | None:
    """Return the smallest payload that does harm, made of one of several; None where none of them does so alone."""
    async with Trials(stage) as trials:
        for suffix, payload in sorted(suspects, key=lambda message: len(message[1])):
            if trials.over:
                return None
            if not await trials.harmed_by((suffix, payload)):
                continue
            # Once more, so that nothing that was sent before can have had a part in it.
            if not await trials.harmed_by((suffix, payload)):
                return None
            start = await _telling(trials, suffix, payload)
            start = await simpler(start, lambda each: trials.harmed_by((suffix, each)), lambda: trials.over)  # noqa: B023
            found = await smaller(start, lambda each: trials.harmed_by((suffix, each)), lambda: trials.over)  # noqa: B023
            return Shrunk(suffix, found, len(payload), trials.how, trials.launches, not trials.over)
    return None


async def _telling(trials: Trials, suffix: str, payload: bytes) -> bytes:
    """Return the part of a payload that is known to be strange and does harm alone, or else the whole."""
    known = sorted((part for part in {b"", *FRAGMENTS} if part in payload and part != payload), key=len)
    for part in known:
        if not trials.over and await trials.harmed_by((suffix, part)):
            return part
    return payload


async def simpler(
    payload: bytes, harms: Callable[[bytes], Awaitable[bool]], over: Callable[[], bool] = lambda: False
) -> bytes:
    """Return a JSON text that still does harm, and of which no member can be left out; other payloads as they are."""
    if payload.count(b"[") + payload.count(b"{") > MOST_NESTED:
        return payload
    try:
        candidates = _without_a_member(json.loads(payload))
    except (ValueError, RecursionError):
        return payload
    for value in candidates:
        if over():
            return payload
        shorter = json.dumps(value, separators=(",", ":")).encode()
        if len(shorter) < len(payload) and await harms(shorter):
            return await simpler(shorter, harms, over)
    return payload


def _without_a_member(value: Any) -> Iterator[Any]:
    """Yield a JSON value without one of its members, and without one of theirs."""
    members = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    kind = type(value)
    for place, _ in members:
        rest = [(key, item) for key, item in members if key != place]
        yield dict(rest) if kind is dict else [item for _, item in rest]
    for place, member in members:
        for less in _without_a_member(member):
            changed = [(key, less if key == place else item) for key, item in members]
            yield dict(changed) if kind is dict else [item for _, item in changed]


async def smaller(
    payload: bytes, harms: Callable[[bytes], Awaitable[bool]], over: Callable[[], bool] = lambda: False
) -> bytes:
    """Return a payload that still does harm, and of which no single byte can be left out, if the time allows.

    Args:
        payload: One that does harm.
        harms: Whether one does.
        over: Whether to stop.
    """
    size = len(payload)
    while size >= 1:
        start, before = 0, len(payload)
        while start < len(payload):
            if over():
                return payload
            shorter = payload[:start] + payload[start + size :]
            if await harms(shorter):
                payload = shorter
            else:
                start += size
        size = size if size == 1 and len(payload) < before else min(size, len(payload) + 1) // 2
    return payload
