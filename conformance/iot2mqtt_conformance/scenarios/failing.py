"""A device fails for good while the others are well."""

import asyncio
from collections.abc import Callable

from iot2mqtt_conformance.names import EVENT_DRIVEN
from iot2mqtt_conformance.noticing import is_publish, publishing
from iot2mqtt_conformance.rig import PATIENCE, Rig
from iot2mqtt_conformance.scenarios.polling import urge
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.transcript import Record

MOST_FAILURES = 8
"""Failed attempts that are watched, where the connector does not back off."""
PAUSE = 1.75
"""Intervals without an attempt after which the connector has backed off."""
MORE_FAILURES = 10
"""Attempts that are provoked by questions."""


async def play(stage: Stage) -> None:
    """Let a device fail, watch how that is told, and provoke more failures."""
    if "device_fails" not in stage.declaration.stimuli:
        return
    device = stage.declaration.struck("device_fails")
    async with Rig(stage, "failing") as rig:
        if not await rig.online():
            return
        await rig.states()
        since = rig.mark
        if not await rig.stimulate("device_fails"):
            return
        await _watch(rig, device, since)
        rig.note("watched")
        # An attempt may take long to fail, and some connectors believe only the second one.
        await rig.stage.recorder.wait(rig.run, _gone(rig, device), since=since, seconds=rig.stage.deadline(PATIENCE))
        await _provoke(rig, device)
        since = rig.mark
        others = [other for other in stage.declaration.enabled if other != device]
        await urge(rig, others)
        await asyncio.gather(
            *(rig.until(publishing(rig.topic(f"devices/{o}/state")), f"a state of {o}", since=since) for o in others)
        )
        await rig.meta("info", probe="failing_end")
        rig.note("failing_end")


async def _watch(rig: Rig, device: str, since: int) -> None:
    """Follow the reports of failed attempts until they come less often, or there have been many."""
    reported = publishing(rig.topic(f"devices/{device}/error"))
    error = await rig.until(reported, f"an error of {device}", since=since)
    interval = rig.setting.interval if rig.stage.declaration.reporting == "polling" else EVENT_DRIVEN
    for _ in range(MOST_FAILURES):
        if error is None:
            return
        error = await rig.stage.recorder.wait(rig.run, reported, since=error.i + 1, seconds=PAUSE * interval)


def _gone(rig: Rig, device: str) -> Callable[[Record], bool]:
    """Return a predicate: the connector says that a device is offline."""
    availability, state = (rig.topic(f"devices/{device}/{kind}") for kind in ("availability", "state"))

    def gone(record: Record) -> bool:
        text = "".join(str(record.data.get("payload", "")).split()) if record.kind == "packet" else ""
        offline = is_publish(record, availability) and text.strip('"') == "offline"
        return offline or (is_publish(record, state) and '"online":false' in text)

    return gone


async def _provoke(rig: Rig, device: str) -> None:
    """Ask for the failing device's state, so that the connector tries to reach it again and again."""
    for _ in range(MORE_FAILURES):
        await rig.send(f"devices/{device}/get", b"", probe="provoke", device=device)
    await rig.meta("info", probe="provoked")
