"""The configuration changes between two launches of one instance."""

import asyncio
import signal
from typing import Any

from iot2mqtt_conformance.names import RENAMED
from iot2mqtt_conformance.observer import retained
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.transcript import Record

BEFORE, AFTER = "reconfigure.before", "reconfigure.after"


async def play(stage: Stage) -> None:
    """Launch without the last device, then with it, and with another one renamed."""
    enabled = stage.declaration.enabled
    added = enabled[-1] if len(enabled) > 1 else None
    renamed = enabled[-2] if added else enabled[-1]

    def before(config: dict[str, Any]) -> dict[str, Any]:
        return {**config, "devices": [d for d in config["devices"] if d["device_id"] != added]}

    def after(config: dict[str, Any]) -> dict[str, Any]:
        devices = [{**d, "device_id": RENAMED} if d["device_id"] == renamed else d for d in config["devices"]]
        return {**config, "devices": devices}

    async with Rig(stage, BEFORE, setting=Setting(configure=before)) as rig:
        if not await rig.online():
            return
        await rig.states_of([device for device in enabled if device != added])
        rig.signal(signal.SIGTERM)
        await rig.ended(seconds=stage.declaration.stop_deadline)
    left = await _kept(rig, _topics(stage, rig, renamed))
    async with Rig(stage, AFTER, setting=Setting(configure=after), instance_of=BEFORE, base_of=BEFORE) as rig:
        rig.note("changed", renamed=renamed, added=added, retained_before=left)
        if not await rig.online():
            return
        present = [device for device in [*enabled, RENAMED] if device != renamed]
        waits = [rig.states_of(present), *(rig.until(_clearing(topic), f"the end of {topic}") for topic in left)]
        await asyncio.gather(*waits)
        await rig.meta("devices_list", probe="changed_devices")
        # Another round of states: a device that has left would come back with it.
        await rig.states_of(present, since=rig.mark)
        rig.note("left_behind", topics=await _kept(rig, left))


def _topics(stage: Stage, rig: Rig, device: str) -> list[str]:
    """Return the retained topics of a device."""
    prefix = rig.topic(f"devices/{device}/")
    packets = [r for r in stage.recorder.transcript.of(BEFORE) if r.kind == "packet" and r.data["dir"] == "c2b"]
    found = {r.data["topic"] for r in packets if r.data["type"] == "PUBLISH" and r.data["retain"]}
    return sorted(topic for topic in found if topic.startswith(prefix))


async def _kept(rig: Rig, topics: list[str]) -> list[str]:
    """Return those topics for which the broker keeps something."""
    kept = [await retained((rig.broker.host, rig.broker.port), topic) for topic in topics]
    return [topic for topic, payload in zip(topics, kept, strict=True) if payload]


def _clearing(topic: str) -> Any:
    return lambda r: _clears(r, topic)


def _clears(record: Record, topic: str) -> bool:
    data = record.data
    return bool(
        record.kind == "packet"
        and data["dir"] == "c2b"
        and data.get("topic") == topic
        and data["retain"]
        and data.get("payload") == ""
    )
