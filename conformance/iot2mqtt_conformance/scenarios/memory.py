"""Thousands of commands, as fast as they are answered."""

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import psutil

from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage

COMMANDS = 2_000
WARM_UP = 200
"""Commands after which a program has what it needs to work on."""
BURST = 25
LOOK_EVERY = 200
INTERVAL = 0.1
"""update_interval in seconds: some dozens of polls come in the same time."""
BUDGET = 6.0
"""Seconds that all commands together may take; a connector that is slower gets fewer of them."""
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
        self._wanted = 0
        self._enough = asyncio.Event()
        rig.mute = self._take

    def _take(self, facts: dict[str, Any]) -> bool:
        if facts["type"] == "PUBLISH" and facts["dir"] == "c2b" and facts["topic"] == self._topic:
            self.count += 1
            if self.count >= self._wanted:
                self._enough.set()
        return facts["type"] in LEFT

    async def burst(self, seconds: float) -> bool:
        """Ask so many times at once; whether all is answered in time."""
        self._wanted = self.count + BURST
        self._enough.clear()
        await asyncio.gather(*(self._ask(self.count + number) for number in range(BURST)))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._enough.wait(), seconds)
        return self._enough.is_set()

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
    async with Rig(stage, "memory", setting=Setting(interval=INTERVAL)) as rig:
        if not await rig.online():
            return
        await rig.states()
        answers = _Answers(rig)
        end = stage.recorder.now() + stage.deadline(BUDGET)
        looked = 0
        while answers.count < WARM_UP + COMMANDS and stage.recorder.now() < end:
            if not await answers.burst(end - stage.recorder.now()):
                break
            warm = answers.count >= WARM_UP or stage.recorder.now() > end - stage.deadline(BUDGET) * 2 / 3
            if warm and (not looked or answers.count >= looked + LOOK_EVERY):
                looked = answers.count
                _look(rig, answers.count)
        if looked:
            _look(rig, answers.count)
        # What is still under way about devices stays unwritten: the half of it would look like a contradiction.
        rig.mute = lambda facts: facts["type"] == "PUBLISH" and facts["topic"].startswith(rig.topic("devices/"))
        await rig.meta("info", probe="memory_end")
        rig.note("memory_end", answered=answers.count)


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
