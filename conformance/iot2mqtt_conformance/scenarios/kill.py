"""SIGKILL: nobody is left to say `offline` but the broker."""

import signal

from iot2mqtt_conformance.observer import retained
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.stage import Stage


async def play(stage: Stage) -> None:
    """Kill the process and look at what the broker keeps."""
    async with Rig(stage, "kill") as rig:
        if not await rig.online():
            return
        await rig.until(lambda r: r.kind == "seen" and r.data["payload"] == "online", "the broker to pass on `online`")
        since = rig.mark
        rig.signal(signal.SIGKILL)
        await rig.ended(seconds=5)
        await rig.until(
            lambda r: r.kind == "seen" and r.data["payload"] != "online", "the last will", since=since, outlives=True
        )
        rig.note("retained_status", payload=await retained((rig.broker.host, rig.broker.port), rig.topic("status")))
