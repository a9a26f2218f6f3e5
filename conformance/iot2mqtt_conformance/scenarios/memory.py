"""Thousands of commands, as fast as they are answered."""

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import psutil

from iot2mqtt_conformance.names import FEWEST_ANSWERS
from iot2mqtt_conformance.rig import PATIENCE, Rig
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage

COMMANDS = 2_000
WARM_UP = 200
"""Commands after which a program has what it needs to work on."""
BURST = 25
LOOK_EVERY = 200
INTERVAL = 0.1
"""update_interval in seconds: some dozens of polls come in the same time. Where the way to the broker takes longer, so
long: with more on its way than a client may leave unacknowledged, answers would wait behind ever more states."""
BUDGET = 6.0
"""Seconds that all commands together may take; a connector that is slower gets fewer of them."""
LONGEST = 30.0
"""Seconds that they may take where there were not yet enough answers to tell anything by."""
CHANCES = 2
"""How often they may take so long: a machine that stands still for half a minute stands still once."""
LEFT = {"PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP"}
"""Packets that are not written down while thousands of them pass."""


class _Answers:
    """Counts the answers to what is asked, instead of writing them down."""

    def __init__(self, rig: Rig) -> None:
        device = rig.stage.declaration.commanded
        self.count = 0
        self._rig = rig
        self._device = device
        self._topic = rig.topic(f"devices/{device.id}/cmd/response" if device else "meta/info")
        self._heard = asyncio.Event()
        rig.mute = self._take

    def _take(self, facts: dict[str, Any]) -> bool:
        if facts["type"] == "PUBLISH" and facts["dir"] == "c2b" and facts["topic"] == self._topic:
            self.count += 1
            self._heard.set()
        return facts["type"] in LEFT

    async def first(self, seconds: float) -> bool:
        """Ask once, and wait until the connector answers at all."""
        await self._ask(0)
        return await self._come(1, seconds, silence=seconds)

    async def burst(self, seconds: float, *, silence: float) -> bool:
        """Ask so many times at once; whether all is answered in time, and without a silence of so many seconds."""
        wanted = self.count + BURST
        await asyncio.gather(*(self._ask(self.count + number) for number in range(BURST)))
        return await self._come(wanted, seconds, silence=silence)

    async def _come(self, wanted: int, seconds: float, *, silence: float) -> bool:
        """Wait for so many answers in all; who is silent for long will not answer any more."""
        recorder = self._rig.stage.recorder
        end = recorder.now() + seconds
        while self.count < wanted and recorder.now() < end:
            self._heard.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._heard.wait(), min(silence, end - recorder.now()))
            if not self._heard.is_set():
                return False
        return self.count >= wanted

    async def _ask(self, number: int) -> None:
        device = self._device
        switch = self._rig.stage.declaration.switch_of(device) if device else None
        if device is None or switch is None:
            await self._rig.observer.publish(self._rig.topic("meta/request/info"), b"{}")
            return
        stamp = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        values = {switch[0]: switch[1 + number % 2]}
        body = {"id": f"memory-{number}", "timestamp": stamp, "values": values, "timeout": 5000}
        await self._rig.observer.publish(self._rig.topic(f"devices/{device.id}/cmd"), json.dumps(body).encode())


async def play(stage: Stage) -> None:
    """Look at the memory after a warm-up, and again and again while it works."""
    async with Rig(stage, "memory", setting=Setting(interval=max(INTERVAL, stage.round_trip))) as rig:
        if not await rig.online():
            return
        await rig.states()
        answers = _Answers(rig)
        # Only then does the time count: a machine that is busy may take long to get a connector going.
        if await answers.first(stage.deadline(stage.declaration.start_deadline)):
            await _work(rig, answers)
        # What is still under way about devices stays unwritten: the half of it would look like a contradiction.
        rig.mute = lambda facts: facts["type"] == "PUBLISH" and facts["topic"].startswith(rig.topic("devices/"))
        await rig.meta("info", probe="memory_end")
        rig.note("memory_end", answered=answers.count)


async def _work(rig: Rig, answers: _Answers) -> None:
    """Command and look, until there is enough to tell by: all commands, or those that the time allows."""
    recorder, budget, patience = rig.stage.recorder, rig.stage.deadline(BUDGET), rig.stage.deadline(PATIENCE)
    begin, first, looked, chances = recorder.now(), 0, 0, CHANCES
    while answers.count < WARM_UP + COMMANDS:
        told = first and answers.count - first >= FEWEST_ANSWERS
        left = begin + (budget if told else LONGEST) - recorder.now()
        # On a busy machine a connector may be silent for long. Without enough answers there would be no verdict.
        if left <= 0 or not await answers.burst(left, silence=patience if told else left):
            chances -= 1
            if told or not chances:
                break
            begin = recorder.now()
            continue
        warm = answers.count >= WARM_UP or recorder.now() > begin + budget / 3
        if warm and (not looked or answers.count >= looked + LOOK_EVERY):
            looked = answers.count
            first = first or looked
            _look(rig, answers.count)
    if looked:
        _look(rig, answers.count)


def _look(rig: Rig, answered: int) -> None:
    """Write down how much memory the connector and all its children have."""
    with suppress(psutil.Error):
        parent = psutil.Process(rig.pid)
        family = [parent, *parent.children(recursive=True)]
        rig.note("memory", answered=answered, processes=len(family), resident=sum(map(_resident, family)))


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
