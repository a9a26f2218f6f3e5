"""Whatever bytes arrive, the connector goes on answering."""

from itertools import cycle

from iot2mqtt_conformance.noticing import is_publish
from iot2mqtt_conformance.payloads import NASTY, Chance
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.scenarios.reconnect import ask
from iot2mqtt_conformance.shrinking import Message, smallest
from iot2mqtt_conformance.stage import Stage

RUN = "fuzz"
BATCH = 12
WITHIN = 15.0
"""Seconds in which the question after a batch is answered, before the measured round trip is added: who takes one
message after the other may need a second for each on a busy machine."""
SHOWN = 200
"""Bytes of a payload that are written down."""


def _messages(rig: Rig) -> list[Message]:
    """Every nasty payload on a topic of each kind, and each generated one on the next topic in turn."""
    kinds = [f"devices/{rig.stage.declaration.enabled[0]}/cmd", f"devices/{rig.stage.declaration.enabled[0]}/get"]
    kinds += [f"groups/{(rig.stage.declaration.groups or ['nosuchgroup'])[0]}/cmd", "meta/request/nosuchthing"]
    others = [f"devices/{device}/{verb}" for device in rig.stage.declaration.enabled for verb in ("cmd", "get")]
    turns = cycle([*kinds, *others, "meta/request/devices_list"])
    messages = [(topic, payload) for topic in kinds for payload in NASTY]
    messages += [(next(turns), payload) for payload in rig.stage.payloads]
    return Chance(rig.stage.seed).shuffled(messages)


async def play(stage: Stage) -> None:
    """Send nasty and generated payloads to every subscribed topic; then look for the smallest that did harm, if any."""
    suspects = await _send(stage)
    if not suspects or stage.attached is not None:
        return
    found = await smallest(stage, suspects)
    if found is not None:
        stage.recorder.add(
            RUN,
            "step",
            name="fuzz_shrunk",
            suffix=found.suffix,
            shown=found.payload[:SHOWN].decode("latin-1"),
            size=len(found.payload),
            of=found.size,
            how=found.how,
            launches=found.launches,
            done=found.done,
        )


async def _send(stage: Stage) -> list[Message]:
    """Send all, with a question after every batch; return the batch after which something was wrong."""
    async with Rig(stage, RUN) as rig:
        if await rig.online() is None:
            return []
        messages = _messages(rig)
        since = rig.mark
        for start in range(0, len(messages), BATCH):
            batch = messages[start : start + BATCH]
            for topic, payload in batch:
                await rig.send(topic, payload, probe="fuzz", shown=payload[:SHOWN].decode("latin-1"))
            if not await _answers(rig) or _lost(rig, since):
                rig.note("fuzz_stopped")
                return batch
        await ask(rig)
        rig.note("fuzz_end")
    return []


async def _answers(rig: Rig) -> bool:
    """Whether a question is answered; the end of the process is the end of waiting."""
    since = rig.mark
    await rig.send("meta/request/info", b"{}", probe="fuzz_batch")
    answer = await rig.until(
        lambda r: is_publish(r, rig.topic("meta/info")) or r.kind == "proc.exit",
        "meta/info",
        since=since,
        seconds=WITHIN,
    )
    return answer is not None and answer.kind == "packet"


def _lost(rig: Rig, since: int) -> bool:
    """Whether a connection was given up since then."""
    records = rig.stage.recorder.transcript.records[since:]
    return any(r.run == rig.run and r.kind == "conn.close" and not r.data["clean"] for r in records)
