"""Commands for a device that does not answer, and for one that fails, while no poll is in the way."""

import json
from datetime import UTC, datetime
from typing import Any

from iot2mqtt_conformance.declared_devices import Device
from iot2mqtt_conformance.names import COMMAND_TIMEOUT, GROUP_ALL, HELD_UP
from iot2mqtt_conformance.noticing import is_publish, publishing
from iot2mqtt_conformance.rig import PATIENCE, Rig
from iot2mqtt_conformance.scenarios.commands import QUIET, showing
from iot2mqtt_conformance.scenarios.groups import command_group, groups_of
from iot2mqtt_conformance.scenarios.refusals import new_id
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.together import together

HELD = 3000
"""The `timeout` in milliseconds of a command that is to be held up beside others."""


async def play(stage: Stage) -> None:
    """Play each trouble in a launch of its own."""
    declared = stage.declaration.stimuli if stage.declaration.commanded else {}
    await together(
        *([_timeout(stage), _beside(stage)] if "device_slow" in declared else []),
        *([_failing(stage)] if "device_fails" in declared else []),
    )


def _device(stage: Stage, name: str) -> Device | None:
    return next((d for d in stage.declaration.devices if d.id == name and stage.declaration.switch_of(d)), None)


async def _send(rig: Rig, device: Device, probe: str, limit: int, *, wait: bool = True) -> None:
    """Command a device, with a time that the command may take."""
    switch = rig.stage.declaration.switch_of(device)
    if switch is None:
        return
    name, _, other = switch
    command_id = new_id(probe)
    stamp = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    body = json.dumps({"id": command_id, "timestamp": stamp, "values": {name: other}, "timeout": limit}).encode()
    facts: dict[str, Any] = {"device": device.id, "values": {name: other}}
    if wait:
        await rig.order(f"devices/{device.id}", body, probe=probe, command_id=command_id, **facts)
    else:
        await rig.send(f"devices/{device.id}/cmd", body, probe=probe, id=command_id, **facts)


async def _timeout(stage: Stage) -> None:
    """Command a slow device with a short timeout."""
    device = _device(stage, stage.declaration.struck("device_slow"))
    async with Rig(stage, "trouble.timeout", setting=Setting(interval=QUIET)) as rig:
        if device is None or not await rig.online():
            return
        await rig.states()
        if await rig.stimulate("device_slow"):
            await _send(rig, device, "slow_timeout", COMMAND_TIMEOUT)
            await _late(rig, device)


async def _late(rig: Rig, device: Device) -> None:
    """Give the device the time to answer at last: who has given the command up must not answer it again then."""
    switch = rig.stage.declaration.switch_of(device)
    if switch is None:
        return
    since, name, _, other = rig.mark, *switch
    answers, shows = (rig.topic(f"devices/{device.id}/{level}") for level in ("cmd/response", "state"))
    done = showing(shows, name, other)
    found = await rig.stage.recorder.wait(
        rig.run,
        lambda record: is_publish(record, answers) or done(record),
        since=since,
        seconds=rig.stage.deadline(PATIENCE),
    )
    if found is not None:
        # What is published together with the state was sent before this is answered.
        await rig.meta("info", probe="slow_end")


async def _beside(stage: Stage) -> None:
    """Command a slow device, and another one right behind it."""
    device = _device(stage, stage.declaration.struck("device_slow"))
    other = next((d for d in stage.declaration.devices if d != device and stage.declaration.switch_of(d)), None)
    async with Rig(stage, "trouble.beside", setting=Setting(interval=QUIET)) as rig:
        if device is None or other is None or not await rig.online():
            return
        await rig.states()
        if await rig.stimulate("device_slow"):
            since = rig.mark
            await _send(rig, device, "slow_command", HELD, wait=False)
            await _send(rig, other, "beside_slow", HELD)
            # Whoever is slow has not answered by then; what is answered later may be answered because of the end.
            topic = rig.topic(f"devices/{device.id}/cmd/response")
            await rig.stage.recorder.wait(rig.run, publishing(topic), since=since, seconds=HELD_UP)
            rig.note("beside_end")


async def _failing(stage: Stage) -> None:
    """Command a failing device, and a group that it belongs to."""
    device = _device(stage, stage.declaration.struck("device_fails"))
    setting = Setting(interval=QUIET, groups=groups_of(stage.declaration))
    async with Rig(stage, "trouble.failing", setting=setting) as rig:
        if device is None or not await rig.online():
            return
        await rig.states()
        if not await rig.stimulate("device_fails"):
            return
        await _send(rig, device, "failing_command", HELD)
        await rig.until(
            lambda r: r.kind == "packet" and r.data.get("topic") == rig.topic(f"devices/{device.id}/error"),
            f"an error of {device.id}",
        )
        together = stage.declaration.grouped
        if "groups" in stage.declaration.features and together is not None and device in together[0]:
            _, name, _, other = together
            await command_group(rig, GROUP_ALL, {name: other}, probe="group_partial", shown_by=[])
        rig.note("failing_end")
