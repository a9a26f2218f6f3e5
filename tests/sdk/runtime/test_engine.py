"""Lanes, timers and hooks of both kinds."""

import asyncio
import itertools
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.waiting import DEADLINE, wait_until

from iot2mqtt_sdk.clock import Clock
from iot2mqtt_sdk.runtime.engine import CANCELLED, URGENT_IN_A_ROW, Engine, Lane
from iot2mqtt_sdk.runtime.hooks import call, call_aside


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine(Clock())
    made.start()
    yield made
    made.close()


def submit(engine: Engine, lane: Lane, hook: Any, *arguments: Any, urgent: bool = False) -> threading.Event:
    """Have a hook called on a lane; the event is set when the job is over, however it ends."""
    over = threading.Event()

    async def job() -> None:
        try:
            await call(hook, *arguments)
        finally:
            over.set()

    engine.submit(lane, job, urgent=urgent)
    return over


def test_jobs_of_one_lane_never_overlap_and_keep_their_order(engine: Engine) -> None:
    lane, done, inside = Lane(), [], [0]

    def sync(number: int) -> None:
        inside[0] += 1
        assert inside[0] == 1
        done.append(number)
        inside[0] -= 1

    async def later(number: int) -> None:
        inside[0] += 1
        await asyncio.sleep(0)
        assert inside[0] == 1
        done.append(number)
        inside[0] -= 1

    over = [submit(engine, lane, (sync, later)[number % 2], number) for number in range(200)]
    assert over[-1].wait(DEADLINE)
    assert done == list(range(200))


def test_more_hooks_may_await_than_there_are_threads(engine: Engine) -> None:
    gate: dict[str, asyncio.Event] = {}
    waiting = itertools.count(1)
    reached = [0]

    async def hang() -> None:
        event = gate.setdefault("gate", asyncio.Event())
        reached[0] = next(waiting)
        await event.wait()

    over = [submit(engine, Lane(), hang) for _ in range(1000)]
    wait_until(lambda: reached[0] == 1000)
    engine.loop._started().call_soon_threadsafe(gate["gate"].set)
    assert all(event.wait(DEADLINE) for event in over)


def test_a_hanging_lane_holds_up_no_other(engine: Engine) -> None:
    gate = threading.Event()
    hanging = [submit(engine, Lane(), gate.wait, DEADLINE) for _ in range(100)]
    assert submit(engine, Lane(), time.monotonic).wait(DEADLINE)
    assert not any(event.is_set() for event in hanging)
    gate.set()
    assert all(event.wait(DEADLINE) for event in hanging)


def test_urgent_jobs_go_first_but_not_for_ever(engine: Engine) -> None:
    done: list[Any] = []
    lane, gate = Lane(), threading.Event()
    started = threading.Event()

    def hold() -> None:
        started.set()
        gate.wait(DEADLINE)

    submit(engine, lane, hold)
    assert started.wait(DEADLINE)
    last = submit(engine, lane, done.append, "usual")
    for number in range(2 * URGENT_IN_A_ROW):
        last = submit(engine, lane, done.append, number, urgent=True)
    gate.set()
    assert last.wait(DEADLINE)
    assert done.index("usual") == URGENT_IN_A_ROW


class BadError(BaseException):
    pass


async def leave_later() -> None:
    await asyncio.sleep(0)
    sys.exit(3)


async def leave_in_a_task() -> None:
    await asyncio.gather(leave_later(), asyncio.sleep(0.01))


def fail_badly() -> None:
    raise BadError


@pytest.mark.parametrize("hook", [sys.exit, leave_later, leave_in_a_task, fail_badly])
def test_a_hook_that_calls_for_the_end_ends_its_job_only(engine: Engine, hook: Any) -> None:
    lane = Lane()
    submit(engine, lane, hook)
    over = threading.Event()

    async def fine() -> None:
        await asyncio.sleep(0)
        over.set()

    submit(engine, lane, fine)
    assert over.wait(DEADLINE)
    assert submit(engine, lane, time.monotonic).wait(DEADLINE)
    engine.stop(DEADLINE)
    assert engine._active == 0


def test_timers_are_punctual_and_can_be_cancelled(engine: Engine) -> None:
    done: list[int] = []
    over = threading.Event()
    engine.after(0.6, lambda: done.append(3))
    engine.after(0.1, lambda: done.append(1))
    engine.after(0.3, lambda: done.append(2)).cancel()
    engine.after(0.2, fail_badly)
    engine.after(0.8, over.set)
    assert over.wait(DEADLINE)
    assert done == [1, 3]


def test_a_timer_beyond_what_a_lock_can_wait_stops_no_other(engine: Engine) -> None:
    engine.after(1e300, lambda: None)
    over = threading.Event()
    engine.after(0.01, over.set)
    assert over.wait(DEADLINE)
    again = threading.Event()
    engine.after(0.01, again.set)
    assert again.wait(DEADLINE)


def test_cancelled_timers_fill_no_memory(engine: Engine) -> None:
    for _ in range(20 * CANCELLED):
        engine.after(3600, lambda: None).cancel()
    assert len(engine._timers) <= 2 * CANCELLED


def test_stop_waits_for_what_runs_but_not_longer_than_the_grace(engine: Engine) -> None:
    gate, started, started_too, cancelled = (threading.Event() for _ in range(4))

    def hang() -> None:
        started.set()
        gate.wait(DEADLINE)

    async def hang_too() -> None:
        started_too.set()
        try:
            await asyncio.sleep(DEADLINE)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    submit(engine, Lane(), hang)
    submit(engine, Lane(), hang_too)
    assert started.wait(DEADLINE)
    assert started_too.wait(DEADLINE)
    began = time.monotonic()
    engine.stop(0.1)
    assert time.monotonic() - began < DEADLINE / 3
    assert cancelled.wait(DEADLINE)
    late = submit(engine, Lane(), time.monotonic)
    gate.set()
    assert not late.is_set()


def test_tasks_that_an_author_left_behind_are_cancelled_when_the_loop_ends() -> None:
    engine = Engine(Clock())
    engine.start()
    ended = threading.Event()
    kept: list[Any] = []

    async def listen() -> None:
        try:
            await asyncio.sleep(DEADLINE)
        finally:
            ended.set()

    async def start_listening() -> None:
        kept.append(asyncio.get_running_loop().create_task(listen()))
        await asyncio.sleep(0)

    assert submit(engine, Lane(), start_listening).wait(DEADLINE)
    engine.close()
    assert ended.wait(DEADLINE)


def test_a_hook_that_is_called_aside_is_waited_for_but_not_for_ever(engine: Engine) -> None:
    gate = threading.Event()
    error = call_aside(engine.loop, gate.wait, threading.Event(), 0.05)
    assert isinstance(error, TimeoutError)
    gate.set()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise OSError("no hub")

    assert str(call_aside(engine.loop, fail, threading.Event(), DEADLINE)) == "no hub"
    assert isinstance(call_aside(engine.loop, sys.exit, threading.Event(), DEADLINE), SystemExit)
    assert call_aside(engine.loop, time.monotonic, threading.Event(), DEADLINE) is None
