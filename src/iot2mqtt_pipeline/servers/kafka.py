"""A real Kafka on this machine: one or more processes in KRaft mode, each both broker and controller.

Bound to 127.0.0.1, with data in a folder of the caller's, and meant for tests and trials: one copy of the cluster's
own topics on a single broker, and a small heap.
"""

import base64
import secrets
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from iot2mqtt_pipeline.servers.kafka_jars import jars, java
from iot2mqtt_sdk.errors import ConfigurationError

PATIENCE = 120.0
"""Seconds for a broker to start, at the most."""
GRACE = 20.0
"""Seconds for a broker to stop on SIGTERM."""
_PORTS = range(20_000, 32_000)
_LOG_LINES = 15
_READY = "Kafka Server started"
_TICK = 0.05

_PROPERTIES = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={data}
num.partitions=3
auto.create.topics.enable=false
default.replication.factor={copies}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=3
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=3
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={in_sync}
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=2
log.cleaner.dedupe.buffer.size=4194304
metadata.max.idle.interval.ms=0
"""
_LOGGING = """\
status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{HH:mm:ss.SSS} %p %c{1} %m%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
logger.started.name=kafka.server.KafkaRaftServer
logger.started.level=info
"""


@dataclass(slots=True)
class _Node:
    number: int
    port: int
    controller: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "kafka.log"

    def last_lines(self) -> str:
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-_LOG_LINES:])


class LocalKafka:
    """A cluster that is not started yet.

    Args:
        folder: For data and logs; a cluster that is started on it again finds what it had.
        brokers: How many processes; with three of them, topics are kept three times and acknowledged by two.
        heap: Of each process, in MiB.
    """

    def __init__(self, *, folder: Path, brokers: int = 1, heap: int = 512) -> None:
        self._folder = folder
        self._heap = heap
        self._cluster = _cluster_id()
        self._nodes = [
            _Node(number, _free_port(), _free_port(), folder / str(number)) for number in range(1, brokers + 1)
        ]

    @property
    def bootstrap(self) -> str:
        """The addresses for KAFKA_BOOTSTRAP_SERVERS; they stay the same when it is started again."""
        return ",".join(f"127.0.0.1:{node.port}" for node in self._nodes)

    @property
    def copies(self) -> int:
        """How often topics are kept: the replication factor."""
        return min(3, len(self._nodes))

    def start(self) -> Self:
        """Start the processes that do not run, and wait until all serve.

        Raises:
            ConfigurationError: Java or the jars are missing, or a process does not start; with its last log lines.
        """
        idle = [node for node in self._nodes if node.process is None]
        for node in idle:
            self._prepare(node)
        for node in idle:
            self._launch(node)
        deadline = time.monotonic() + PATIENCE
        try:
            for node in idle:
                self._await(node, deadline)
        except ConfigurationError:
            self.kill()
            raise
        return self

    def stop(self, *, number: int | None = None) -> None:
        """End one process, or all, by SIGTERM, and by SIGKILL if that takes too long."""
        self._end(number, signal.SIGTERM)

    def kill(self, *, number: int | None = None) -> None:
        """End one process, or all, by SIGKILL."""
        self._end(number, signal.SIGKILL)

    def last_lines(self) -> str:
        """Return the last lines of each process's log."""
        return "\n".join(f"-- Kafka {node.number}\n{node.last_lines()}" for node in self._nodes)

    # ------------------------------------------------------------------ one process
    def _prepare(self, node: _Node) -> None:
        if (node.folder / "data" / "meta.properties").exists():
            return
        node.folder.mkdir(parents=True, exist_ok=True)
        (node.folder / "server.properties").write_text(self._properties(node), encoding="utf-8")
        (node.folder / "log4j2.properties").write_text(_LOGGING, encoding="utf-8")
        tool = ["kafka.tools.StorageTool", "format", "-t", self._cluster, "-c", str(node.folder / "server.properties")]
        done = subprocess.run([*self._java(node), *tool], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            shutil.rmtree(node.folder / "data", ignore_errors=True)
            raise ConfigurationError(
                f"Kafka could not prepare its folder {node.folder}: {(done.stdout + done.stderr).strip()}"
            )

    def _properties(self, node: _Node) -> str:
        return _PROPERTIES.format(
            node=node.number,
            voters=",".join(f"{one.number}@127.0.0.1:{one.controller}" for one in self._nodes),
            port=node.port,
            controller=node.controller,
            data=node.folder / "data",
            copies=self.copies,
            in_sync=max(1, self.copies - 1),
        )

    def _java(self, node: _Node) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={(node.folder / 'log4j2.properties').as_uri()}"
        # What it does is little and ends soon: optimising its code would take both processors more than it gives back.
        lean = [f"-Xmx{self._heap}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
        return [java(), *lean, logging, "-cp", f"{jars()}/*"]

    def _launch(self, node: _Node) -> None:
        # Where the system can, Kafka ends with whoever started it, even by SIGKILL.
        guard = shutil.which("setpriv")
        guarded = [guard, "--pdeathsig", "TERM"] if guard else []
        with node.log.open("wb") as log:
            node.process = subprocess.Popen(
                [*guarded, *self._java(node), "kafka.Kafka", str(node.folder / "server.properties")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @staticmethod
    def _await(node: _Node, deadline: float) -> None:
        while _READY not in node.log.read_text(encoding="utf-8", errors="replace"):
            if node.process is None or node.process.poll() is not None:
                raise ConfigurationError(f"Kafka ended while it started:\n{node.last_lines()}")
            if time.monotonic() > deadline:
                raise ConfigurationError(f"Kafka did not start within {PATIENCE:g} s:\n{node.last_lines()}")
            time.sleep(_TICK)

    def _end(self, number: int | None, how: signal.Signals) -> None:
        ending = [node for node in self._nodes if number in (None, node.number) and node.process is not None]
        for node in ending:
            _process(node).send_signal(how)
        for node in ending:
            try:
                _process(node).wait(GRACE)
            except subprocess.TimeoutExpired:
                _process(node).kill()
                _process(node).wait()
            node.process = None


@contextmanager
def running(kafka: LocalKafka) -> Iterator[LocalKafka]:
    """Start a cluster, and stop it in the end."""
    try:
        yield kafka.start()
    finally:
        kafka.kill()


def _process(node: _Node) -> subprocess.Popen[bytes]:
    if node.process is None:
        raise RuntimeError(f"Kafka {node.number} does not run")
    return node.process


def _cluster_id() -> str:
    """Return an id such as Kafka gives itself: one that begins with a dash would be taken for an option."""
    return "A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[:21]


def _free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free, from a range that systems do not give to outgoing connections."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
