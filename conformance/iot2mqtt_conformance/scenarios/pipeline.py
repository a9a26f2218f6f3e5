"""The connector's states on their way through bridge, Kafka, processor and sink into the table.

Each of them is restarted while states are published, and the broker in the end. A message of the suite's own, sent
behind the states of each device, tells when all that was before it has been decided.
"""

import asyncio

from iot2mqtt_conformance.conveyor import STAGES, Conveyor
from iot2mqtt_conformance.names import RECOVERY
from iot2mqtt_conformance.noticing import acknowledging, publishing
from iot2mqtt_conformance.rig import PATIENCE, Rig
from iot2mqtt_conformance.scenarios.commands import showing
from iot2mqtt_conformance.scenarios.polling import urge
from iot2mqtt_conformance.services.base import Broker
from iot2mqtt_conformance.stage import Stage


async def play(stage: Stage) -> None:
    """Let states through undisturbed, then with each part away in turn."""
    warehouse = stage.warehouse
    if warehouse is None:
        return
    broker = stage.new_broker()
    rig = Rig(stage, "pipeline", broker=broker)
    await broker.start()
    try:
        conveyor = Conveyor(
            warehouse,
            await warehouse.ready(),
            broker,
            base=rig.base,
            instance=rig.instance,
            devices=stage.declaration.enabled,
        )
        async with conveyor:
            stage.recorder.add("", "services", said=await conveyor.services())
            async with rig:
                if await rig.online():
                    await _play(rig, conveyor, broker)
            await _close_books(rig, conveyor)
    finally:
        await broker.stop()


async def _play(rig: Rig, conveyor: Conveyor, broker: Broker) -> None:
    await rig.states()
    await _command(rig)
    await _some(rig)
    await _carried(rig, conveyor, "nothing")
    for part in STAGES:
        await conveyor.stop(part)
        rig.note("away", part=part)
        await _some(rig)
        rig.note("back", part=part)
        await conveyor.start(part)
        await _carried(rig, conveyor, part)
    await _without_broker(rig, conveyor, broker)


async def _close_books(rig: Rig, conveyor: Conveyor) -> None:
    """Write down what the pipeline itself says, now that nothing is under way any more."""
    await conveyor.passed()
    letters, ledger = await asyncio.gather(conveyor.letters(), conveyor.ledger())
    rig.note("letters", letters=letters)
    rig.note("ledger", devices={device: ledger.get(device) for device in rig.stage.declaration.enabled})


async def _some(rig: Rig) -> None:
    """Wait for a further state of each device, and for the broker to have it."""
    since = rig.mark
    await asyncio.gather(*(_another(rig, device, since) for device in rig.stage.declaration.enabled))


async def _another(rig: Rig, device: str, since: int) -> None:
    await urge(rig, [device])
    topic = rig.topic(f"devices/{device}/state")
    limit = rig.setting.interval + PATIENCE
    state = await rig.until(publishing(topic), f"a state of {device}", since=since, seconds=limit)
    if state is not None and state.data["qos"]:
        await rig.until(acknowledging(state), "its acknowledgement", since=state.i)


async def _carried(rig: Rig, conveyor: Conveyor, part: str) -> None:
    """Write down what is in the table of all that was published up to now."""
    rig.note("marked", part=part)
    rig.note("carried", part=part, rows=[list(row) for row in await conveyor.carried()])


async def _command(rig: Rig) -> None:
    """Let a property change, where it can be."""
    device = rig.stage.declaration.commanded
    switch = rig.stage.declaration.switch_of(device) if device else None
    if device is None or switch is None:
        return
    name, one, other = switch
    for value in (other, one):
        since = rig.mark
        await rig.command(device.id, {name: value}, probe="carry")
        await rig.until(
            showing(rig.topic(f"devices/{device.id}/state"), name, value), "the state of carry", since=since
        )


async def _without_broker(rig: Rig, conveyor: Conveyor, broker: Broker) -> None:
    """Restart the broker; as it forgets, only what is published once the bridge is back can be held against anybody."""
    rig.note("away", part="broker")
    since = rig.mark
    await broker.stop()
    await rig.until(
        lambda r: r.kind == "upstream.unreachable", "a call while the broker is away", since=since, seconds=RECOVERY
    )
    await broker.start()
    since = rig.mark
    await asyncio.gather(rig.observer.again(), conveyor.again())
    await conveyor.passed()
    rig.note("back", part="broker")
    await rig.online(since=since, seconds=RECOVERY)
    await _some(rig)
    await _carried(rig, conveyor, "broker")
