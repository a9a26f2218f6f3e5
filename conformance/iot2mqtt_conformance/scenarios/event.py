"""A device tells of something, while the next poll is a minute away."""

from iot2mqtt_conformance.noticing import publishing
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.scenarios.commands import QUIET
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage


async def play(stage: Stage) -> None:
    """Let the declared event happen."""
    if "event" not in stage.declaration.stimuli:
        return
    device = stage.declaration.struck("event")
    async with Rig(stage, "event", setting=Setting(interval=QUIET)) as rig:
        if not await rig.online():
            return
        await rig.states()
        since = rig.mark
        if await rig.stimulate("event"):
            await rig.until(publishing(rig.topic(f"devices/{device}/events")), f"an event of {device}", since=since)
