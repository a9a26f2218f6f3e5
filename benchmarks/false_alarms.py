"""Judges the reference connectors again and again, and prints how often the suite has found a fault in one.

    python -m benchmarks.false_alarms                        20 runs of each, two at once: about an hour
    python -m benchmarks.false_alarms --runs 3 simple shell  some of it
    python -m benchmarks.false_alarms --slow-wire            with 500 ms more for a packet and its answer

Each run is a process of its own with clauses in random order and a seed of its own. What a failed run printed is kept
in false-alarms/. The exit code is 1 where any run failed.
"""

import argparse
import asyncio
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from iot2mqtt_conformance.declaration import FILE_NAME

REPOSITORY = Path(__file__).parents[1]
REFERENCES = REPOSITORY / "reference_connectors"
KEPT = REPOSITORY / "false-alarms"
LONGEST = 600.0
"""Seconds after which a run has failed."""


@dataclass
class Runs:
    """What the runs against one connector have come to.

    Attributes:
        seconds: How long each took.
        failed: Files with what failed runs have printed.
    """

    seconds: list[float] = field(default_factory=list)
    failed: list[Path] = field(default_factory=list)


class Queue:
    """Runs that are still to do; no connector is judged twice at the same time, as it is prepared in its folder."""

    def __init__(self, names: list[str], rounds: int) -> None:
        # A round after the other: were it ended early, each connector would have been judged about as often.
        self._jobs = [name for _ in range(rounds) for name in random.sample(names, len(names))]
        self._at_work: set[str] = set()
        self._changed = asyncio.Condition()

    async def take(self) -> str | None:
        """Return whom to judge next, or None where nothing is left."""
        async with self._changed:
            while self._jobs:
                name = next((name for name in self._jobs if name not in self._at_work), None)
                if name is not None:
                    self._jobs.remove(name)
                    self._at_work.add(name)
                    return name
                await self._changed.wait()
        return None

    async def done(self, name: str) -> None:
        """Give a connector back."""
        async with self._changed:
            self._at_work.remove(name)
            self._changed.notify_all()


async def judge(name: str, runs: Runs, *, slow: bool) -> None:
    """Judge a connector once."""
    command = [sys.executable, "-m", "pytest", "--iot2mqtt-conformance", "-q", "-p", "no:cacheprovider"]
    command += [f"--iot2mqtt-connector={REFERENCES / name}"]
    command += ["-p", "benchmarks.programs.slow_wire"] if slow else []
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *command, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), LONGEST)
    except TimeoutError:
        process.kill()
        said = f"killed: it took longer than {LONGEST:g} s\n".encode()
        await process.wait()
    runs.seconds.append(time.monotonic() - began)
    if process.returncode:
        KEPT.mkdir(exist_ok=True)
        file = KEPT / f"{name}-{time.strftime('%Y%m%dT%H%M%S')}{'-slow' if slow else ''}.txt"
        file.write_bytes(said)
        runs.failed.append(file)
    state = f"failed, see {runs.failed[-1]}" if process.returncode else "passed"
    sys.stderr.write(f"{name} {len(runs.seconds)}: {state}, {runs.seconds[-1]:.0f} s\n")


async def all_of(names: list[str], rounds: int, at_once: int, *, slow: bool) -> dict[str, Runs]:
    """Judge all connectors, some of them at the same time."""
    found = {name: Runs() for name in names}
    queue = Queue(names, rounds)

    async def work() -> None:
        while (name := await queue.take()) is not None:
            await judge(name, found[name], slow=slow)
            await queue.done(name)

    await asyncio.gather(*(work() for _ in range(at_once)))
    return found


def main() -> int:
    """Judge, and print the table."""
    every = sorted(file.parent.name for file in REFERENCES.glob(f"*/{FILE_NAME}"))
    parser = argparse.ArgumentParser(description="Count the false alarms of the suite.")
    parser.add_argument("names", nargs="*", choices=[*every, []], metavar="CONNECTOR", help="all, unless named")
    parser.add_argument("--runs", type=int, default=20, help="of each connector")
    parser.add_argument("--at-once", type=int, default=2, help="runs at the same time")
    parser.add_argument("--slow-wire", action="store_true", help="add 250 ms to every packet, each way")
    given = parser.parse_args()
    found = asyncio.run(all_of(given.names or every, given.runs, given.at_once, slow=given.slow_wire))
    sys.stdout.write("| connector | runs | failed | shortest | median | longest |\n|---|--:|--:|--:|--:|--:|\n")
    for name, runs in found.items():
        times = f"{min(runs.seconds):.0f} s | {median(runs.seconds):.0f} s | {max(runs.seconds):.0f} s"
        sys.stdout.write(f"| {name} | {len(runs.seconds)} | {len(runs.failed)} | {times} |\n")
    return 1 if any(runs.failed for runs in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
