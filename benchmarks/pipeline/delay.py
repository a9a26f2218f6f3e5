"""How long a message takes to become a row that others can see."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass

from benchmarks.pipeline.plant import Line, Plant

_COMMITTED = (
    "SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY"
    " extract(epoch FROM pg_xact_commit_timestamp(xmin) - timestamp)), count(*) FROM iot_measurements"
    " WHERE timestamp >= to_timestamp(%s) AND timestamp < to_timestamp(%s)"
)
_COUNTED = "SELECT count(*) FROM iot_measurements WHERE timestamp >= to_timestamp(%s)"
_SETTLING = 5.0
_PATIENCE = 300.0


@dataclass(frozen=True)
class Delay:
    """What was measured.

    Attributes:
        median: From the time in a message to the commit of its row, in milliseconds.
        p99: Its 99th percentile.
        rows: Rows a second.
    """

    median: float
    p99: float
    rows: float


def measure(plant: Plant, messages_per_second: int, seconds: float) -> Delay:
    """Run the whole pipeline at a rate.

    What the first seconds bring is stored and not counted: the stages join their groups then.
    """
    line = plant.line()
    duration = seconds + 2 * _SETTLING
    words = ["--devices", "200", "--rate", str(messages_per_second), "--duration", str(duration)]
    with line.stage("bridge"), line.stage("processor"), line.stage("sink"):
        # The stages have to be subscribed before anything is published.
        simulate(line, "--rate", "100", "--duration", "10", "--init-params")
        started = time.time()
        due = simulate(line, *words)
        _until_stored(plant, started, due)
    begun = started + _SETTLING
    (found,) = plant.query(_COMMITTED, begun, begun + seconds)
    median, p99 = found[0]
    return Delay(median * 1000, p99 * 1000, found[1] / seconds)


def simulate(line: Line, *words: str) -> int:
    """Have simulated devices publish, and return how many rows that has to become."""
    command = [sys.executable, "-m", "iot2mqtt_pipeline", "simulator", *words, "--json"]
    said = subprocess.run(command, env=os.environ | line.env(), check=True, stdout=subprocess.PIPE)
    return int(json.loads(said.stdout)["rows"])


def _until_stored(plant: Plant, since: float, due: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while plant.query(_COUNTED, since)[0][0] < due:
        if time.monotonic() > deadline:
            sys.exit("not everything has become a row: a figure would leave out the slowest")
        time.sleep(1)
