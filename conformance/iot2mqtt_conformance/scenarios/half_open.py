"""The other end of the connection is gone, and nobody says so."""

from iot2mqtt_conformance.names import HALF_OPEN_KEEPALIVE, NOTICE_SLACK, RECOVERY
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.view import given_up, listening_connections


async def play(stage: Stage) -> None:
    """Swallow everything until the connector gives the connection up, then let it come back."""
    async with Rig(stage, "half_open", setting=Setting(keepalive=HALF_OPEN_KEEPALIVE)) as rig:
        if not await rig.online():
            return
        await rig.states()
        since = rig.mark
        listening = listening_connections(stage.recorder.transcript.of(rig.run))
        limit = stage.deadline(2 * HALF_OPEN_KEEPALIVE + NOTICE_SLACK)
        rig.note("silence", limit=limit)
        rig.proxy.swallow(True)
        await rig.until(
            lambda r: r.kind == "proc.exit" or given_up(r, listening),
            "the connector to give the connection up",
            since=since,
            seconds=2 * HALF_OPEN_KEEPALIVE + NOTICE_SLACK,
        )
        rig.proxy.swallow(False)
        await rig.online(since=since, seconds=RECOVERY)
        rig.note("half_open_end")
