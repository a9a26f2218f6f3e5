"""Instance configurations that cannot be used: the process must say so and end."""

from collections.abc import Callable

from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.together import together

FAULTS: dict[str, Callable[[str], str] | None] = {
    "missing": None,
    "truncated": lambda text: text[: len(text) // 2],
    "wrong_type": lambda _text: '{"instance_id": "x", "devices": "light1"}',
}


async def play(stage: Stage) -> None:
    """Launch once with each fault."""
    await together(*(_fault(stage, name, change) for name, change in FAULTS.items()))


async def _fault(stage: Stage, name: str, change: Callable[[str], str] | None) -> None:
    async with Rig(stage, f"config_faults.{name}", setting=Setting(config_text=change)) as rig:
        await rig.ended(seconds=stage.declaration.start_deadline)
