"""Measures the SDK beside the same connector written directly on paho-mqtt and on aiomqtt, in one run.

    python -m benchmarks.sdk

It takes about four minutes and prints a Markdown table and the machine. Nothing here asserts anything.
"""

import json
import platform
import sys
import time
from itertools import pairwise
from statistics import median, quantiles
from typing import Any

import psutil

from benchmarks.rig import Observer, Running, mosquitto, running

PROGRAMS = ("on_base_connector", "on_paho", "on_aiomqtt")
STARTS = 5
SETTLED = 5
"""Updates of each device after which the memory is looked at."""
HANG = 4.0
WATCHED = 12.0
MANY = 10_000
MANY_INTERVAL = 10.0
ROUNDS = 3
COMMANDS = 1000
PAUSE = 0.01
"""Seconds between two commands: 100 a second."""


def ten(**first: Any) -> list[dict[str, Any]]:
    """Return ten devices, the first with something special."""
    return [{"device_id": f"d{n}", **(first if n == 0 else {})} for n in range(10)]


def note(text: str) -> None:
    """Say how far it is."""
    sys.stderr.write(f"{text}\n")


def start_and_memory(program: str, observer: Observer) -> dict[str, str]:
    """Measure the start, and the memory once all ten devices have been published five times."""
    starts, memory = [], 0.0
    for number in range(STARTS):
        with running(program, observer, ten(), 1.0) as it:
            starts.append(it.start)
            if number == STARTS - 1:
                last = f"{it.root}/devices/d9/state"
                observer.until(lambda last=last: len(observer.times.get(last, ())) >= SETTLED)  # type: ignore[misc]
                memory = it.megabytes()
    return {"start to `online`, ms": f"{median(starts):.0f}", "resident memory, MB": f"{memory:.1f}"}


def isolation(program: str, observer: Observer) -> dict[str, str]:
    """Measure the longest gap of nine healthy devices at 1 s while the tenth takes 4 s for each answer."""
    with running(program, observer, ten(hangs=HANG), 1.0) as it:
        time.sleep(WATCHED)
        gaps = [
            later - earlier
            for n in range(1, 10)
            for times in [observer.times.get(f"{it.root}/devices/d{n}/state", [])]
            for earlier, later in pairwise(times)
        ]
        updates = min(len(observer.times.get(f"{it.root}/devices/d{n}/state", [])) for n in range(1, 10))
    longest = f"{max(gaps):.2f}" if gaps else "never again"
    return {
        "one device hangs 4 s: longest gap of the others at 1 s, s": longest,
        f"… their fewest updates in {WATCHED:.0f} s": str(updates),
    }


def ten_thousand(program: str, observer: Observer) -> dict[str, str]:
    """Measure the share of 10,000 devices that come every 10 s, and the CPU it takes."""
    devices = [{"device_id": f"d{n}"} for n in range(MANY)]
    with running(program, observer, devices, MANY_INTERVAL) as it:
        time.sleep(MANY_INTERVAL * 1.2)
        observer.clear()
        cpu, began = it.cpu(), time.perf_counter()
        time.sleep(MANY_INTERVAL * ROUNDS)
        share = (it.cpu() - cpu) / (time.perf_counter() - began)
        states = [len(observer.times.get(f"{it.root}/devices/d{n}/state", ())) for n in range(MANY)]
        memory = it.megabytes()
    regular = sum(count >= ROUNDS for count in states) / MANY
    return {
        f"10,000 devices every 10 s: share with all {ROUNDS} updates, %": f"{regular:.1%}".rstrip("%"),
        "… of one core, %": f"{share * 100:.0f}",
        "… memory, MB": f"{memory:.0f}",
    }


def round_trips(program: str, observer: Observer) -> dict[str, str]:
    """Measure 1000 commands, 100 a second to ten devices, beside the bare round trip through the broker."""
    answered: list[float] = []
    bare: list[float] = []
    # In turn, so that what else the machine does meets both.
    with running(program, observer, ten(), 1.0) as it:
        for number in range(COMMANDS):
            due = time.perf_counter() + PAUSE
            answered.append(_trip(it, observer, number))
            bare.append(_echo(observer, number))
            time.sleep(max(0.0, due - time.perf_counter()))
    p99, p99_bare = quantiles(answered, n=100)[98], quantiles(bare, n=100)[98]
    return {
        "command to response at 100/s, p50, ms": f"{median(answered):.2f}",
        "… p99, ms": f"{p99:.2f}",
        "… p99 by the bare round trip's": f"{p99 / p99_bare:.1f}",
    }


def _trip(it: Running, observer: Observer, number: int) -> float:
    began = time.perf_counter()
    device = f"{it.root}/devices/d{number % 10}"
    before = len(observer.times.get(f"{device}/cmd/response", ()))
    body = {"id": f"{number}", "values": {"power": bool(number // 10 % 2)}}
    observer.client.publish(f"{device}/cmd", json.dumps(body), qos=1)
    observer.until(lambda: len(observer.times.get(f"{device}/cmd/response", ())) > before)
    return (observer.times[f"{device}/cmd/response"][-1] - began) * 1000


def _echo(observer: Observer, number: int) -> float:
    """Measure a message from us through the broker to us and, as a command does, one more back and forth."""
    began = time.perf_counter()
    for leg in ("there", "back"):
        topic = f"echo/{leg}"
        before = len(observer.times.get(topic, ()))
        observer.client.publish(topic, str(number), qos=1)
        observer.until(lambda topic=topic, before=before: len(observer.times.get(topic, ())) > before)  # type: ignore[misc]
    return (observer.times["echo/back"][-1] - began) * 1000


def main() -> None:
    """Measure all, and print the table."""
    columns: dict[str, dict[str, str]] = {program: {} for program in PROGRAMS}
    with mosquitto() as port:
        observer = Observer(port)
        for measure in (start_and_memory, isolation, round_trips, ten_thousand):
            for program in PROGRAMS:
                note(f"{measure.__name__}: {program}")
                columns[program] |= measure(program, observer)
        observer.close()
    sys.stdout.write(f"| | {' | '.join(PROGRAMS)} |\n|---|{'--:|' * len(PROGRAMS)}\n")
    for row in columns[PROGRAMS[0]]:
        sys.stdout.write(f"| {row} | {' | '.join(columns[program][row] for program in PROGRAMS)} |\n")
    load = psutil.getloadavg()[0]
    sys.stdout.write(f"\n{psutil.cpu_count()} processors, load {load:.1f}, Python {platform.python_version()}\n")


if __name__ == "__main__":
    main()
