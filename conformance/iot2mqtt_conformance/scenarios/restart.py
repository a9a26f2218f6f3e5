"""The broker restarts and has forgotten everything."""

from iot2mqtt_conformance.names import RECOVERY
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.scenarios.reconnect import ask
from iot2mqtt_conformance.stage import Stage


async def play(stage: Stage) -> None:
    """Stop a broker of its own, wait for calls in vain, start it again."""
    broker = stage.new_broker()
    await broker.start()
    try:
        async with Rig(stage, "restart", broker=broker) as rig:
            if not await rig.online():
                return
            await rig.states()
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
                await ask(rig)
                await rig.states(since=since)
    finally:
        await broker.stop()
