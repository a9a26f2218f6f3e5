"""SIGTERM and SIGINT while the next poll is a minute away."""

import asyncio
import signal

from iot2mqtt_conformance.rig import Rig, Setting, Stage
from iot2mqtt_conformance.scenarios.commands import QUIET


async def play(stage: Stage) -> None:
    """Stop one launch by each signal."""
    await asyncio.gather(_stop(stage, "sigterm", signal.SIGTERM), _stop(stage, "sigint", signal.SIGINT))


async def _stop(stage: Stage, name: str, number: signal.Signals) -> None:
    async with Rig(stage, f"shutdown.{name}", setting=Setting(interval=QUIET)) as rig:
        if not await rig.online():
            return
        await rig.states()
        rig.signal(number)
        await rig.ended(seconds=stage.declaration.stop_deadline)
