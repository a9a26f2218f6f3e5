"""Processes of a connector of several are killed, one after the other."""

import asyncio
from contextlib import suppress

import psutil

from iot2mqtt_conformance.aftermath import HEARD, REPORTED_WITHIN, RETURNS_WITHIN, Aftermath, says_offline
from iot2mqtt_conformance.launch import eventually
from iot2mqtt_conformance.names import LONGEST_RETRY
from iot2mqtt_conformance.report.redact import masked_words
from iot2mqtt_conformance.rig import PATIENCE, Rig
from iot2mqtt_conformance.scenarios.recovering import announced
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.transcript import Record

MOST_DEATHS = 3
"""Processes that are killed for one text."""
SHOWN = 200
"""Characters of a command line that are shown."""
QUESTIONS = 3
"""How often a device is asked: who has just begun to run may not listen yet."""


async def play(stage: Stage) -> None:
    """Kill what each declared text picks, and wait for the report, the return and an answer of every device."""
    texts = stage.declaration.stimuli.get("child_dies")
    if not texts:
        return
    async with Rig(stage, "dying") as rig:
        for suffix in HEARD:
            await rig.observer.follow(rig.topic(suffix))
        if not await rig.online():
            return
        await rig.states()
        for text in map(rig.placed, texts):
            if not await _one_after_the_other(rig, text):
                break
        rig.note("dying_end")


async def _one_after_the_other(rig: Rig, text: str) -> bool:
    """Kill what a text picks; whether the connector has survived that."""
    await eventually(lambda: bool(picked(rig.pid, text)), seconds=rig.stage.deadline(PATIENCE))
    victims = picked(rig.pid, text)
    rig.note("picked", text=text, count=len(victims), there=[] if victims else _command_lines(rig.pid))
    for victim in victims[:MOST_DEATHS]:
        # What has died along with another one has had its turn.
        if victim.is_running() and not await _kill(rig, victim, text):
            return False
    return bool(victims)


def picked(pid: int, text: str) -> list[psutil.Process]:
    """Return the processes below one whose command line holds a text, the oldest first."""
    return sorted((p for p in _below(pid) if text in " ".join(_words(p))), key=lambda process: process.create_time())


def _below(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _words(process: psutil.Process) -> list[str]:
    """Return the words of a process's command line; none of one that has ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _command_lines(pid: int) -> list[str]:
    return [masked_words(words)[:SHOWN] for words in map(_words, _below(pid)) if words]


async def _kill(rig: Rig, victim: psutil.Process, text: str) -> bool:
    death = rig.note("death", text=text, pid=victim.pid)
    with suppress(psutil.NoSuchProcess):
        try:
            victim.kill()
        except psutil.AccessDenied:
            rig.note("not_allowed", text=text, pid=victim.pid)
            return False
    heard = Aftermath(rig.root, rig.stage.declaration.enabled)
    report = await rig.until(lambda r: _reported(heard, r), "a report", since=death.i, seconds=REPORTED_WITHIN)
    if report is None or report.kind == "proc.exit":
        return False
    settled = await rig.until(lambda r: _settled(heard, r), "the return", since=report.i + 1, seconds=_patience(report))
    if settled is None or settled.kind == "proc.exit":
        return False
    answers = await asyncio.gather(*(_answers(rig, device) for device in rig.stage.declaration.enabled))
    rig.note("asked", text=text)
    return all(answers)


def _reported(heard: Aftermath, record: Record) -> bool:
    heard.hear(record)
    return heard.report is not None or record.kind == "proc.exit"


def _settled(heard: Aftermath, record: Record) -> bool:
    heard.hear(record)
    return heard.settled or record.kind == "proc.exit"


def _patience(report: Record) -> float:
    """Return the seconds that a return may take: longer where the report announces a later attempt."""
    return max(RETURNS_WITHIN, min(announced(report), LONGEST_RETRY) + PATIENCE)


async def _answers(rig: Rig, device: str) -> bool:
    """Ask for a device's state until one comes."""
    topic = rig.topic(f"devices/{device}/state")
    for _ in range(QUESTIONS):
        since = rig.mark
        await rig.send(f"devices/{device}/get", b"", probe="after_death", device=device)
        record = await rig.until(
            lambda r: r.kind == "proc.exit" or (r.kind == "seen" and r.data["topic"] == topic and not says_offline(r)),
            f"an answer of {device}",
            since=since,
        )
        if record is not None:
            return record.kind == "seen"
    return False
