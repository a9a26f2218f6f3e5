"""How fast a backlog of raw records becomes measurements."""

from contextlib import ExitStack
from pathlib import Path

from benchmarks.pipeline.others import python, quix
from benchmarks.pipeline.plant import Offsets, Plant, Rate, frozen, own_rate, rate, until_joined, write
from benchmarks.pipeline.simulated import messages, raw_records

GROUP = "iot2mqtt-processor"


def loop(plant: Plant, count: int) -> Rate:
    """Measure a loop that only consumes and produces."""
    line = plant.line()
    write(line, line.raw, raw_records(messages(count)))
    return Rate(own_rate(python("kafka_loop.py", count), line.env()))


def ours(plant: Plant, count: int, workers: int = 1) -> Rate:
    """Measure our processor, or several of its group."""
    line = plant.line()
    records = raw_records(messages(count))
    offsets = Offsets(plant.kafka)
    with ExitStack() as stack:
        running = [stack.enter_context(line.stage("processor", number)) for number in range(workers)]
        until_joined(plant.kafka, GROUP, workers)
        with frozen(running):
            write(line, line.raw, records)
        return rate(lambda: offsets.read(GROUP, line.raw), count, running)


def on_quix(plant: Plant, count: int) -> Rate | None:
    """Measure Quix Streams with our decoder in it."""
    command = quix("quix_processor.py")
    if command is None:
        return None
    line = plant.line()
    write(line, line.raw, raw_records(messages(count)))
    offsets = Offsets(plant.kafka)
    with line.running(*command, PYTHONPATH=str(Path.cwd())) as process:
        return rate(lambda: offsets.written(line.decoded), count, [process])
