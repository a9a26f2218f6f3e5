"""The pipeline under a scenario: its stages as processes, and what has arrived behind them."""

import asyncio
import json
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from iot2mqtt_conformance.launch import LaunchError, Process, connector_environment
from iot2mqtt_conformance.observer import Observer
from iot2mqtt_conformance.services.base import LAST_LINES, Broker, ServiceError
from iot2mqtt_conformance.services.warehouse import Store, Warehouse

STAGES = ("bridge", "processor", "sink")
CARRIED_WITHIN = 90.0
"""Seconds in which the suite's own message must come through; more than a stage needs that starts on a busy machine."""
ENDED_WITHIN = 60.0
"""Seconds that a command of the pipeline may take."""
STOPPED_WITHIN = 15.0
"""Seconds in which a stage ends after SIGTERM."""
LOOK = 0.05
"""Seconds between two looks at the table."""
OTHERS = ("KAFKA_", "POSTGRES_", "TIMESCALE_", "HTTP_", "BATCH_", "UNKNOWN_", "RETENTION_", "PUBLISH_")
"""What the names of the pipeline's other variables begin with."""
MARKER = "suite_marker"
"""The instance whose states are the suite's own; those of a device keep its order from MQTT to the table."""

Row = tuple[str, str, int, float | None]
"""Device, property, microseconds of the event time, value."""


