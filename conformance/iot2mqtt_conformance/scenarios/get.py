"""Questions for state, while no poll can be mistaken for the answer."""

import json

from iot2mqtt_conformance.names import UNKNOWN
from iot2mqtt_conformance.noticing import is_publish
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.scenarios.commands import QUIET
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.transcript import Record


async def play(stage: Stage) -> None:
    """Ask every enabled device in the three ways for all, then for a part; then a device that there is not."""
    async with Rig(stage, "get", setting=Setting(interval=QUIET)) as rig:
        if not await rig.online():
            return
        await rig.states()
        for device in stage.declaration.enabled:
            answer: Record | None = None
            for name, payload in (("empty", b""), ("object", b"{}"), ("null", b"null")):
                answer = await rig.get(device, payload, probe=f"whole_{name}") or answer
            known = _a_property(answer)
            if known is not None:
                body = json.dumps({"properties": [known, "no_such_property"]}).encode()
                rig.note("partial", device=device, known=known)
                await _ask_for(rig, device, body, known)
                kept = await rig.kept(f"devices/{device}/state")
                rig.note("retained_state", device=device, payload=kept)
        await rig.send(f"devices/{UNKNOWN}/get", b"", probe="get_unknown")
        await rig.meta("info", probe="get_unknown_barrier")
        for device in stage.declaration.enabled:
            await rig.get(device, probe="get_unknown_after")
        rig.note("get_end")


async def _ask_for(rig: Rig, device: str, body: bytes, known: str) -> None:
    """Ask for a part; a whole state may come before it, because the device has news."""
    since, topic = rig.mark, rig.topic(f"devices/{device}/state")
    await rig.send(f"devices/{device}/get", body, probe="partial", device=device)
    await rig.until(lambda r: is_publish(r, topic) and _properties(r) == [known], "the answer to partial", since=since)


def _a_property(record: Record | None) -> str | None:
    """Return a property name of a state message, one of several where there are several."""
    return next(iter(_properties(record)), None) if record else None


def _properties(record: Record) -> list[str]:
    """Return the property names of a state message."""
    try:
        return list(json.loads(record.data.get("payload", "null"))["state"])
    except (ValueError, TypeError, KeyError):
        return []
