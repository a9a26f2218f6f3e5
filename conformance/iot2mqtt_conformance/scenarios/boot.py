"""The first launch: does it come online, answer at once, publish its devices, and tell about itself?

It doubles as the smoke test: while it cannot bring the connector online, nothing else is tried.
"""

import json

from iot2mqtt_conformance.launch import LaunchError
from iot2mqtt_conformance.launch_image import prepare
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.transcript import Record

RUN = "boot"


async def play(stage: Stage) -> None:
    """Launch, measure the round trip, ask the meta questions."""
    try:
        if "image" in stage.declaration.features:
            stage.image = await prepare(stage.declaration)
        async with Rig(stage, RUN) as rig:
            online = await rig.online()
            rig.note("smoke", online=online is not None)
            if online is None:
                return
            await _first_command(rig)
            if not await _measure(rig):
                return
            stage.smoke_passed.set()
            await rig.states(seconds=stage.declaration.start_deadline)
            await rig.meta("devices_list", probe="devices_list")
            if stage.attached is None:
                await _watch_uptime(rig)
                await rig.states(since=rig.mark)
    except LaunchError as error:
        stage.recorder.add(RUN, "launch.error", message=str(error))
    finally:
        stage.smoke_ended.set()


async def _first_command(rig: Rig) -> None:
    """Command the moment `online` is seen: whoever sees it may."""
    device = rig.stage.declaration.commanded
    if device is None:
        await rig.get(rig.stage.declaration.enabled[0], probe="first")
        return
    switch = rig.stage.declaration.switch_of(device)
    if switch is not None:
        await rig.command(device.id, {switch[0]: switch[1]}, probe="first")


async def _measure(rig: Rig) -> bool:
    """Ask for info and keep the time that it took; False where no answer came."""
    begin = rig.stage.recorder.now()
    answer = await rig.meta("info", probe="round_trip", seconds=rig.stage.declaration.start_deadline)
    if answer is None:
        return False
    rig.stage.round_trip = round(answer.t - begin, 6)
    rig.note("round_trip", seconds=rig.stage.round_trip)
    return True


async def _watch_uptime(rig: Rig) -> None:
    """Ask for info until uptime has grown; the connector's own next message paces the questions."""
    first = await rig.meta("info", probe="uptime")
    limit = rig.stage.recorder.now() + rig.stage.deadline(4)
    while first is not None and rig.stage.recorder.now() < limit:
        since = rig.mark
        await rig.stage.recorder.wait(
            RUN, lambda r: r.kind == "packet" and r.data["dir"] == "c2b", since=since, seconds=0.5
        )
        answer = await rig.meta("info", probe="uptime")
        if answer is None or _uptime(answer) > _uptime(first):
            return


def _uptime(record: Record) -> float:
    try:
        uptime = json.loads(record.data.get("payload", "null"))["uptime"]
        return float(uptime) if isinstance(uptime, int | float) else 0.0
    except (ValueError, TypeError, KeyError, OverflowError):
        return 0.0