class Conveyor:
    """Bridge, processor and sink between one broker and one store; an async context manager that ends them.

    Args:
        warehouse: Kafka and the database, started.
        store: Where they are.
        broker: The broker, which runs.
        base: The base topic of the connector.
        instance: The connector's instance.
        devices: The devices whose states are followed.
    """

    def __init__(
        self, warehouse: Warehouse, store: Store, broker: Broker, *, base: str, instance: str, devices: Iterable[str]
    ) -> None:
        self._warehouse, self._store = warehouse, store
        self._base, self._instance, self._devices = base, instance, list(devices)
        self._environment = _environment(store, broker, base)
        self._stages: dict[str, Process] = {}
        self._broken = asyncio.Event()
        self._observer = Observer((broker.host, broker.port), lambda *_args, **_more: None)
        self._marks = 0
        self._known: Counter[Row] = Counter()
        self._connection: Any = None

    async def __aenter__(self) -> Self:
        """Make the tables, start the stages, and wait until the first message has come through."""
        try:
            await self.run("init-db")
            self._connection = await asyncio.to_thread(self._connect)
            await self._observer.__aenter__()
            await asyncio.gather(*map(self.start, STAGES))
            await self.carried()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the stages."""
        await asyncio.gather(*(process.close() for process in self._stages.values()))
        await self._observer.__aexit__(None, None, None)
        if self._connection is not None:
            await asyncio.to_thread(self._connection.close)

    # ------------------------------------------------------------------ stages
    async def start(self, stage: str) -> None:
        """Start a stage."""
        words = [stage, "--name", "conformance"] if stage == "processor" else [stage]
        self._stages[stage] = self._process(words, on_exit=lambda _code: self._ended(stage))
        await _started(self._stages[stage])

    def _ended(self, stage: str) -> None:
        """Notice the end of a stage that nobody has stopped."""
        if stage in self._stages:
            self._broken.set()

    async def stop(self, stage: str) -> None:
        """End a stage by SIGTERM."""
        process = self._stages.pop(stage)
        process.signal(signal.SIGTERM)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(process.exited.wait(), STOPPED_WITHIN)
        finally:
            await process.close()

    async def run(self, *words: str) -> list[str]:
        """Run a command of the pipeline to its end, and return what it printed.

        Raises:
            ServiceError: It fails, which is nothing that a connector could cause.
        """
        said: list[tuple[str, str]] = []
        codes: list[int] = []
        process = self._process(words, on_exit=codes.append, on_line=lambda *line: said.append(line))
        try:
            await _started(process)
            with suppress(TimeoutError):
                await asyncio.wait_for(process.exited.wait(), ENDED_WITHIN)
        finally:
            await process.close()
        lines = [line for stream, line in said if stream == "stdout"]
        # The ledger ends with 1 where it does not balance, and says all the same what it has found.
        if codes != [0] and not (words[0] == "ledger" and lines):
            raise ServiceError(f"`iot2mqtt-pipeline {' '.join(words)}` has failed; its last lines: {_said(process)}")
        return lines

    def _process(self, words: Iterable[str], **more: Any) -> Process:
        command = [sys.executable, "-m", "iot2mqtt_pipeline", *words]
        folder = Path(tempfile.gettempdir())
        return Process(command, cwd=folder, env=self._environment, label=" ".join(words), **more)

    # ------------------------------------------------------------------ what comes through
    async def again(self) -> None:
        """Speak to the broker anew, after its restart."""
        await self._observer.again()

    async def carried(self) -> list[Row]:
        """Wait until all that was published up to now is decided, and return the rows that are new since the last time.

        Raises:
            ServiceError: See `passed`.
        """
        await self.passed()
        return await asyncio.to_thread(self._new_rows)

    async def passed(self) -> None:
        """Send a message of each device behind its states, and wait until it is in the table.

        Raises:
            ServiceError: It does not arrive: the pipeline does not work here, whatever the connector does.
        """
        self._marks += 1
        for device in self._devices:
            topic = f"{self._base}/v1/instances/{MARKER}/devices/{device}/state"
            state = {"timestamp": datetime.now(UTC).isoformat(), "device_id": device, "state": {MARKER: self._marks}}
            # Retained, so that a bridge that subscribes only now gets it as well.
            await self._observer.publish(topic, json.dumps(state).encode(), retain=True)
        loop = asyncio.get_running_loop()
        limit = loop.time() + CARRIED_WITHIN
        while await asyncio.to_thread(self._arrived) < len(self._devices):
            if self._broken.is_set() or self._warehouse.ended.is_set() or loop.time() > limit:
                raise ServiceError(f"the pipeline does not carry the suite's own messages; {self.said()}")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._broken.wait(), LOOK)

    def _connect(self) -> Any:
        import psycopg

        try:
            return psycopg.connect(**self._store.database, autocommit=True)
        except psycopg.Error as error:
            raise ServiceError(f"the database of the pipeline is away: {error}") from None

    def _query(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        import psycopg

        try:
            found: list[tuple[Any, ...]] = self._connection.execute(text, values).fetchall()
        except psycopg.Error as error:
            raise ServiceError(f"the database of the pipeline does not answer: {error}") from None
        return found

    def _arrived(self) -> int:
        text = "SELECT count(DISTINCT device_id) FROM iot_measurements WHERE connector = %s AND value >= %s"
        return int(self._query(text, MARKER, self._marks)[0][0])

    def _new_rows(self) -> list[Row]:
        text = (
            "SELECT device_id, component_type, (extract(epoch FROM timestamp) * 1000000)::bigint, value"
            " FROM iot_measurements WHERE connector = %s ORDER BY timestamp, device_id, component_type"
        )
        found = Counter(self._query(text, self._instance))
        new = found - self._known
        self._known = found
        return list(new.elements())

    # ------------------------------------------------------------------ what else is known
    async def letters(self) -> list[dict[str, Any]]:
        """Return the dead letters of the pipeline, as its command lists them."""
        both = await asyncio.gather(*(self.run("dlq", "list", "--of", which, "--json") for which in ("raw", "decoded")))
        return [json.loads(line) for lines in both for line in lines]

    async def ledger(self) -> dict[str, dict[str, int]]:
        """Return the pipeline's own account of each device."""
        found: dict[str, dict[str, int]] = json.loads("\n".join(await self.run("ledger", "--json")))["devices"]
        return found

    async def services(self) -> str:
        """Return what Kafka and the database are, in words."""
        text = (
            "SELECT current_setting('server_version'),"
            " (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb')"
        )
        ((version, extension),) = await asyncio.to_thread(self._query, text)
        without = "without TimescaleDB, whose place native partitions take"
        beside = without if extension is None else f"with TimescaleDB {extension}"
        return f"{self._store.said}, PostgreSQL {version.split()[0]} {beside}"

    def said(self) -> str:
        """Return the last lines of everything, in one line."""
        said = {stage: _said(process) for stage, process in self._stages.items()}
        said["Kafka and PostgreSQL"] = self._warehouse.said()
        return "; ".join(f"last lines of {part}: {lines}" for part, lines in said.items())


async def _started(process: Process) -> None:
    try:
        await process.start()
    except LaunchError as error:
        raise ServiceError(f"the pipeline could not be started: {error}") from None


def _said(process: Process) -> str:
    return " | ".join(list(process.lines)[-LAST_LINES:]) or "none"


def _environment(store: Store, broker: Broker, base: str) -> dict[str, str]:
    database = store.database
    settings: Mapping[str, Any] = {
        "MQTT_HOST": broker.host,
        "MQTT_PORT": broker.port,
        # The oldest that all brokers speak; amqtt leaves a client of MQTT 5 without any answer.
        "MQTT_VERSION": "3.1.1",
        "MQTT_BASE_TOPIC": base,
        "KAFKA_BOOTSTRAP_SERVERS": store.kafka,
        "POSTGRES_HOST": database["host"],
        "POSTGRES_PORT": database["port"],
        "POSTGRES_DB": database["dbname"],
        "POSTGRES_USER": database["user"],
        "POSTGRES_PASSWORD": database["password"],
        "BATCH_TIMEOUT": "0.1",
    }
    # What the pipeline of this machine is set to is no concern of the suite's own.
    inherited = {name: text for name, text in connector_environment({}).items() if not name.startswith(OTHERS)}
    return inherited | {name: str(value) for name, value in settings.items()}
