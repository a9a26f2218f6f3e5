"""The connector starts while nobody listens where the broker should be."""

from iot2mqtt_conformance.names import RECOVERY
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.scenarios.environment import ask
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage

AWAY = 3.0
"""Seconds for which the broker is away; a connector that gives up ends in that time."""


async def play(stage: Stage) -> None:
    """Launch without a broker, then open the door to it."""
    async with Rig(stage, "away", setting=Setting(late=True)) as rig:
        await stage.recorder.wait(rig.run, lambda r: r.kind == "proc.exit", since=0, seconds=AWAY)
        await rig.open()
        # Who is slow to start has not called in vain yet: it has the rest of the time that it has declared.
        limit = max(RECOVERY, stage.declaration.start_deadline - AWAY)
        since = rig.note("broker_there", seconds=limit).i
        if await rig.online(since=since, seconds=limit):
            await ask(rig, "away")
        rig.note("away_end")
