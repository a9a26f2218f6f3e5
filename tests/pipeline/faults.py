"""A whole pipeline of real parts that faults are done to under load, and what came of it.

Everything is compared row by row with what the simulated controllers said: the identity of each row that their messages
become is reckoned by the decoder, and looked for in the table.
"""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from iot2mqtt_pipeline.adapters.kafka_letters import KafkaLetters
from iot2mqtt_pipeline.adapters.mqtt_out import EndedError, MqttPublisher
from iot2mqtt_pipeline.adapters.templates import put_template
from iot2mqtt_pipeline.decoding import Decoder
from iot2mqtt_pipeline.errors import PermanentError
from iot2mqtt_pipeline.parameters import ParameterTable
from iot2mqtt_pipeline.record import encode_raw, read_raw, rows
from iot2mqtt_pipeline.servers.kafka import LocalKafka
from iot2mqtt_pipeline.servers.postgres import LocalPostgres
from iot2mqtt_pipeline.settings import Mqtt
from iot2mqtt_pipeline.simulator import MESSAGES_PER_ROUND, Fleet, Planned, Tally, parameter_rows, play
from iot2mqtt_pipeline.stage import Record
from iot2mqtt_sdk.clock import Clock
from tests.pipeline.brokers import Broker
from tests.pipeline.kafkas import Topics
from tests.pipeline.pipelines import started
from tests.pipeline.postgres_server import TestDatabase
from tests.waiting import wait_until

STAGES = ("bridge", "processor", "sink")
PATIENCE = 240.0
"""Seconds for something to go on: on a machine that does other things too, a Kafka takes a minute to start."""
TEMPLATE = "f2-simulated"
Identity = tuple[Any, ...]

