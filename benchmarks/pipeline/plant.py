"""The servers of a benchmark, the backlogs that are worked off, and the processes that do it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import paho.mqtt.client as mqtt
import psutil
import psycopg
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.pipeline.simulated import TEMPLATE, fleet
from benchmarks.rig import mosquitto
from iot2mqtt_pipeline.adapters.kafka_topics import ensure_topics
from iot2mqtt_pipeline.adapters.migrate import migrate
from iot2mqtt_pipeline.adapters.mqtt_out import MqttPublisher
from iot2mqtt_pipeline.adapters.templates import put_template
from iot2mqtt_pipeline.servers.kafka import LocalKafka
from iot2mqtt_pipeline.servers.kafka import running as running_kafka
from iot2mqtt_pipeline.servers.postgres import LocalPostgres, temporary_folder
from iot2mqtt_pipeline.servers.postgres import running as running_postgres
from iot2mqtt_pipeline.settings import Mqtt
from iot2mqtt_pipeline.simulator import Planned, parameter_rows

PROGRAMS = Path(__file__).parent / "programs"
PARTITIONS = 4
WARM = 0.05
"""Share of a backlog after which the time begins to count: start and first connection are no throughput."""
WARM_TOGETHER = 0.4
"""The same for several workers, of which the first works alone until the others have joined."""
STALLED = 120.0
_TICK = 0.02
_MESSAGES = "cmnd/#"
_BROKER = ("max_inflight_messages 1000", "allow_zero_length_clientid true")
"""As many messages on their way as a receiver likes: it is the receiver that is measured."""


@dataclass(frozen=True)
class Rate:
    """What came of a run.

    Attributes:
        per_second: Units of work a second.
        megabytes: Resident memory of each process at the end, in 10^6 bytes.
    """

    per_second: float
    megabytes: tuple[float, ...] = ()


@dataclass(frozen=True)
class Plant:
    """Servers that run.

    Attributes:
        broker: The port of Mosquitto.
        kafka: The address of Kafka.
        database: How libpq connects.
        folder: For logs.
    """

    broker: int
    kafka: str
    database: Mapping[str, Any]
    folder: Path

    def line(self) -> "Line":
        """Return a run of its own, with topics that exist and nothing in them."""
        name = uuid4().hex[:8]
        line = Line(self, name)
        topics = {line.raw: PARTITIONS, line.decoded: PARTITIONS}
        ensure_topics({"bootstrap.servers": self.kafka}, topics | {f"{topic}.dlq": 1 for topic in topics})
        return line

    def query(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement."""
        with closing(psycopg.connect(**self.database, autocommit=True)) as connection:
            cursor = connection.execute(text, values)
            return cursor.fetchall() if cursor.description else []


@dataclass(frozen=True)
class Line:
    """One run: names that nothing else uses."""

    plant: Plant
    name: str

    @property
    def raw(self) -> str:
        """The topic between bridge and processor."""
        return f"raw-{self.name}"

    @property
    def decoded(self) -> str:
        """The topic between processor and sink."""
        return f"decoded-{self.name}"

    def env(self, number: int = 0) -> dict[str, str]:
        """Return what every process is told; the number tells workers apart."""
        where = self.plant.database
        return {
            "MQTT_HOST": "127.0.0.1",
            "MQTT_PORT": str(self.plant.broker),
            "MQTT_CLIENT_ID": self.session(number),
            "KAFKA_BOOTSTRAP_SERVERS": self.plant.kafka,
            "KAFKA_RAW_TOPIC": self.raw,
            "KAFKA_DECODED_TOPIC": self.decoded,
            "POSTGRES_HOST": str(where["host"]),
            "POSTGRES_PORT": str(where["port"]),
            "POSTGRES_DB": str(where["dbname"]),
            "POSTGRES_USER": str(where["user"]),
            "POSTGRES_PASSWORD": str(where["password"]),
            "LOG_LEVEL": "WARNING",
        }

    def session(self, number: int = 0) -> str:
        """Return the id of a session at the broker."""
        return f"bench-{self.name}-{number}"

    @contextmanager
    def running(self, *words: str, number: int = 0, **more: str) -> Iterator[psutil.Process]:
        """Run a process until the block ends; what it says is shown where it ends on its own."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        log = self.plant.folder / f"{self.name}-{number}-{Path(words[-1]).stem}.log"
        with (
            log.open("wb") as output,
            subprocess.Popen(words, env=kept | self.env(number) | more, stdout=output, stderr=output) as process,
        ):
            try:
                yield psutil.Process(process.pid)
                if process.poll() is not None:
                    sys.exit(f"{' '.join(words)} ended by itself:\n{log.read_text(encoding='utf-8')[-2000:]}")
            finally:
                process.terminate()

    def stage(self, name: str, number: int = 0, **more: str) -> AbstractContextManager[psutil.Process]:
        """Run a stage of ours."""
        words = [sys.executable, "-m", "iot2mqtt_pipeline", name]
        if name == "processor":
            words += ["--name", f"{self.name}-{number}"]
        return self.running(*words, number=number, **more)


@contextmanager
def plant(*, timescale: bool = True) -> Iterator[Plant]:
    """Run Mosquitto, Kafka and PostgreSQL, with the parameters of the simulated devices in it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="iot2mqtt-bench-")))
        broker = stack.enter_context(mosquitto(*_BROKER))
        kafka = stack.enter_context(running_kafka(LocalKafka(folder=folder / "kafka", heap=1024)))
        place = stack.enter_context(temporary_folder())
        postgres = stack.enter_context(running_postgres(LocalPostgres(folder=place / "data", timescale=timescale)))
        _keep_commit_times(postgres)
        for part in ("parameters", "measurements"):
            migrate(postgres.connection(), part=part)
        put_template(postgres.connection(), TEMPLATE, parameter_rows(TEMPLATE), fleet().device_ids)
        yield Plant(broker, kafka.bootstrap, postgres.connection(), folder)


