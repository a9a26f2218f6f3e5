"""Two instances of the connector, below one base topic."""

import asyncio

from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.scenarios.commands import QUIET, showing
from iot2mqtt_conformance.scenarios.environment import ask
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage

ONE, TWO = "pair.one", "pair.two"


async def play(stage: Stage) -> None:
    """Command the one, and see what the other does."""
    one = Rig(stage, ONE, setting=Setting(interval=QUIET), base_of="pair")
    two = Rig(stage, TWO, setting=Setting(interval=QUIET), base_of="pair")
    async with one, two:
        if not all(await asyncio.gather(one.online(), two.online())):
            return
        await asyncio.gather(one.states(), two.states())
        await asyncio.gather(ask(one, "alike"), ask(two, "alike"))
        for rig, other in ((one, two), (two, one)):
            await _command(rig, other)
        for rig in (one, two):
            await rig.meta("info", probe="pair_info")
            rig.note("pair_end")


async def _command(rig: Rig, other: Rig) -> None:
    """Command one instance, and ask both for the state."""
    device = rig.stage.declaration.commanded
    switch = rig.stage.declaration.switch_of(device) if device else None
    if device is None or switch is None:
        await rig.get(rig.stage.declaration.enabled[0], probe="apart")
        return
    name, one, wanted = switch
    since = rig.mark
    await rig.command(device.id, {name: wanted}, probe="apart")
    await rig.until(showing(rig.topic(f"devices/{device.id}/state"), name, wanted), "the state of apart", since=since)
    other.note("aside", device=device.id, property=name, commanded=wanted, before=one)
    await other.get(device.id, probe="aside")
    # The value is taken back, so that the other instance can be told apart from this one in its turn.
    await rig.command(device.id, {name: one}, probe="apart_back")
