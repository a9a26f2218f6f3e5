"""Rounds of undisturbed polling, and questions that nobody knows."""

import asyncio
from collections.abc import Iterable

from iot2mqtt_conformance.noticing import publishing
from iot2mqtt_conformance.rig import PATIENCE, Rig
from iot2mqtt_conformance.stage import Stage

ROUNDS = 5
STRANGE = ("nosuchthing", "devices", "__init__")
"""Meta requests that the contract does not know."""


async def play(stage: Stage) -> None:
    """Wait for some states of every device, then ask strange questions."""
    async with Rig(stage, "polling") as rig:
        if not await rig.online():
            return
        await rig.states()
        since = rig.note("rounds", rounds=ROUNDS).i
        if stage.declaration.reporting == "polling":
            await asyncio.gather(
                *(rounds(rig, device, ROUNDS + 1, since=since) for device in stage.declaration.enabled)
            )
        await _strange_questions(rig)
        rig.note("polling_end")


async def rounds(rig: Rig, device: str, count: int, *, since: int) -> None:
    """Wait until a device has been published some times, each within its interval and some patience."""
    topic = rig.topic(f"devices/{device}/state")
    for _ in range(count):
        await urge(rig, [device])
        state = await rig.until(
            publishing(topic), f"a state of {device}", since=since, seconds=rig.setting.interval + PATIENCE
        )
        if state is None:
            return
        since = state.i + 1


async def urge(rig: Rig, devices: Iterable[str]) -> None:
    """Ask for states where nobody tells them again unasked: a device of an event-driven connector may have no news."""
    if rig.stage.declaration.reporting == "events":
        for device in devices:
            await rig.send(f"devices/{device}/get", b"", probe="urged", device=device)


async def _strange_questions(rig: Rig) -> None:
    """Ask what nobody knows, between two questions whose answers must be the same."""
    await rig.meta("devices_list", probe="before_strange")
    for name in STRANGE:
        await rig.send(f"meta/request/{name}", b"{}", probe="strange")
    await rig.meta("devices_list", probe="after_strange")
    await rig.meta("info", probe="strange_end")
