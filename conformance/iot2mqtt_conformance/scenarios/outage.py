"""The connection ends while a command is in flight, and the broker stays away for a while."""

import asyncio

from iot2mqtt_conformance.names import RECOVERY
from iot2mqtt_conformance.noticing import is_publish
from iot2mqtt_conformance.rig import PATIENCE, Rig
from iot2mqtt_conformance.scenarios.commands import showing
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.transcript import Record

AWAY = 3.0
"""Seconds for which the broker is away."""


async def play(stage: Stage) -> None:
    """Cut the connection right after a command, refuse calls for a while, and wait for what was not said."""
    async with Rig(stage, "outage") as rig:
        if not await rig.online():
            return
        await rig.states()
        await _in_flight(rig)
        since = rig.mark
        await rig.stage.recorder.wait(rig.run, _ended, since=since, seconds=AWAY)
        rig.note("broker_back")
        rig.proxy.accept(True)
        begin = rig.mark
        if await rig.online(since=begin, seconds=RECOVERY):
            await asyncio.gather(rig.states(since=begin), _answered(rig, begin))
        rig.note("outage_end")


def _ended(record: Record) -> bool:
    return record.kind == "proc.exit"


async def _in_flight(rig: Rig) -> None:
    """End the connection: right after a command has arrived, where commands are declared."""
    device = rig.stage.declaration.commanded
    switch = rig.stage.declaration.switch_of(device) if device else None
    if device is None or switch is None:
        rig.note("cut")
        rig.proxy.accept(False)
        rig.proxy.cut()
        return
    name, one, other = switch
    topic = rig.topic(f"devices/{device.id}/cmd")
    await rig.command(device.id, {name: one}, probe="before_the_cut")
    answer = rig.topic(f"devices/{device.id}/cmd/response")
    delivered = asyncio.Event()
    numbers: set[tuple[int, int]] = set()

    def on_packet(record: Record) -> None:
        """Cut the connection at the first sign that the connector has the command, before that sign is passed on."""
        data = record.data
        kind = data["type"] if record.kind == "packet" else ""
        if kind == "PUBLISH" and data["topic"] == topic:
            numbers.add((data["conn"], data.get("id", 0)))
        elif (kind == "PUBACK" and data["dir"] == "c2b" and (data["conn"], data["id"]) in numbers) or (
            kind == "PUBLISH" and data["topic"] == answer
        ):
            rig.tap = lambda _record: None
            rig.note("cut", device=device.id, property=name, wanted=other)
            rig.proxy.accept(False)
            rig.proxy.cut()
            delivered.set()

    rig.tap = on_packet
    sending = asyncio.create_task(rig.command(device.id, {name: other}, probe="in_flight"))
    waiting = asyncio.create_task(delivered.wait())
    await asyncio.wait({sending, waiting}, return_when=asyncio.FIRST_COMPLETED)
    for task in (sending, waiting):
        task.cancel()
    await asyncio.gather(sending, waiting, return_exceptions=True)


async def _answered(rig: Rig, since: int) -> None:
    """Wait for the response to the command, and for a state that shows it."""
    cut = rig.stage.recorder.transcript.of(rig.run)
    step = next((r for r in cut if r.kind == "step" and r.data["name"] == "cut" and "device" in r.data), None)
    sent = next((r for r in cut if r.kind == "step" and r.data.get("probe") == "in_flight"), None)
    if step is None or sent is None:
        return
    device, command_id = step.data["device"], sent.data["id"]
    answer, state = rig.topic(f"devices/{device}/cmd/response"), rig.topic(f"devices/{device}/state")
    begin = step.i
    await asyncio.gather(
        rig.until(
            lambda r: is_publish(r, answer) and f'"{command_id}"' in r.data.get("payload", ""),
            "the response to in_flight",
            since=begin,
            seconds=PATIENCE,
        ),
        rig.until(showing(state, step.data["property"], step.data["wanted"]), "the state of in_flight", since=since),
    )
