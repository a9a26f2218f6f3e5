"""Stages that run as processes of their own, so that they can be killed."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.pipeline.kafkas import Topics
from tests.waiting import DEADLINE

PROGRAMS = Path(__file__).parent / "programs"


class Stage:
    """One process; its log is kept for the failure of a test."""

    def __init__(self, program: str, given: Mapping[str, Any], log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAMS / program), json.dumps(given)], stdout=output, stderr=subprocess.STDOUT
            )

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait(DEADLINE)

    def terminate(self) -> int:
        """Ask it to end, and return its exit code."""
        self._process.terminate()
        return self._process.wait(DEADLINE)

    def running(self) -> bool:
        return self._process.poll() is None


def processor(topics: Topics, log: Path, *, name: str = "one", batch: int = 200) -> Stage:
    """Start a processor."""
    given = {
        # So soon Kafka gives the partitions of a dead member to another.
        "kafka": topics.client | {"session.timeout.ms": "6000", "heartbeat.interval.ms": "500"},
        "producer": topics.client,
        "group": topics.group(),
        "name": f"{topics.group()}-{name}",
        "raw": topics.raw,
        "decoded": topics.decoded,
        "batch": batch,
    }
    return Stage("run_processor.py", given, log)
