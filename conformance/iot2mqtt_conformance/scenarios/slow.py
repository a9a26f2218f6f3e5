"""A device takes its time while the others are well."""

import asyncio

from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.scenarios.polling import rounds, urge
from iot2mqtt_conformance.stage import Stage

ROUNDS = 4


async def play(stage: Stage) -> None:
    """Let a device be slow, and wait for states of the others, asked for where they do not come unasked."""
    if "device_slow" not in stage.declaration.stimuli:
        return
    device = stage.declaration.struck("device_slow")
    async with Rig(stage, "slow") as rig:
        if not await rig.online():
            return
        await rig.states()
        since = rig.mark
        if not await rig.stimulate("device_slow"):
            return
        await urge(rig, [device])
        others = [other for other in stage.declaration.enabled if other != device]
        await asyncio.gather(*(rounds(rig, other, ROUNDS, since=since) for other in others))
        rig.note("slow_end")
