"""SIGTERM and SIGINT while the next poll is a minute away."""

import signal

from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.scenarios.commands import QUIET
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.together import together

LATENCY = 0.05
"""Seconds that a packet takes while the connector leaves."""
UNDER_WAY = 1.0
"""Seconds in which what is on its way has come through."""


async def play(stage: Stage) -> None:
    """Stop one launch by each signal."""
    await together(_stop(stage, "sigterm", signal.SIGTERM), _stop(stage, "sigint", signal.SIGINT))


async def _stop(stage: Stage, name: str, number: signal.Signals) -> None:
    async with Rig(stage, f"shutdown.{name}", setting=Setting(interval=QUIET)) as rig:
        if not await rig.online():
            return
        await rig.states()
        # Whoever does not wait for the acknowledgement of `offline` leaves before it comes.
        rig.proxy.delay(LATENCY)
        since = rig.signal(number).i
        await rig.ended(seconds=stage.declaration.stop_deadline)
        # What the process has sent last is still on its way, on any of its connections.
        await rig.until(lambda _: _over(rig), "the end of the connections", since=since, seconds=UNDER_WAY)


def _over(rig: Rig) -> bool:
    records = rig.stage.recorder.transcript.of(rig.run)
    opened, closed = ({r.data["conn"] for r in records if r.kind == kind} for kind in ("conn.open", "conn.close"))
    return opened <= closed