def _keep_commit_times(postgres: LocalPostgres) -> None:
    """Have PostgreSQL remember when each row was committed."""
    parameters: dict[str, Any] = dict(postgres.connection())
    with closing(psycopg.connect(**parameters, autocommit=True)) as connection:
        connection.execute("ALTER SYSTEM SET track_commit_timestamp = on")
    postgres.stop()
    postgres.start()


# ---------------------------------------------------------------------- backlogs
def queue(line: Line, given: Sequence[Planned], *, sessions: int = 1, share: str = "") -> None:
    """Have the broker keep messages at QoS 1 for sessions whose clients are away; several share them."""
    for number in range(sessions):
        _subscribe(line, number, f"$share/{share}/{_MESSAGES}" if share else _MESSAGES)
    publish(line.plant, given)


def publish(plant: Plant, given: Iterable[Planned]) -> None:
    """Publish messages at QoS 1."""
    publisher = MqttPublisher(settings=Mqtt(host="127.0.0.1", port=plant.broker), stopped=lambda: False)
    publisher.start()
    for one in given:
        publisher.publish(one.topic, one.payload)
    if publisher.stop(60):
        sys.exit("Mosquitto has not taken all messages")


def _subscribe(line: Line, number: int, subscription: str) -> None:
    """Leave a session behind that is subscribed."""
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2, client_id=line.session(number), clean_session=False, protocol=mqtt.MQTTv311
    )
    ready: list[bool] = []

    def subscribe(*_: Any) -> None:
        client.subscribe(subscription, 1)

    client.on_connect = subscribe
    client.on_subscribe = lambda *_: ready.append(True)
    client.connect("127.0.0.1", line.plant.broker)
    while not ready:
        client.loop(0.1)
    client.disconnect()
    while client.socket() is not None:
        client.loop(0.1)


def write(line: Line, topic: str, records: Iterable[tuple[bytes, bytes]]) -> None:
    """Write records to a topic."""
    producer = Producer({"bootstrap.servers": line.plant.kafka, "linger.ms": 20, "compression.type": "lz4"})
    for key, value in records:
        while True:
            try:
                producer.produce(topic, value, key)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(60):
        sys.exit("Kafka has not taken all records")


# ---------------------------------------------------------------------- progress
class Offsets:
    """How far a topic is written and read."""

    def __init__(self, kafka: str) -> None:
        self._kafka = kafka
        self._consumers: dict[str, Consumer] = {}

    def written(self, topic: str) -> int:
        """Return how many records a topic has."""
        asking = self._asking("iot2mqtt-bench")
        try:
            ends = [asking.get_watermark_offsets(TopicPartition(topic, one), timeout=30) for one in range(PARTITIONS)]
        except KafkaException:
            return 0  # A topic that has just been made has no leader yet.
        return sum(end for _, end in ends)

    def read(self, group: str, topic: str) -> int:
        """Return how many records of a topic a group has done with."""
        asked = [TopicPartition(topic, one) for one in range(PARTITIONS)]
        return sum(max(0, one.offset) for one in self._asking(group).committed(asked, timeout=30))

    def _asking(self, group: str) -> Consumer:
        """Return a consumer that only asks, and is no member of its group."""
        if group not in self._consumers:
            self._consumers[group] = Consumer({"bootstrap.servers": self._kafka, "group.id": group})
        return self._consumers[group]


def rate(progress: Callable[[], int], total: int, workers: Sequence[psutil.Process] = ()) -> Rate:
    """Wait until a backlog is worked off, and return how fast that went."""
    warm = total * (WARM_TOGETHER if len(workers) > 1 else WARM)
    begun: tuple[int, float] | None = None
    moved = time.monotonic()
    last = 0
    while (done := progress()) < total:
        now = time.monotonic()
        if begun is None and done >= warm:
            begun = done, now
        if done > last:
            last, moved = done, now
        if now - moved > STALLED:
            sys.exit(f"nothing goes on at {done} of {total}: a figure would mean nothing")
        time.sleep(_TICK)
    now = time.monotonic()
    if begun is None:
        sys.exit("a backlog was worked off too fast to be measured: take more messages")
    memory = tuple(one.memory_info().rss / 1e6 for one in workers)
    return Rate((total - begun[0]) / (now - begun[1]), memory)


@contextmanager
def frozen(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """Stop processes until the block ends, which has to be soon: servers take who is silent for long as gone."""
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def until_joined(kafka: str, group: str, members: int) -> None:
    """Wait until a group has so many members, all of which have partitions."""
    admin = AdminClient({"bootstrap.servers": kafka})
    deadline = time.monotonic() + STALLED
    while time.monotonic() < deadline:
        # A Kafka that has just started does not know at once who looks after a group.
        with suppress(KafkaException):
            found = admin.describe_consumer_groups([group])[group].result().members
            if len(found) == members and all(one.assignment.topic_partitions for one in found):
                return
        time.sleep(_TICK)
    sys.exit(f"{group} has not got {members} members")


def own_rate(words: Sequence[str], env: Mapping[str, str]) -> float:
    """Run a program that measures itself, and return the rate that it prints."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    said = subprocess.run(words, env=kept | dict(env), capture_output=True, text=True, check=False)
    if said.returncode:
        sys.exit(f"{' '.join(words)} failed:\n{said.stderr[-2000:]}")
    return float(json.loads(said.stdout.splitlines()[-1])["rate"])
