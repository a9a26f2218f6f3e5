"""Launches under other values of QoS, retain and log level, and with settings that stand in .env only."""

from iot2mqtt_conformance.names import KEEPALIVE, PREFIX
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.together import together

IN_THE_FILE = ("MQTT_HOST", "MQTT_PORT", "MQTT_USERNAME", "MQTT_PASSWORD", "MQTT_KEEPALIVE", "MQTT_CLIENT_PREFIX")


async def play(stage: Stage) -> None:
    """Launch once with each."""
    await together(
        _until_states(stage, "qos0", Setting(qos=0, retain="false")),
        _until_states(stage, "qos2", Setting(qos=2)),
        _until_states(stage, "unset", Setting(qos=None, retain=None)),
        _until_states(stage, "file", _from_file()),
        _until_states(stage, "debug", Setting(log_level="debug")),
        _until_states(stage, "warning", Setting(log_level="WARNING")),
        _until_states(stage, "unknown_level", Setting(log_level="nonsense")),
    )


def _from_file() -> Setting:
    usual = Setting()
    lines = (
        "# what the process environment lacks",
        "MQTT_HOST=127.0.0.1",
        "MQTT_PORT={port}",
        f"MQTT_USERNAME={usual.username}",
        f"MQTT_PASSWORD={usual.password}",
        f"MQTT_KEEPALIVE={KEEPALIVE}",
        f"MQTT_CLIENT_PREFIX={PREFIX}",
    )
    return Setting(env=dict.fromkeys(IN_THE_FILE), env_file="\n".join(lines) + "\n")


async def _until_states(stage: Stage, name: str, setting: Setting) -> None:
    async with Rig(stage, f"environment.{name}", setting=setting) as rig:
        if not await rig.online():
            return
        await rig.states()
        await ask(rig, "environment")
        rig.note("environment_end")


async def ask(rig: Rig, probe: str, *, other: bool = False) -> None:
    """Command a device, or ask for its state where commands are not declared.

    Args:
        rig: The launch.
        probe: How judges find it.
        other: Whether to command the second of the two values that the declaration tells apart, and not the first.
    """
    device = rig.stage.declaration.commanded
    switch = rig.stage.declaration.switch_of(device) if device else None
    if device is None or switch is None:
        await rig.get(rig.stage.declaration.enabled[0], probe=probe)
    else:
        await rig.command(device.id, {switch[0]: switch[2 if other else 1]}, probe=probe)
