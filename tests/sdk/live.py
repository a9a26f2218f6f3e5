"""A real broker, somebody who listens to it, and an instance file: what tests of a running connector need."""

import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

SECONDS = 15.0
"""What everything may take at the most."""


@contextmanager
def mosquitto(folder: Path, port: int, config: str = "allow_anonymous true") -> Iterator[int]:
    """Run a broker that remembers nothing of earlier runs, and yield its port."""
    file = folder / "mosquitto.conf"
    file.write_text(f"user root\nlistener {port} 127.0.0.1\npersistence false\n{config}\n", encoding="utf-8")
    with subprocess.Popen(
        ["mosquitto", "-c", str(file)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        assert any(re.search(r"mosquitto version .* running", line) for line in process.stdout)
        reader = threading.Thread(target=process.stdout.read, daemon=True)
        reader.start()
        try:
            yield port
        finally:
            process.kill()  # one that has only just begun to run misses SIGTERM
            reader.join(SECONDS)


class Ear:
    """Hears everything on a broker."""

    def __init__(self, port: int, pattern: str = "#") -> None:
        self.heard: list[tuple[str, str]] = []
        self._news = threading.Condition()
        self._pattern = pattern
        ready = threading.Event()
        self._client = client = paho.Client(CallbackAPIVersion.VERSION2)
        client.on_connect = self._connected
        client.on_subscribe = lambda *_: ready.set()
        client.on_message = self._take
        client.reconnect_delay_set(1, 1)
        client.connect("127.0.0.1", port)
        client.loop_start()
        assert ready.wait(SECONDS)

    def _connected(self, client: paho.Client, *_: Any) -> None:
        client.subscribe(self._pattern, 1)

    def _take(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        with self._news:
            self.heard.append((message.topic, bytes(message.payload).decode()))
            self._news.notify_all()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: str, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, 1, retain).wait_for_publish(SECONDS)

    def on(self, topic: str) -> list[str]:
        """Return what was heard on a topic so far."""
        with self._news:
            return [payload for found, payload in self.heard if found == topic]

    def until(self, topic: str, wanted: Callable[[str], bool] = lambda _: True, *, after: int = 0) -> str:
        """Wait for a payload on a topic, and return it; `after` leaves out as many that came first."""
        found: list[str] = []

        def there() -> bool:
            found[:] = [payload for name, payload in self.heard if name == topic][after:]
            found[:] = [payload for payload in found if wanted(payload)]
            return bool(found)

        with self._news:
            assert self._news.wait_for(there, SECONDS), f"nothing of the kind on {topic}; heard: {self.heard}"
        return found[0]


def retained(port: int, pattern: str) -> dict[str, str]:
    """Return what a broker retains: a marker that is published after the subscription tells when all has come."""
    ear = Ear(port, "#")
    try:
        ear.publish("end/of/retained", "here")
        ear.until("end/of/retained")
        return {topic: payload for topic, payload in ear.heard if paho.topic_matches_sub(pattern, topic) and payload}
    finally:
        ear.close()


def write_instance(folder: Path, name: str, **document: Any) -> None:
    (folder / "instances").mkdir(exist_ok=True)
    (folder / "instances" / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
