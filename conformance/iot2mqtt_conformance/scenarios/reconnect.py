"""The connection is cut while the broker lives on."""

from iot2mqtt_conformance.names import RECOVERY
from iot2mqtt_conformance.observer import retained
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.stage import Stage


async def play(stage: Stage) -> None:
    """Cut the connection, wait for `online`, and ask again."""
    async with Rig(stage, "reconnect") as rig:
        if not await rig.online():
            return
        await rig.states()
        since = rig.mark
        rig.note("cut")
        rig.proxy.cut()
        await rig.until(lambda r: r.kind == "seen" and r.data["payload"] == "offline", "the last will", since=since)
        if await rig.online(since=since, seconds=RECOVERY):
            await ask(rig)
        rig.note("retained_status", payload=await retained((rig.broker.host, rig.broker.port), rig.topic("status")))


async def ask(rig: Rig) -> None:
    """Command a device, or ask for its state where commands are not declared."""
    device = rig.stage.declaration.commanded
    switch = rig.stage.declaration.switch_of(device) if device else None
    if device is None or switch is None:
        await rig.get(rig.stage.declaration.enabled[0], probe="after_reconnection")
    else:
        await rig.command(device.id, {switch[0]: switch[2]}, probe="after_reconnection")
    await rig.meta("info", probe="after_reconnection_info")
