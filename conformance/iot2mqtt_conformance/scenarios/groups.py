"""Commands for two groups of the suite's own: all devices that take the same values with two strangers, and one."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.names import DISABLED, GROUP_ALL, GROUP_ONE, STRANGE, UNKNOWN
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.scenarios.commands import QUIET, showing
from iot2mqtt_conformance.scenarios.refusals import new_id, payload
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage

OLD = {"35": 35.0, "day": 86_405.0, "east": 600.0}
"""Ages in seconds of group commands that are too old; the last one is written with another offset."""
_EAST = timezone(timedelta(hours=9))


async def play(stage: Stage) -> None:
    """Command the groups, an unknown one, and with timestamps of several ages."""
    together = stage.declaration.grouped
    if together is None or "groups" not in stage.declaration.features:
        return
    devices, name, one, other = together
    members = [device.id for device in devices]
    async with Rig(stage, "groups", setting=Setting(interval=QUIET, groups=groups_of(stage.declaration))) as rig:
        if not await rig.online():
            return
        await rig.states()
        rig.note("members", members=members, property=name, one=one, other=other)
        for device in members:
            await _preset(rig, device, {name: one})
        await command_group(rig, GROUP_ALL, {name: other}, probe="group_all", shown_by=members)
        await command_group(rig, GROUP_ONE, {name: one}, probe="group_one", shown_by=members[:1])
        for device in members:
            await rig.get(device, probe="group_one_seen")
        await _settle(rig, members, {name: other}, probe="one")
        await command_group(rig, UNKNOWN, {name: one}, probe="group_unknown", shown_by=[], patient=False)
        await _settle(rig, members, {name: other}, probe="unknown")
        await _ages(rig, members, name, one, other)
        await command_group(rig, GROUP_ALL, {STRANGE: 1}, probe="group_refused", shown_by=[])
        rig.note("groups_end")


def groups_of(declaration: Declaration) -> tuple[Mapping[str, Any], ...]:
    """Return the two groups, like the instance file's own in all else."""
    together = declaration.grouped
    if together is None:
        return ()
    members = [device.id for device in together[0]]
    own: Mapping[str, Any] = next(iter(declaration.instance.get("groups", [])), {})
    return (
        {**own, "enabled": True, "group_id": GROUP_ALL, "devices": [UNKNOWN, members[0], DISABLED, *members[1:]]},
        {**own, "enabled": True, "group_id": GROUP_ONE, "devices": members[:1]},
    )


async def command_group(
    rig: Rig,
    group: str,
    values: Mapping[str, Any],
    *,
    probe: str,
    shown_by: list[str],
    stamp: str | None = None,
    patient: bool = True,
) -> None:
    """Command a group; wait for its response and for the members' states, unless there may be none."""
    since, command_id = rig.mark, new_id(probe)
    body = payload(command_id, {"values": dict(values)}, None if stamp is None else json.dumps(stamp))
    facts: dict[str, Any] = {"group": group, "values": dict(values), "timestamp": stamp}
    if patient and not _silent(rig):
        await rig.order(f"groups/{group}", body, probe=probe, command_id=command_id, **facts)
    else:
        await rig.send(f"groups/{group}/cmd", body, probe=probe, id=command_id, **facts)
    for device in shown_by:
        topic = rig.topic(f"devices/{device}/state")
        for name, value in values.items():
            await rig.until(showing(topic, name, value), f"a state of {device} with {name}", since=since)


def _silent(rig: Rig) -> bool:
    """Whether a response to a group command was already waited for in vain."""
    waits = (r for r in rig.stage.recorder.transcript.of(rig.run) if r.kind == "step" and r.data["name"] == "timeout")
    return any("response to group_" in r.data["what"] for r in waits)


async def _preset(rig: Rig, device: str, values: Mapping[str, Any]) -> None:
    """Command one device, and ask for its state."""
    await rig.command(device, values, probe="group_preset")
    await rig.get(device, probe="group_preset_seen")


async def _settle(rig: Rig, members: list[str], values: Mapping[str, Any], *, probe: str) -> None:
    """Let what was sent come to its end, as a good command for the group and one for each member say; then ask."""
    await command_group(rig, GROUP_ALL, values, probe=f"group_{probe}_barrier", shown_by=[])
    for device in members:
        await rig.command(device, values, probe=f"group_{probe}_barrier_device")
        await rig.get(device, probe=f"group_{probe}_after")


async def _ages(rig: Rig, members: list[str], name: str, one: Any, other: Any) -> None:
    """Old commands, each followed by a good one for another end, then one that is not too old yet."""
    for kind, age in OLD.items():
        now = datetime.now(_EAST if kind == "east" else UTC)
        stamp = (now - timedelta(seconds=age)).isoformat()
        await command_group(
            rig, GROUP_ALL, {name: one}, probe=f"group_old_{kind}", shown_by=[], stamp=stamp, patient=False
        )
        await _settle(rig, members, {name: other}, probe=f"old_{kind}")
    stamp = (datetime.now(UTC) - timedelta(seconds=25)).isoformat()
    await command_group(rig, GROUP_ALL, {name: one}, probe="group_fresh_25", shown_by=members, stamp=stamp)
