"""Measures bridge, processor and sink beside others, in one run, and prints Markdown tables.

    python -m benchmarks.pipeline                      about a quarter of an hour
    python -m benchmarks.pipeline bridge sink          some of it
    python -m benchmarks.pipeline --messages 20000     a quick look, whose figures mean little

Parts: bridge, processor, sink, delay, growth. Each row is the median of three runs that take turns with the rows it is
compared with. Quix Streams and Telegraf are measured where they are at hand; nothing here asserts anything.
"""

import argparse
import platform
import sys
from collections.abc import Callable
from statistics import median

import psutil

from benchmarks.pipeline import bridging, delay, processing, storing
from benchmarks.pipeline.plant import Plant, Rate, plant

ROUNDS = 3
MESSAGES = 50_000
RECORDS = 100_000
DELAY_RATES = (1000, 2500, 5000)
DELAY_SECONDS = 30.0
GROWTH = (1_000_000, 20_000_000)

Measured = Callable[[Plant, int], Rate | None]


def say(text: str) -> None:
    """Show progress where it does not get into the table."""
    sys.stderr.write(f"{text}\n")


def out(text: str) -> None:
    """Print a line of a table as soon as it is known."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def table(title: str, unit: str, contenders: dict[str, Measured], at: Plant, count: int) -> None:
    """Print the rates of contenders, and each as a part of the first one's."""
    found: dict[str, list[Rate]] = {name: [] for name in contenders}
    for number in range(ROUNDS):
        for name, measured in contenders.items():
            result = measured(at, count)
            if result is not None:
                found[name].append(result)
                say(f"{title}: {name}, {number + 1} of {ROUNDS}: {result.per_second:,.0f} {unit} a second")
    first = median(one.per_second for one in next(iter(found.values())))
    out(f"\n| {title} | {unit} a second | of the first | memory |\n|---|--:|--:|--:|")
    for name, results in found.items():
        if not results:
            out(f"| {name} | not at hand | | |")
            continue
        middle = median(one.per_second for one in results)
        memory = " + ".join(f"{size:.0f}" for size in results[-1].megabytes)
        out(f"| {name} | {middle:,.0f} | {middle / first:.2f} | {memory and memory + ' MB'} |")


def bridge(at: Plant, count: int) -> None:
    """Measure bridges."""
    contenders: dict[str, Measured] = {
        "bare paho-mqtt subscriber": bridging.paho,
        "bridge": bridging.ours,
        "two bridges": lambda at, count: bridging.ours(at, count, 2),
        "Quix Streams' MQTT source": lambda at, count: bridging.on_quix(at, count // 5),
        "Telegraf": bridging.on_telegraf,
    }
    table("MQTT at QoS 1 to Kafka", "messages", contenders, at, count)


def processor(at: Plant, count: int) -> None:
    """Measure processors."""
    contenders: dict[str, Measured] = {
        "bare confluent-kafka loop": processing.loop,
        "processor": processing.ours,
        "two processors": lambda at, count: processing.ours(at, count, 2),
        "Quix Streams with our decoder": lambda at, count: processing.on_quix(at, count // 5),
    }
    table("raw records to measurements", "records", contenders, at, count)


def sink(at: Plant, count: int) -> None:
    """Measure sinks; each has an empty table."""
    contenders: dict[str, Measured] = {
        "psql's \\copy": lambda at, _count: storing.copy(at),
        "sink": storing.ours,
        "two sinks": lambda at, count: storing.ours(at, count, 2),
        "Quix Streams' PostgreSQL sink": lambda at, count: storing.on_quix(at, count // 5),
        "Telegraf": storing.on_telegraf,
    }
    # \copy takes what the sink has stored: so there has to be something.
    storing.ours(at, count)

    def emptied(measured: Measured) -> Measured:
        def run(at: Plant, count: int) -> Rate | None:
            storing.empty(at)
            return measured(at, count)

        return run

    others = {name: emptied(one) for name, one in list(contenders.items())[1:]}
    table("measurements to rows", "rows", {"psql's \\copy": contenders["psql's \\copy"]} | others, at, count)


def delays(at: Plant, _count: int) -> None:
    """Measure how long a message takes to become a row."""
    out("\n| messages a second | rows a second | publish to row, median | 99th percentile |\n|--:|--:|--:|--:|")
    for number in DELAY_RATES:
        say(f"publish to row at {number:,} messages a second")
        found = delay.measure(at, number, DELAY_SECONDS)
        out(f"| {number:,} | {found.rows:,.0f} | {found.median:,.0f} ms | {found.p99:,.0f} ms |")


def growth(at: Plant, count: int) -> None:
    """Measure the sink on a table that is not empty."""
    out("\n| rows in the table | sink, rows a second |\n|--:|--:|")
    storing.empty(at)
    for rows in GROWTH:
        say(f"the sink on {rows:,} rows")
        storing.fill(at, rows)
        middle = median(storing.ours(at, count).per_second for _ in range(ROUNDS))
        out(f"| {rows:,} | {middle:,.0f} |")


PARTS = {"bridge": bridge, "processor": processor, "sink": sink, "delay": delays, "growth": growth}


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all unless given")
    parser.add_argument("--messages", type=int, help="of one backlog")
    given = parser.parse_args()
    with plant() as at:
        for part in given.parts or PARTS:
            # The broker takes its time to queue messages; Kafka does not.
            PARTS[part](at, given.messages or (MESSAGES if part == "bridge" else RECORDS))
    cores, memory = psutil.cpu_count(), psutil.virtual_memory().total / 2**30
    out(f"\n{cores} processors, {memory:.0f} GiB, Python {platform.python_version()}, {platform.system()}")


if __name__ == "__main__":
    main()
