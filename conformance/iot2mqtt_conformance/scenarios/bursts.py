"""Fifty commands at once to all devices, and a command that arrives again."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

from iot2mqtt_conformance.declared_devices import Device
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.scenarios.commands import QUIET, showing
from iot2mqtt_conformance.scenarios.refusals import all_answered, barrier_beside, new_id
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage

COMMANDS = 50
REPEATS = 10
BURST = 40.0
"""Seconds that all responses to a burst may take: a command is not asked to be fast, only to be answered."""
LONG = 60_000
"""The `timeout` of a burst's commands, in milliseconds: the last of them waits for all the others."""


async def play(stage: Stage) -> None:
    """Alternate each device between two values; then let one command arrive again after another one."""
    device = stage.declaration.commanded
    if device is None:
        return
    async with Rig(stage, "bursts", setting=Setting(interval=QUIET)) as rig:
        if not await rig.online():
            return
        await rig.states()
        await _repeated(rig, device)
        await _burst(rig)
        rig.note("bursts_end")


def _body(command_id: str, name: str, value: Any) -> bytes:
    stamp = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"id": command_id, "timestamp": stamp, "values": {name: value}, "timeout": LONG}).encode()


async def _burst(rig: Rig) -> None:
    switches = [(d, rig.stage.declaration.switch_of(d)) for d in rig.stage.declaration.devices]
    turns = [(device.id, *switch) for device, switch in switches if switch is not None]
    orders = []
    for number in range(COMMANDS):
        device, name, one, other = turns[number % len(turns)]
        # The first one sets the second value, so that an untouched device does not show the right end by chance.
        value = one if number // len(turns) % 2 else other
        orders.append((device, new_id("burst"), name, value))
    since = rig.mark
    sends = []
    for device, command_id, name, value in orders:
        facts: dict[str, Any] = {"device": device, "property": name, "value": value}
        body = _body(command_id, name, value)
        sends.append(rig.send(f"devices/{device}/cmd", body, probe="burst", id=command_id, **facts))
    await asyncio.gather(*sends)
    answered = all_answered({order for _, order, _, _ in orders})
    await rig.until(answered, f"{COMMANDS} responses", since=since, seconds=BURST)
    for device, *_ in turns:
        await rig.get(device, probe="burst_after")


async def _repeated(rig: Rig, device: Device) -> None:
    """One value, another one, and the first command again: its value must not come back."""
    switch = rig.stage.declaration.switch_of(device)
    if switch is None:
        return
    name, one, other = switch
    topic = rig.topic(f"devices/{device.id}/state")
    first, second = new_id("repeated"), new_id("between")
    body = _body(first, name, other)
    facts: dict[str, Any] = {"device": device.id, "property": name}
    barrier = await barrier_beside(rig, device, name, one)
    for order, text, value, probe in (
        (first, body, other, "repeated_first"),
        (second, _body(second, name, one), one, "repeated_between"),
    ):
        since = rig.mark
        await rig.order(f"devices/{device.id}", text, probe=probe, command_id=order, value=value, **facts)
        await rig.until(showing(topic, name, value), f"a state with {name}", since=since)
    for _ in range(REPEATS):
        await rig.send(f"devices/{device.id}/cmd", body, probe="repeated", id=first, value=other, **facts)
    await rig.command(device.id, barrier, probe="repeated_barrier")
    await rig.get(device.id, probe="repeated_after")
