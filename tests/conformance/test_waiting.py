"""Waiting ends with the connector, and nothing that it has sent last is missed."""

import asyncio
import time
from collections.abc import Callable

from iot2mqtt_conformance.declaration import load
from iot2mqtt_conformance.judging import play as play_scenarios
from iot2mqtt_conformance.services.choose import choose
from iot2mqtt_conformance.transcript import Record, Recorder
from iot2mqtt_conformance.waiting import WhileItRuns
from tests.conformance.suite_runs import REFERENCES

LONG = 60.0
"""Seconds that nobody is willing to wait for somebody who has gone."""


def is_wanted(record: Record) -> bool:
    return record.kind == "wanted"


class Bench:
    """A launch in which a test makes things happen."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.gone: Record | None = None
        self.wait = WhileItRuns(self.recorder, "run", lambda: self.gone, extra=0.2)

    def end(self) -> None:
        self.gone = self.recorder.add("run", "proc.exit", code=1)

    async def until(self) -> Record | None:
        return await self.wait.until(is_wanted, since=0, seconds=LONG)


def play(*steps: str, before: str = "") -> tuple[Record | None, float]:
    """Let things happen while somebody waits; returns what came of it and the seconds that it took."""

    async def run() -> tuple[Record | None, float]:
        bench = Bench()
        happen: dict[str, Callable[[], object]] = {
            "exit": bench.end,
            "wanted": lambda: bench.recorder.add("run", "wanted"),
        }
        if before:
            happen[before]()
        waiting = asyncio.create_task(bench.until())
        for step in steps:
            await asyncio.sleep(0)
            happen[step]()
        found = await waiting
        return found, bench.recorder.now()

    return asyncio.run(run())


def test_what_comes_is_found() -> None:
    found, took = play("wanted")
    assert found is not None
    assert took < LONG / 2


def test_nothing_is_waited_for_once_the_connector_ends() -> None:
    found, took = play("exit")
    assert found is None
    assert took < LONG / 2


def test_nothing_is_waited_for_where_the_connector_has_ended_before() -> None:
    found, took = play(before="exit")
    assert found is None
    assert took < LONG / 2


def test_what_was_under_way_at_the_end_is_still_found() -> None:
    found, _ = play("exit", "wanted")
    assert found is not None


def test_what_has_come_before_is_found_after_the_end() -> None:
    found, _ = play("exit", before="wanted")
    assert found is not None


def test_time_in_which_the_suite_itself_stood_still_does_not_count() -> None:
    async def scenario() -> Record | None:
        recorder = Recorder()
        waiting = asyncio.create_task(recorder.wait("run", is_wanted, since=0, seconds=1.0))
        await asyncio.sleep(0)
        time.sleep(1.2)  # noqa: ASYNC251 - as on a machine that gives the suite no processor for so long
        asyncio.get_running_loop().call_later(0.05, recorder.add, "run", "wanted")
        return await waiting

    assert asyncio.run(scenario()) is not None


def test_a_time_in_which_the_suite_stood_still_is_written_down() -> None:
    new_broker, _ = choose("auto")
    # What is told of the progress is told in the suite's own loop.
    played = play_scenarios(
        load(REFERENCES / "simple"), ["I2M-GET-01"], new_broker=new_broker, seed=7, progress=lambda _line: time.sleep(1)
    )
    assert played.view.longest_stall > 0.5
