"""How fast a backlog that the broker keeps for a session reaches Kafka."""

import sys
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.pipeline import telegraf
from benchmarks.pipeline.others import python, quix
from benchmarks.pipeline.plant import Offsets, Plant, Rate, frozen, own_rate, publish, queue, rate
from benchmarks.pipeline.simulated import messages

_PATIENCE = 60.0


def paho(plant: Plant, count: int) -> Rate:
    """Measure a subscriber that only counts."""
    line = plant.line()
    queue(line, messages(count))
    return Rate(own_rate(python("paho_subscriber.py", count), line.env()))


def ours(plant: Plant, count: int, workers: int = 1) -> Rate:
    """Measure our bridge, or several that share the messages."""
    line = plant.line()
    share = f"bench{line.name}" if workers > 1 else ""
    queue(line, messages(count), sessions=workers, share=share)
    more = {"MQTT_SHARE": share} if share else {}
    offsets = Offsets(plant.kafka)
    with ExitStack() as stack:
        running = [stack.enter_context(line.stage("bridge", number, **more)) for number in range(workers)]
        return rate(lambda: offsets.written(line.raw), count, running)


def on_quix(plant: Plant, count: int) -> Rate | None:
    """Measure the source of Quix Streams."""
    command = quix("quix_bridge.py")
    if command is None:
        return None
    line = plant.line()
    offsets = Offsets(plant.kafka)
    with line.running(*command, PYTHONPATH=str(Path.cwd())) as process:
        # Its session ends with its connection: instead of being away, it is frozen while the backlog grows.
        deadline = time.monotonic() + _PATIENCE
        while not offsets.written(line.raw):
            if time.monotonic() > deadline:
                sys.exit("Quix Streams carries nothing")
            publish(plant, messages(1))
            time.sleep(0.5)
        before = offsets.written(line.raw)
        with frozen([process, *process.children(recursive=True)]):
            publish(plant, messages(count))
        return rate(lambda: offsets.written(line.raw) - before, count, [process, *process.children(recursive=True)])


def on_telegraf(plant: Plant, count: int) -> Rate | None:
    """Measure Telegraf's mqtt_consumer and its output to Kafka."""
    line = plant.line()
    command = telegraf.command(telegraf.bridge(line), plant.folder / f"{line.name}.conf")
    if command is None:
        return None
    queue(line, messages(count))
    offsets = Offsets(plant.kafka)
    with line.running(*command) as process:
        return rate(lambda: offsets.written(line.raw), count, [process])
