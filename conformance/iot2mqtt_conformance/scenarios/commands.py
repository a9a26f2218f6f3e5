"""Commands that are to be executed, one without an id, and ones that are to leave everything as it is."""

import json
from collections.abc import Callable
from typing import Any

from iot2mqtt_conformance.declared_devices import Device
from iot2mqtt_conformance.names import DISABLED, UNKNOWN
from iot2mqtt_conformance.noticing import is_publish
from iot2mqtt_conformance.rig import PATIENCE, Rig
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.transcript import Record

QUIET = 60.0
"""An update_interval so long that every state seen answers a question."""

PAUSE = 0.5
"""Seconds between two questions for a value that is not there yet."""


async def play(stage: Stage) -> None:
    """Command every writable value, then what must not be executed."""
    device = stage.declaration.commanded
    if device is None:
        return
    async with Rig(stage, "commands", setting=Setting(interval=QUIET)) as rig:
        if not await rig.online():
            return
        await rig.states()
        for target in stage.declaration.devices:
            for name, values in target.writable.items():
                for value in values:
                    await _set(rig, target.id, name, value, probe="writable")
                    await _look(rig, target.id, name, value)
        await _without_id(rig, device)
        await _to_nobody(rig, device)


async def _set(rig: Rig, device: str, name: str, value: Any, *, probe: str, identified: bool = True) -> None:
    """Command a value and wait until a state shows it."""
    since = rig.mark
    await rig.command(device, {name: value}, probe=probe, identified=identified)
    topic = rig.topic(f"devices/{device}/state")
    await rig.until(showing(topic, name, value), f"a state of {device} with {name}", since=since)


async def _look(rig: Rig, device: str, name: str, value: Any) -> None:
    """Ask for the state until it shows a value: what was told right after the command may be its echo only."""
    shows = showing(rig.topic(f"devices/{device}/state"), name, value)
    limit = rig.stage.recorder.now() + rig.stage.deadline(PATIENCE)
    while True:
        answer = await rig.get(device, probe="writable_seen")
        if answer is None or shows(answer) or rig.stage.recorder.now() > limit:
            return
        # What is on its way there, as a light that fades, may tell by itself that it has arrived.
        await rig.stage.recorder.wait(rig.run, shows, since=rig.mark, seconds=PAUSE)


def showing(topic: str, name: str, value: Any) -> Callable[[Record], bool]:
    """Return a predicate: a state on this topic carries a property's value."""
    return lambda record: is_publish(record, topic) and _shows(record, name, value)


def _shows(record: Record, name: str, value: Any) -> bool:
    try:
        state = json.loads(record.data.get("payload", "null"))["state"]
        return name in state and state[name] == value and isinstance(state[name], bool) == isinstance(value, bool)
    except (ValueError, TypeError, KeyError):
        return False


async def _without_id(rig: Rig, device: Device) -> None:
    """A command without an id, both ways; the response to a later one proves the silence."""
    switch = rig.stage.declaration.switch_of(device)
    if switch is None:
        return
    name, one, other = switch
    await _set(rig, device.id, name, one, probe="anonymous", identified=False)
    await _set(rig, device.id, name, other, probe="anonymous", identified=False)
    await rig.command(device.id, {name: other}, probe="anonymous_barrier")


async def _to_nobody(rig: Rig, device: Device) -> None:
    """Commands to devices that must not listen, then a good one."""
    switch = rig.stage.declaration.switch_of(device)
    if switch is None:
        return
    name, one, other = switch
    await _set(rig, device.id, name, one, probe="before_nobody")
    await rig.command(UNKNOWN, {name: other}, probe="unknown_device", identified=False)
    await rig.command(DISABLED, {name: other}, probe="disabled_device", identified=False)
    await rig.get(device.id, probe="after_nobody")
    await rig.command(device.id, {name: one}, probe="nobody_barrier")
    for question in (UNKNOWN, DISABLED):
        await rig.send(f"devices/{question}/get", b"", probe="get_nobody")
    await rig.meta("info", probe="nobody_end")
