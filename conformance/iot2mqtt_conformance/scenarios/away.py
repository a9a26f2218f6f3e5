"""The connector starts while nobody listens where the broker should be."""

from iot2mqtt_conformance.names import RECOVERY
from iot2mqtt_conformance.rig import Rig, Stage
from iot2mqtt_conformance.scenarios.environment import ask
from iot2mqtt_conformance.setting import Setting

AWAY = 3.0
"""Seconds for which the broker is away; a connector that gives up ends in that time."""


async def play(stage: Stage) -> None:
    """Launch without a broker, then open the door to it."""
    async with Rig(stage, "away", setting=Setting(late=True)) as rig:
        await stage.recorder.wait(rig.run, lambda r: r.kind == "proc.exit", since=0, seconds=AWAY)
        await rig.open()
        since = rig.note("broker_there").i
        if await rig.online(since=since, seconds=RECOVERY):
            await ask(rig, "away")
        rig.note("away_end")
