"""A device fails, and comes back."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from iot2mqtt_conformance.names import LONGEST_RETRY
from iot2mqtt_conformance.noticing import is_publish
from iot2mqtt_conformance.rig import PATIENCE, Rig
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.transcript import Record

ATTEMPTS = 3
"""Update intervals in which a device that is back must be published, and one that is gone be known as such."""


async def play(stage: Stage) -> None:
    """Ask who is online before, during and after a failure."""
    if "device_fails" not in stage.declaration.stimuli:
        return
    device = stage.declaration.struck("device_fails")
    async with Rig(stage, "recovering") as rig:
        if not await rig.online():
            return
        await rig.states()
        await _ask_until(rig, device, "before", online=True)
        failed = rig.mark
        if not await rig.stimulate("device_fails"):
            return
        await _ask_until(rig, device, "during", online=False)
        if "device_recovers" not in stage.declaration.stimuli:
            return
        since = rig.mark
        if not await rig.stimulate("device_recovers"):
            return
        await rig.until(
            _alive(rig, device), f"a state of {device}", since=since, seconds=_patience(rig, device, failed)
        )
        await _ask_until(rig, device, "after", online=True)
        rig.note("recovering_end")


async def _ask_until(rig: Rig, device: str, probe: str, *, online: bool) -> None:
    """Ask for devices_list until it says what is expected of a device, after each other message of the connector."""
    limit = rig.stage.recorder.now() + rig.stage.deadline(ATTEMPTS * rig.setting.interval + PATIENCE)
    answers = rig.topic("meta/devices_list")
    while True:
        answer = await rig.meta("devices_list", probe=probe)
        if answer is None or _listed(answer, device) is online or rig.stage.recorder.now() > limit:
            return
        await rig.stage.recorder.wait(rig.run, _another(answers), since=rig.mark, seconds=0.5)


def _another(topic: str) -> Callable[[Record], bool]:
    """Return a predicate: the connector publishes on another topic than this one."""
    return lambda r: r.kind == "packet" and r.data["dir"] == "c2b" and r.data.get("topic", topic) != topic


def _listed(record: Record, device: str) -> Any:
    """Return what an answer says of a device's being online."""
    try:
        entries = json.loads(record.data.get("payload", "null"))
        return next(entry["online"] for entry in entries if entry["device_id"] == device)
    except (ValueError, TypeError, KeyError, StopIteration):
        return None


def _alive(rig: Rig, device: str) -> Callable[[Record], bool]:
    """Return a predicate: a state that does not say online:false."""
    topic = rig.topic(f"devices/{device}/state")
    return lambda record: is_publish(record, topic) and '"online":false' not in _dense(record)


def _dense(record: Record) -> str:
    return "".join(record.data.get("payload", "").split())


def _patience(rig: Rig, device: str, since: int) -> float:
    """Return the seconds until the device must be back: some intervals, or until the announced attempt."""
    seconds = ATTEMPTS * rig.setting.interval
    topic = rig.topic(f"devices/{device}/error")
    for record in rig.stage.recorder.transcript.records[since:]:
        if record.run == rig.run and is_publish(record, topic):
            seconds = max(seconds, announced(record))
    return min(seconds, LONGEST_RETRY) + PATIENCE


def announced(record: Record) -> float:
    """Return in how many seconds from now an error message announces the next attempt; 0 where it does not."""
    try:
        stamp = json.loads(record.data.get("payload", "null"))["retry_info"]["next_retry"]
        return (datetime.fromisoformat(stamp) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, KeyError):
        return 0.0
