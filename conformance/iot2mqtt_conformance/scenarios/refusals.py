"""Commands that are to be refused, each followed by a good one whose response says that it is done with."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from iot2mqtt_conformance.declared_devices import Device
from iot2mqtt_conformance.names import DISABLED, STRANGE, UNKNOWN
from iot2mqtt_conformance.noticing import is_publish
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.scenarios.commands import QUIET, showing
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.transcript import Record

UNREADABLE = {"word": '"yesterday"', "overflow": "1e400", "object": '{"seconds": 5}'}
"""Timestamps that cannot be read, as they stand in the command."""
MALFORMED: dict[str, dict[str, Any]] = {"absent": {}, "text": {"values": "power"}, "list": {"values": ["power"]}}
"""Commands without an object of values."""
LOOKS = 2
"""Questions for a device's state after a command: the first answer may cross what the device tells by itself."""


async def play(stage: Stage) -> None:
    """Send what must be refused because of its time, its values, its form, and whom it is for."""
    device = stage.declaration.commanded
    if device is None:
        return
    async with Rig(stage, "refusals", setting=Setting(interval=QUIET)) as rig:
        if not await rig.online():
            return
        await rig.states()
        await _times(rig, device)
        for target in stage.declaration.devices:
            if target.writable or target.rejects:
                await _values(rig, target)
        await _kinds(rig, device)
        rig.note("refusals_end")


async def barrier_beside(rig: Rig, device: Device, name: str, value: Any) -> dict[str, Any]:
    """Return what a command may set that is to prove a property untouched: another property, or the same value again.

    Many a dimmer's light goes on when its brightness is set; so what another property does to this one is tried first.

    Args:
        rig: The launch.
        device: The device.
        name: The property that is to stay as it is.
        value: Its value by then.
    """
    topic = rig.topic(f"devices/{device.id}/state")
    shows = showing(topic, name, value)
    await rig.command(device.id, {name: value}, probe="beside_preset")
    await rig.get(device.id, probe="beside_before")
    for other, values in device.writable.items():
        if other == name:
            continue
        since = rig.mark
        await rig.command(device.id, {other: values[0]}, probe="beside")
        for _ in range(LOOKS):
            await rig.get(device.id, probe="beside_after")
        states = [r for r in rig.stage.recorder.transcript.records[since:] if r.run == rig.run and is_publish(r, topic)]
        if states and all(map(shows, states)):
            return {other: values[0]}
        await rig.command(device.id, {name: value}, probe="beside_again")
    return {name: value}


def payload(command_id: str, members: Mapping[str, Any], stamp: str | None = None) -> bytes:
    """Return a command of an id and some members; its timestamp is given as it stands in the text."""
    now = json.dumps(datetime.now(UTC).isoformat().replace("+00:00", "Z")) if stamp is None else stamp
    return f'{json.dumps({"id": command_id, **members})[:-1]}, "timestamp": {now}}}'.encode()


async def refuse(rig: Rig, target: str, probe: str, body: bytes, command_id: str, **facts: Any) -> None:
    """Send a command, and do not wait: a refusal may be silent."""
    await rig.send(f"{target}/cmd", body, probe=probe, id=command_id, **facts)


def new_id(probe: str) -> str:
    """Return an id that no other command has."""
    return f"{probe}-{uuid4().hex[:8]}"


def all_answered(waiting: set[str]) -> Callable[[Record], bool]:
    """Return a predicate that holds once every id was in a response."""

    def done(record: Record) -> bool:
        data = record.data
        if record.kind != "packet" or data["dir"] != "c2b" or not data.get("topic", "").endswith("/cmd/response"):
            return False
        waiting.difference_update([order for order in waiting if f'"{order}"' in data.get("payload", "")])
        return not waiting

    return done


async def _times(rig: Rig, device: Device) -> None:
    """A command without a timestamp is executed; unreadable ones are not."""
    switch = rig.stage.declaration.switch_of(device)
    if switch is None:
        return
    name, one, other = switch
    barrier = await barrier_beside(rig, device, name, other)
    await rig.command(device.id, {name: one}, probe="untimed_preset")
    await rig.get(device.id, probe="untimed_before")
    since, command_id = rig.mark, new_id("untimed")
    body = json.dumps({"id": command_id, "values": {name: other}}).encode()
    facts = {"device": device.id, "values": {name: other}}
    await rig.order(f"devices/{device.id}", body, probe="untimed", command_id=command_id, **facts)
    await rig.until(showing(rig.topic(f"devices/{device.id}/state"), name, other), f"a state with {name}", since=since)
    for kind, stamp in UNREADABLE.items():
        command_id = new_id("unreadable")
        facts = {"device": device.id, "values": {name: one}, "before": other, "stamp": stamp}
        body = payload(command_id, {"values": {name: one}}, stamp)
        await refuse(rig, f"devices/{device.id}", f"unreadable_{kind}", body, command_id, **facts)
        await rig.command(device.id, barrier, probe=f"unreadable_{kind}_barrier")
        await rig.get(device.id, probe=f"unreadable_{kind}_after")


async def _values(rig: Rig, device: Device) -> None:
    """Every value that the device rejects, alone and beside a good one, and a property that it does not have."""
    for name, values in device.writable.items():
        await rig.command(device.id, {name: values[0]}, probe="rejects_preset")
    await rig.get(device.id, probe="rejects_before")
    since = rig.mark
    for name, values in [*((n, v) for n, v in device.rejects.items() if v), (STRANGE, (1,))]:
        for value in values:
            await _reject(rig, device, {name: value})
        good = next(((n, v[1]) for n, v in device.writable.items() if n != name and len(v) > 1), None)
        if good is not None:
            await _reject(rig, device, {good[0]: good[1], name: values[0]})
    # No good command here: what it sets would hide what a bad one may have set.
    sent = (r.data["id"] for r in rig.stage.recorder.transcript.records[since:] if r.data.get("probe") == "rejected")
    await rig.until(all_answered(set(sent)), f"{device.id} to refuse all that it rejects", since=since)
    await rig.get(device.id, probe="rejects_after")


async def _reject(rig: Rig, device: Device, values: Mapping[str, Any]) -> None:
    command_id = new_id("rejected")
    facts = {"device": device.id, "values": dict(values)}
    await refuse(rig, f"devices/{device.id}", "rejected", payload(command_id, {"values": values}), command_id, **facts)


async def _kinds(rig: Rig, device: Device) -> None:
    """One command of each further kind that is refused."""
    switch = rig.stage.declaration.switch_of(device)
    if switch is None:
        return
    name, one, other = switch
    old = json.dumps((datetime.now(UTC) - timedelta(seconds=600)).isoformat().replace("+00:00", "Z"))
    command_id = new_id("stale")
    await refuse(
        rig, f"devices/{device.id}", "refused_stale", payload(command_id, {"values": {name: other}}, old), command_id
    )
    for target, probe in ((UNKNOWN, "refused_unknown"), (DISABLED, "refused_disabled")):
        command_id = new_id("nobody")
        await refuse(rig, f"devices/{target}", probe, payload(command_id, {"values": {name: one}}), command_id)
    for kind, more in MALFORMED.items():
        command_id = new_id("malformed")
        body = payload(command_id, more)
        await refuse(rig, f"devices/{device.id}", f"refused_malformed_{kind}", body, command_id)
    await rig.command(device.id, {name: one}, probe="refused_barrier")
    await rig.get(device.id, probe="refused_after")
    await rig.meta("info", probe="refused_end")
