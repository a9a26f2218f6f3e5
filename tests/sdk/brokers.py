"""A Mosquitto that forgets, a subscriber that records what it sees, and the proxy between a client and a broker."""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from tests.mosquitto import Mosquitto
from tests.waiting import DEADLINE, wait_until

from iot2mqtt_conformance.proxy import Proxy


class Broker(Mosquitto):
    """A Mosquitto that forgets everything when it is stopped."""

    def __init__(self, folder: Path, *, listener: str = "allow_anonymous true") -> None:
        super().__init__(folder, "persistence false", listener=listener)


@dataclass(frozen=True, slots=True)
class Seen:
    """A message as a subscriber got it."""

    topic: str
    payload: bytes
    retain: bool
    qos: int
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.payload)


class Recorder:
    """Subscribes to everything below a base topic, and records it."""

    def __init__(self, port: int, base: str, **connect: Any) -> None:
        self.base = base
        self.root = f"{base}/v1/instances/box"
        self.all: list[Seen] = []
        self._news = threading.Condition()
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        if "username" in connect:
            self._client.username_pw_set(connect["username"], connect["password"])
        self._client.on_connect = self._connected
        self._client.on_subscribe = self._granted
        self._client.on_message = self._take
        self._client.reconnect_delay_set(1, 1)
        self._client.max_inflight_messages_set(0)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(DEADLINE)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, client: paho.Client, *_: Any) -> None:
        client.subscribe(f"{self.base}/#", 1)

    def _granted(self, *_: Any) -> None:
        self._subscribed.set()

    def _take(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        seen = Seen(message.topic, bytes(message.payload), message.retain, message.qos, time.monotonic())
        with self._news:
            self.all.append(seen)
            self._news.notify_all()

    def publish(self, suffix: str, payload: Any, *, retain: bool = False, qos: int = 1) -> None:
        """Publish below the instance: a value as JSON, bytes as they are."""
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self._client.publish(f"{self.root}/{suffix}", raw, qos=qos, retain=retain)

    def settle(self) -> None:
        """Wait until the broker has what was published."""
        wait_until(lambda: not self._client._out_messages)

    def of(self, suffix: str, since: int = 0) -> list[Seen]:
        """Return what was seen on a topic below the instance."""
        with self._news:
            return [seen for seen in self.all[since:] if seen.topic == f"{self.root}/{suffix}"]

    def mark(self) -> int:
        with self._news:
            return len(self.all)

    def wait(
        self,
        suffix: str,
        wanted: Callable[[Seen], object] = lambda _: True,
        *,
        count: int = 1,
        since: int = 0,
        seconds: float = DEADLINE,
    ) -> Seen:
        """Wait until so many wanted messages were seen on a topic below the instance, and return the last of them."""
        topic = f"{self.root}/{suffix}"

        def found() -> list[Seen]:
            return [seen for seen in self.all[since:] if seen.topic == topic and wanted(seen)]

        with self._news:
            if not self._news.wait_for(lambda: len(found()) >= count, seconds):
                tail = [(seen.topic, seen.payload[:120]) for seen in self.all[-15:]]
                raise AssertionError(f"{suffix} was not seen in time ({len(found())} of {count}); the last: {tail}")
            return found()[count - 1]

    def wait_status(self, word: str, **how: Any) -> Seen:
        return self.wait("status", lambda seen: seen.payload == word.encode(), **how)

    def command(self, device: str, values: Any, **keys: Any) -> dict[str, Any]:
        """Send a command and return its response."""
        identity = keys.pop("id", f"id-{time.monotonic_ns()}")
        self.publish(f"devices/{device}/cmd", {"id": identity, "values": values, **keys})
        return self.response(device, identity)

    def response(self, device: str, identity: str, **how: Any) -> dict[str, Any]:
        seen = self.wait(f"devices/{device}/cmd/response", lambda found: found.json["cmd_id"] == identity, **how)
        answer: dict[str, Any] = seen.json
        return answer


class Faults:
    """The conformance suite's proxy in front of a broker, on a thread of its own."""

    def __init__(self, upstream: int) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._news = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._proxy = Proxy()
        self._await(self._proxy.start(("127.0.0.1", upstream), self._tell))
        self.port = self._proxy.port

    def _tell(self, kind: str, facts: dict[str, Any], /) -> None:
        with self._news:
            self.events.append((kind, facts))
            self._news.notify_all()

    def _await(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(DEADLINE)

    def do(self, fault: Callable[[Proxy], object]) -> None:
        """Have something done to the proxy, and return when it is."""
        done: Future[None] = Future()

        def act() -> None:
            fault(self._proxy)
            done.set_result(None)

        self._loop.call_soon_threadsafe(act)
        done.result(DEADLINE)

    def packets(self, kind: str, direction: str = "c2b", since: int = 0) -> list[dict[str, Any]]:
        """Return the MQTT packets of a type that went by."""
        with self._news:
            return [
                facts
                for event, facts in self.events[since:]
                if event == "packet" and facts["type"] == kind and facts["dir"] == direction
            ]

    def wait_packets(self, kind: str, count: int, direction: str = "c2b", since: int = 0) -> list[dict[str, Any]]:
        wait_until(lambda: len(self.packets(kind, direction, since)) >= count)
        return self.packets(kind, direction, since)

    def close(self) -> None:
        self._await(self._proxy.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE)
        self._loop.close()
