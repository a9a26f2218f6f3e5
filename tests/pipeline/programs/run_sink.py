"""A sink as a process of its own: parameters, base time and count of records come as JSON on stdin."""

import json
import sys

from tests.pipeline.sinks import Bench, measurement, records

if __name__ == "__main__":
    given = json.loads(sys.stdin.read())
    values = [measurement(timestamp=given["base"] + number / 1000).encode() for number in range(given["count"])]
    print("begins", flush=True)  # noqa: T201 - what the test waits for
    Bench(given["parameters"], records(values, partitions=3), batch_size=40).run()
