"""The connector is told what keeps it from being initialised."""

from collections.abc import Mapping
from typing import Any

from iot2mqtt_conformance.noticing import is_online
from iot2mqtt_conformance.observer import retained
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage

LEAST = 2.0
"""Seconds for which an `online` is waited for at the least."""


async def play(stage: Stage) -> None:
    """Launch, and wait for the end or for as long as `online` could take; then look at what the broker keeps."""
    stimulus: Mapping[str, Any] | None = stage.declaration.stimuli.get("init_fails")
    if stimulus is None:
        return
    setting = Setting(
        env=stimulus.get("env", {}),
        configure=lambda config: {**config, **stimulus.get("config", {})},
        retained={"status": b"offline"},
    )
    async with Rig(stage, "init_fails", setting=setting) as rig:
        topic = rig.topic("status")
        begin = rig.mark
        online = await rig.until(
            lambda r: is_online(r, topic) or r.kind == "proc.exit",
            "`online` or the end of the process",
            seconds=2 * _usual(stage) + LEAST,
        )
        if online is not None and online.kind == "packet":
            # An `online` that came too early may be taken back: what stays is what counts.
            await rig.until(
                lambda r: r.kind == "proc.exit" or (r.kind == "seen" and r.data["payload"] == "offline"),
                "`offline` or the end of the process",
                since=begin,
                seconds=2 * _usual(stage) + LEAST,
            )
        await rig.until(
            lambda r: r.kind in {"out", "proc.exit"},
            "a line or the end of the process",
            seconds=stage.declaration.start_deadline,
        )
        rig.note("retained_status", payload=await retained((rig.broker.host, rig.broker.port), topic))


def _usual(stage: Stage) -> float:
    """Return the seconds from start to `online` in the first launch."""
    boot = stage.recorder.transcript.of("boot")
    began = next((r.t for r in boot if r.kind == "proc.start"), 0.0)
    return next((r.t - began for r in boot if r.kind == "packet" and r.data.get("payload") == "online"), 0.0)