_IDENTITIES = (
    "SELECT timestamp, device_id, connector_mode, connector, component_type, component_id FROM iot_measurements"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a fault: a row of the table.

    Attributes:
        fault: Its name.
        rounds: How often it was done.
        published: Messages.
        rows: The rows that were to be.
        stored: The rows of these that are in the table.
        dead_letters: In both topics of dead letters.
        bad: Messages and records that had to become dead letters.
        repeats: Rows that came a second time, and were not stored again.
        duplicates: Rows in the table that nobody published.
        lost: Rows that were to be and are not.
        restarts: Processes that ended by themselves, and were started again.
        note: What else was measured.
    """

    fault: str
    rounds: int
    published: int
    rows: int
    stored: int
    dead_letters: int
    bad: int
    repeats: int
    duplicates: int
    lost: int
    restarts: int
    note: str = ""

    @property
    def sound(self) -> bool:
        """Whether nothing is lost, nothing is there twice, and each bad record is one dead letter."""
        return self.lost == self.duplicates == 0 and self.dead_letters == self.bad and self.stored == self.rows


class Load:
    """Simulated controllers that publish until they are stopped, and know what became of it has to be.

    Args:
        broker: Where they publish.
        rate: Messages a second.
        devices: How many.
        malformed: The share of messages that nobody can decode.
    """

    def __init__(self, broker: Mqtt, *, rate: float, devices: int = 20, malformed: float = 0.0) -> None:
        interval = devices * MESSAGES_PER_ROUND / rate
        seed = uuid4().int % 1_000_000
        self.fleet = Fleet(devices=devices, interval=interval, start=time.time(), seed=seed, malformed=malformed)
        self.sent: list[Planned] = []
        self._broker = broker
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._unsafe = 0
        self._next: Planned | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop, and see that the broker has all of it."""
        self._ending.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the controllers do not stop"
        assert self._unsafe == 0, f"the broker has not acknowledged {self._unsafe} messages"

    def _run(self) -> None:
        publisher = MqttPublisher(settings=self._broker, stopped=self._ending.is_set)
        publisher.start()

        def publish(topic: str, payload: bytes) -> None:
            publisher.publish(topic, payload)
            assert self._next is not None
            self.sent.append(self._next)

        try:
            play(self._messages(), publish=publish, wait=self._ending.wait, clock=Clock(), tally=Tally())
        except EndedError:
            pass
        finally:
            self._unsafe = publisher.stop(PATIENCE)

    def _messages(self) -> Iterator[Planned]:
        for message in self.fleet.messages():
            self._next = message
            yield message

    def expected(self) -> tuple[set[Identity], int]:
        """Return the identities of all rows that are to be, and how many messages are to be dead letters."""
        table = ParameterTable(
            templates=parameter_rows(TEMPLATE), assignments=dict.fromkeys(self.fleet.device_ids, TEMPLATE)
        )
        decoder = Decoder(table, "deadletter")
        found: set[Identity] = set()
        bad = 0
        for one in list(self.sent):
            raw = encode_raw(topic=one.topic, device_id=one.device_id, payload=one.payload, arrived=one.due)
            try:
                found.update(row[:6] for part in decoder.measurements(read_raw(raw)) for row in rows(part))
            except PermanentError:
                bad += 1
        return found, bad


class Plant:
    """The servers, and one process of each stage, each under the name of its stage.

    Args:
        broker: Runs.
        kafka: Runs.
        postgres: Runs, with all tables.
        folder: For logs.
        batch: BATCH_SIZE.
        env: What else the stages have in their environment.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        kafka: LocalKafka,
        postgres: LocalPostgres,
        folder: Path,
        batch: int = 500,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.broker, self.kafka, self.postgres = broker, kafka, postgres
        self.topics = Topics(kafka)
        self.database = TestDatabase(dict(postgres.connection()), "own")
        self.database.query("TRUNCATE iot_measurements, iot_sink_duplicates, device_parameters")
        self.restarts = 0
        self._folder = folder
        self._env = self._settings(batch) | dict(env or {})
        self._words: dict[str, list[str]] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def _settings(self, batch: int) -> dict[str, str]:
        where = self.postgres.connection()
        return {
            "MQTT_HOST": "127.0.0.1",
            "MQTT_PORT": str(self.broker.port),
            "MQTT_CLIENT_ID": f"bridge-{self.topics.name}",
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap,
            "KAFKA_RAW_TOPIC": self.topics.raw,
            "KAFKA_DECODED_TOPIC": self.topics.decoded,
            "POSTGRES_HOST": str(where["host"]),
            "POSTGRES_PORT": str(where["port"]),
            "POSTGRES_DB": str(where["dbname"]),
            "POSTGRES_USER": str(where["user"]),
            "POSTGRES_PASSWORD": str(where["password"]),
            "BATCH_SIZE": str(batch),
        }

    # ------------------------------------------------------------------ processes
    def start(self, stage: str, name: str = "") -> None:
        """Start a process of a stage; a second one needs a name of its own."""
        words = [stage, "--name", name or "one"] if stage == "processor" else [stage]
        called = name or stage
        self._words[called] = words
        self._running[called] = started(*words, env=self._env, log=self._log(called))

    def kill(self, name: str) -> None:
        """End a process as a power cut would."""
        process = self._running.pop(name)
        process.kill()
        process.wait(PATIENCE)

    def kill_all(self) -> None:
        """End whatever runs."""
        for name in list(self._running):
            self.kill(name)

    def freeze(self, name: str) -> None:
        """Have a process do nothing."""
        self._running[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Have it go on."""
        self._running[name].send_signal(signal.SIGCONT)

    def memory(self, name: str) -> float:
        """Return what a process holds, in MiB."""
        return float(psutil.Process(self._running[name].pid).memory_info().rss) / 2**20

    def tend(self) -> None:
        """Do what any supervisor does: start again what has ended; a traceback in its log fails the test."""
        for name, process in list(self._running.items()):
            if process.poll() is not None:
                self.restarts += 1
                self._running[name] = started(*self._words[name], env=self._env, log=self._log(name))
        for log in self._folder.glob("*.log"):
            text = log.read_text(encoding="utf-8", errors="replace")
            assert "Traceback" not in text, f"{log.name}:\n{text[-6000:]}"

    def end(self) -> None:
        """Ask all to end."""
        for process in self._running.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        codes = {name: process.wait(PATIENCE) for name, process in self._running.items()}
        self._running.clear()
        assert set(codes.values()) <= {0}, f"{codes}\n{self.logs()}"

    def logs(self) -> str:
        """Return the ends of all logs."""
        texts = {log.name: log.read_text(encoding="utf-8", errors="replace") for log in self._folder.glob("*.log")}
        return "\n".join(f"-- {name}\n{text[-3000:]}" for name, text in texts.items())

    def until_subscribed(self) -> None:
        """Wait until the bridge has its session: what is published before, no broker keeps."""
        self.wait(lambda: "MQTT: connected to" in self._log("bridge").read_text(encoding="utf-8"))

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    # ------------------------------------------------------------------ what has come of it
    def wait(self, condition: Any) -> None:
        """Wait for something; show all logs where it does not happen."""
        try:
            wait_until(condition, PATIENCE)
        except AssertionError:
            raise AssertionError(f"it has not happened in time:\n{self.logs()}") from None

    def stored(self) -> int:
        return int(self.database.one("SELECT count(*) FROM iot_measurements"))

    def until_more(self, count: int) -> None:
        """Wait until so many more rows are stored."""
        wanted = self.stored() + count
        self.wait(lambda: self.tend() or self.stored() >= wanted)  # type: ignore[func-returns-value]

    def letters(self) -> list[Record]:
        both = (self.topics.raw, self.topics.decoded)
        return [
            one for topic in both for one in KafkaLetters(client=self.topics.client, topic=f"{topic}.dlq").records()
        ]

    def outcome(self, load: Load, *, fault: str, rounds: int, bad: int = 0, note: str = "") -> Outcome:
        """Wait until everything has come through, end all processes, and compare."""
        expected, malformed = load.expected()
        self._until_still(len(expected))
        self.end()
        found = self.database.query(_IDENTITIES)
        own = {one for one in found if one[1] in load.fleet.device_ids}
        repeats = self.database.one("SELECT coalesce(sum(duplicates), 0) FROM iot_sink_duplicates")
        return Outcome(
            fault=fault,
            rounds=rounds,
            published=len(load.sent),
            rows=len(expected),
            stored=len(own & expected),
            dead_letters=len(self.letters()),
            bad=malformed + bad,
            repeats=int(repeats),
            duplicates=len(found) - len(set(found)) + len(own - expected),
            lost=len(expected - own),
            restarts=self.restarts,
            note=note,
        )

    def _until_still(self, count: int) -> None:
        """Wait until the rows are there, or nothing has come for a long time."""
        most, since = -1, time.monotonic()
        while (now := self.stored()) < count and time.monotonic() - since < PATIENCE:
            if now > most:
                most, since = now, time.monotonic()
            self.tend()
            threading.Event().wait(0.2)
        self.tend()


@contextmanager
def running(plant: Plant, *, rate: float, malformed: float = 0.0, devices: int = 20) -> Iterator[Load]:
    """Start all stages and the controllers; whoever is left in the end is killed."""
    with ExitStack() as stack:
        stack.callback(plant.kill_all)
        for stage in STAGES:
            plant.start(stage)
        plant.until_subscribed()
        load = Load(plant.broker.settings(), rate=rate, devices=devices, malformed=malformed)
        put_template(plant.database.parameters, TEMPLATE, parameter_rows(TEMPLATE), load.fleet.device_ids)
        load.start()
        stack.callback(load._ending.set)
        yield load


def noted(folder: Path, outcome: Outcome) -> Outcome:
    """Keep an outcome for the table, and fail where something is lost or there twice."""
    fields = {name: getattr(outcome, name) for name in Outcome.__slots__}
    row: Mapping[str, Any] = fields | {"at": time.strftime("%Y-%m-%d", time.gmtime())}
    (folder / f"{uuid4().hex}.json").write_text(json.dumps(row), encoding="utf-8")
    assert outcome.sound, outcome
    return outcome
