"""The broker refuses the credentials for a while."""

from iot2mqtt_conformance.names import LOCKED_OUT, RECOVERY
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.transcript import Record

NOT_AUTHORIZED = 5
"""The return code of CONNACK in MQTT 3.1.1."""


async def play(stage: Stage) -> None:
    """Say no from the first CONNECT on, then accept the same credentials."""
    rig = Rig(stage, "locked_out")
    rig.proxy.refuse_connack(NOT_AUTHORIZED)
    async with rig:
        first = await rig.until(is_connect_or_end, "a CONNECT", seconds=stage.declaration.start_deadline)
        if first is not None and first.kind == "packet":
            await stage.recorder.wait(rig.run, lambda r: r.kind == "proc.exit", since=first.i, seconds=LOCKED_OUT)
        since = rig.note("let_in").i
        rig.proxy.refuse_connack(None)
        await rig.online(since=since, seconds=RECOVERY)
        rig.note("locked_out_end")


def is_connect_or_end(record: Record) -> bool:
    """Whether a record is a CONNECT or the end of the process."""
    return record.kind == "proc.exit" or (record.kind == "packet" and record.data["type"] == "CONNECT")
