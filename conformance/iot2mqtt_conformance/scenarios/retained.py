"""A command that the broker has kept from before the connector was started."""

import json
from typing import Any

from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.declared_devices import Device
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.scenarios.commands import QUIET
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.together import together


async def play(stage: Stage) -> None:
    """Launch twice, each time with another value kept: an untouched device looks the same in both."""
    device = stage.declaration.commanded
    switch = stage.declaration.switch_of(device) if device else None
    if device is None or switch is None:
        return
    name, one, other = switch
    await together(
        _launch(stage, "retained.one", device, name, one), _launch(stage, "retained.other", device, name, other)
    )


async def _launch(stage: Stage, run: str, device: Device, name: str, value: Any) -> None:
    kept = {
        f"{target}/cmd": json.dumps({"id": f"kept-{number}", "values": {name: value}}).encode()
        for number, target in enumerate(_targets(stage.declaration, device))
    }
    async with Rig(stage, run, setting=Setting(interval=QUIET, retained=kept)) as rig:
        if not await rig.online():
            return
        await rig.states()
        rig.note("kept", device=device.id, property=name, value=value)
        await rig.get(device.id, probe="kept_shown")
        # The kept command came before this one, so it is executed by the time this one is answered, if ever.
        barrier, first = _barrier_of(device, name)
        await rig.command(device.id, {barrier: first}, probe="kept_barrier")
        await rig.get(device.id, probe="kept_after")


def _barrier_of(device: Device, name: str) -> tuple[str, Any]:
    """Return what the command after the kept one sets: another property where there is one."""
    names = [*(other for other in device.writable if other != name), name]
    return names[0], device.writable[names[0]][0]


def _targets(declaration: Declaration, device: Device) -> list[str]:
    """Return the device, and a group that it belongs to."""
    groups = declaration.instance.get("groups", []) if "groups" in declaration.features else []
    of_device = [group["group_id"] for group in groups if device.id in group.get("devices", [])]
    return [f"devices/{device.id}", *(f"groups/{group}" for group in of_device[:1])]
