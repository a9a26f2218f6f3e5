"""The broker restarts and has forgotten everything, as Mosquitto has when its disk was full."""

from iot2mqtt_conformance.names import RECOVERY
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.scenarios.reconnect import ask
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage

INTERVAL = 3.0
"""update_interval in seconds. 1 s would be too short on a busy machine for who starts a program for each message."""


async def play(stage: Stage) -> None:
    """Stop a broker of its own, wait for calls in vain, start it again."""
    broker = stage.new_broker()
    await broker.start()
    try:
        async with Rig(stage, "restart", broker=broker, setting=Setting(interval=INTERVAL)) as rig:
            if not await rig.online():
                return
            # As long as after the start: nothing has been asked yet, so what is told now is told by itself.
            await rig.states(seconds=stage.declaration.start_deadline + INTERVAL)
            since = rig.mark
            rig.note("broker_down")
            await broker.stop()
            calls = await rig.until(
                lambda r: r.kind == "upstream.unreachable",
                "a call while the broker is away",
                since=since,
                seconds=RECOVERY,
            )
            if calls is not None:
                await rig.until(
                    lambda r: r.kind == "upstream.unreachable", "a second call", since=calls.i + 1, seconds=RECOVERY
                )
            await broker.start()
            since = rig.mark
            rig.note("broker_back")
            await rig.observer.again()
            if await rig.online(since=since, seconds=RECOVERY):
                # Before anything is asked: a command would make its device tell its state.
                await rig.states(since=since, seconds=RECOVERY)
                await ask(rig)
    finally:
        await broker.stop()
