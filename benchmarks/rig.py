"""What the benchmarks share: a broker, a program, and an observer that notes when messages arrive."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import paho.mqtt.client as mqtt
import psutil
from paho.mqtt.enums import CallbackAPIVersion

from iot2mqtt_conformance.ports import free_port, listens

PROGRAMS = Path(__file__).parent / "programs"
PATIENCE = 30.0


@contextmanager
def mosquitto(*more: str) -> Iterator[int]:
    """Run Mosquitto on a free port, with more lines of configuration."""
    with TemporaryDirectory(prefix="iot2mqtt-bench-") as folder:
        port = free_port()
        file = Path(folder) / "mosquitto.conf"
        lines = [f"listener {port} 127.0.0.1", "allow_anonymous true", "set_tcp_nodelay true", "max_queued_messages 0"]
        file.write_text("\n".join([*lines, *more, "user root", ""]), encoding="utf-8")
        program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            sys.exit("the benchmark needs Mosquitto: install it so that the program mosquitto is found")
        with subprocess.Popen([program, "-c", str(file)], stderr=subprocess.DEVNULL) as process:
            while not listens(process.pid, port) and process.poll() is None:
                time.sleep(0.01)
            try:
                yield port
            finally:
                process.terminate()


@dataclass
class Observer:
    """Notes topic and time of every message, and lets one wait for them."""

    port: int
    times: dict[str, list[float]] = field(default_factory=dict)
    payloads: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._news = threading.Condition()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = self._take
        self.client.on_subscribe = lambda *_: self._tell("ready")
        self.client.connect("127.0.0.1", self.port)
        self.client.subscribe("#", 0)
        self.client.loop_start()
        self.until(lambda: "ready" in self.times)

    def _take(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        self.payloads[message.topic] = bytes(message.payload)
        self._tell(message.topic)

    def _tell(self, topic: str) -> None:
        with self._news:
            self.times.setdefault(topic, []).append(time.perf_counter())
            self._news.notify_all()

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something to be so."""
        with self._news:
            if not self._news.wait_for(condition, PATIENCE):
                sys.exit("a program under measurement did not do what it should: its figures would mean nothing")

    def clear(self) -> None:
        """Forget what was noted."""
        with self._news:
            self.times.clear()
            self.payloads.clear()

    def close(self) -> None:
        """Leave the broker."""
        self.client.disconnect()
        self.client.loop_stop()


@dataclass(frozen=True)
class Running:
    """A program that is online."""

    root: str
    process: psutil.Process
    start: float
    """Milliseconds from the start of the process to `online` at the observer."""

    def megabytes(self) -> float:
        """Return its resident memory (10^6 bytes)."""
        return self.process.memory_info().rss / 1e6

    def cpu(self) -> float:
        """Return the seconds of a core that it has used."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def running(program: str, observer: Observer, devices: list[dict[str, Any]], interval: float) -> Iterator[Running]:
    """Run a program with a configuration until the block ends."""
    name = f"bench_{program}"
    root = f"IoT2mqtt/v1/instances/{name}"
    with TemporaryDirectory(prefix="iot2mqtt-bench-") as folder:
        (Path(folder) / "instances").mkdir()
        document = {"update_interval": interval, "devices": devices}
        (Path(folder) / "instances" / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
        variables = {
            "IOT2MQTT_PATH": folder,
            "INSTANCE_NAME": name,
            "MQTT_HOST": "127.0.0.1",
            "MQTT_PORT": str(observer.port),
            "LOG_LEVEL": "ERROR",
            "PATH": os.environ["PATH"],
        }
        observer.clear()
        began = time.perf_counter()
        with subprocess.Popen([sys.executable, str(PROGRAMS / f"{program}.py")], env=variables) as process:
            try:
                observer.until(lambda: observer.payloads.get(f"{root}/status") == b"online")
                start = (observer.times[f"{root}/status"][-1] - began) * 1000
                yield Running(root, psutil.Process(process.pid), start)
            finally:
                process.terminate()
