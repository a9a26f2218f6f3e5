"""What networks and brokers do to a connection, each fault to a launch of its own."""

from collections.abc import Awaitable, Callable

import aiomqtt

from iot2mqtt_conformance.names import RECOVERY
from iot2mqtt_conformance.rig import PATIENCE, Rig
from iot2mqtt_conformance.scenarios.environment import ask
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.together import together
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.view import given_up, listening_connections

INTERVAL = 0.5
"""update_interval in seconds."""
FULL = 2.0
"""Seconds for which the broker acknowledges nothing."""
SLOW_CONNACK = 2.0
"""Seconds that the answer to CONNECT takes."""


async def play(stage: Stage) -> None:
    """Play each fault, and see what is left of the connector."""
    faults = {
        "reset": _reset,
        "slow_connack": _slow_connack,
        "lost_puback": _lost_puback,
        "full": _full,
        "taken_over": _taken_over,
    }
    await together(*(_fault(stage, name, disturb) for name, disturb in faults.items()))


async def _fault(stage: Stage, name: str, disturb: Callable[[Rig], Awaitable[None]]) -> None:
    async with Rig(stage, f"faults.{name}", setting=Setting(interval=INTERVAL)) as rig:
        if not await rig.online():
            return
        await rig.states()
        await _orders(rig, lost=name == "lost_puback")
        since = rig.note("fault").i
        await disturb(rig)
        if await rig.online(since=since, seconds=RECOVERY):
            await ask(rig, "after_the_fault")
            # Who is driven by events says a state once after the reconnection, maybe before that answer.
            await rig.states(since=rig.mark if stage.declaration.reporting == "polling" else since)
            if stage.declaration.reporting == "polling":
                # The first state may come of the reconnection; a second one shows that polling goes on.
                await rig.states(since=rig.mark)
        rig.note("faults_end")


async def _orders(rig: Rig, *, lost: bool) -> None:
    """Command one value and then the other; whoever executes either again later shows the former once more.

    Args:
        rig: The launch.
        lost: Whether the broker hears nothing of the connector's acknowledgements.
    """
    device = rig.stage.declaration.commanded
    switch = rig.stage.declaration.switch_of(device) if device else None
    if device is None or switch is None:
        return
    name, one, other = switch
    await rig.command(device.id, {name: one}, probe="preset")
    if lost:
        rig.proxy.drop_pubacks(True, ways=("c2b",))
    # The answers are not judged: a client library may stop at so many messages without an acknowledgement.
    await rig.command(device.id, {name: other}, probe="once")
    await rig.command(device.id, {name: one}, probe="once")
    rig.note("executed", device=device.id, property=name, former=other, latest=one)


async def _reset(rig: Rig) -> None:
    rig.proxy.cut()


async def _slow_connack(rig: Rig) -> None:
    """Delay what comes after the next CONNECT until its CONNACK has come through."""

    def on_packet(record: Record) -> None:
        kind = record.data.get("type") if record.kind == "packet" else None
        if kind == "CONNECT":
            rig.proxy.delay(SLOW_CONNACK)
        elif kind == "CONNACK":
            rig.proxy.delay(0.0)
            rig.tap = lambda _record: None

    rig.tap = on_packet
    rig.proxy.cut()


async def _lost_puback(rig: Rig) -> None:
    rig.proxy.cut()
    rig.proxy.drop_pubacks(False)


async def _full(rig: Rig) -> None:
    """Let the broker acknowledge nothing, as one does whose disk is full, until its connections end."""
    rig.proxy.drop_pubacks(True, ways=("b2c",))
    since = rig.mark
    await rig.stage.recorder.wait(rig.run, lambda r: r.kind == "proc.exit", since=since, seconds=FULL)
    rig.proxy.cut()
    rig.proxy.drop_pubacks(False)


async def _taken_over(rig: Rig) -> None:
    """Connect under the connector's own client id, and leave again."""
    records = rig.stage.recorder.transcript.of(rig.run)
    listening = listening_connections(records)
    connects = [r for r in records if r.data.get("type") == "CONNECT" and r.data["conn"] in listening]
    since, taken = rig.mark, False
    try:
        async with aiomqtt.Client(rig.broker.host, rig.broker.port, identifier=connects[-1].data["client_id"]):
            taken = True
            await rig.until(
                lambda r: given_up(r, listening), "the end of the connection taken over", since=since, seconds=PATIENCE
            )
    except aiomqtt.MqttError:
        # A connector that is quick has taken its session back, which ends this connection.
        if not taken:
            raise
