"""Old, fresh and offset timestamps on commands, in three time zones."""

from datetime import UTC, datetime, timedelta, timezone

from iot2mqtt_conformance.declared_devices import Device
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.scenarios.commands import QUIET, showing
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.together import together

ZONES = {"utc": "UTC", "kolkata": "Asia/Kolkata", "newfoundland": "America/St_Johns"}
_EAST = timezone(timedelta(hours=9))
_WEST = timezone(timedelta(hours=-8))


def _zulu(age: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=age)).isoformat().replace("+00:00", "Z")


def _offset(age: float, zone: timezone) -> str:
    return (datetime.now(zone) - timedelta(seconds=age)).isoformat()


def _naive(age: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=age)).replace(tzinfo=None).isoformat()


# Name of the probe, the age of the command in seconds, and how the timestamp is written.
PROBES = (
    ("fresh_z", 0, _zulu),
    ("old_25_z", 25, _zulu),
    ("stale_35_z", 35, _zulu),
    ("stale_day_z", 86_405, _zulu),
    ("fresh_east", 0, lambda age: _offset(age, _EAST)),
    ("stale_east", 600, lambda age: _offset(age, _EAST)),
    ("fresh_west", 0, lambda age: _offset(age, _WEST)),
    ("stale_west", 600, lambda age: _offset(age, _WEST)),
    ("fresh_naive", 0, _naive),
    ("stale_naive", 600, _naive),
)


async def play(stage: Stage) -> None:
    """Run the same probes in every zone at once."""
    await together(*(_zone(stage, name, zone) for name, zone in ZONES.items()))


async def _zone(stage: Stage, name: str, zone: str) -> None:
    device = stage.declaration.commanded
    async with Rig(stage, f"staleness.{name}", setting=Setting(tz=zone, interval=QUIET if device else 1)) as rig:
        if not await rig.online():
            return
        await rig.states()
        if device is None:
            return
        await _probe(rig, device)


async def _probe(rig: Rig, device: Device) -> None:
    switch = rig.stage.declaration.switch_of(device)
    if switch is None:
        return
    name, current, wanted = switch
    await rig.command(device.id, {name: current}, probe="preset")
    await rig.get(device.id, probe="preset_seen")
    topic = rig.topic(f"devices/{device.id}/state")
    for probe, age, write in PROBES:
        stale = probe.startswith("stale")
        since = rig.mark
        facts = {"device": device.id, "property": name, "before": current, "wanted": wanted}
        rig.note("staleness", probe=probe, stale=stale, age=age, **facts)
        await rig.command(device.id, {name: wanted}, probe=probe, identified=not stale, timestamp=write(age))
        if not stale:
            value = wanted
            await rig.until(showing(topic, name, wanted), f"a state with {name}", since=since)
        else:
            # Commands of one device are executed in order: this one's response says that the stale one is done.
            await rig.command(device.id, {name: current}, probe=f"after_{probe}")
            value = current
        await rig.get(device.id, probe=f"seen_{probe}")
        if value == wanted:
            current, wanted = wanted, current
