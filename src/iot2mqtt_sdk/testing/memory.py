"""MQTTClient without a broker: what it publishes is recorded, what it is sent comes from the test."""

import json
from collections import deque
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho

from iot2mqtt_sdk.client import MQTTClient
from iot2mqtt_sdk.contract.topics import matches
from iot2mqtt_sdk.runtime.link import Link
from iot2mqtt_sdk.settings import Settings
from iot2mqtt_sdk.testing.clock import VirtualClock
from iot2mqtt_sdk.testing.engine import SteppedEngine
from iot2mqtt_sdk.testing.records import Published, Records


class _Taken(paho.MQTTMessageInfo):
    """A message that the broker has already."""

    def wait_for_publish(self, timeout: float | None = None) -> None:
        """Return at once."""


class MemoryLink(Link):
    """A broker that has one client, and does for it what a broker does: it retains, and it knows who subscribes.

    Args:
        clock: Says when to hand messages over.
        on_publish: Called with topic, payload, QoS and retain flag of what the client publishes.
        how: What every link is made with.

    Attributes:
        retained: Payload by topic.
    """

    def __init__(self, clock: VirtualClock, on_publish: Callable[[str, bytes, int, bool], None], **how: Any) -> None:
        super().__init__(**how)
        self.retained: dict[str, bytes] = {}
        self._on_publish = on_publish
        self._there = False
        self._number = 0
        self._subscriptions: list[str] = []
        self._waiting: deque[tuple[str, bytes, bool]] = deque()
        clock.drive(self)

    # ------------------------------------------------------------------ what every link does
    def start(self) -> None:
        """Connect."""
        if self._there:
            return
        self._there = True
        for topic_filter in self._filters():
            self.subscribe(topic_filter)
        self._on_up()

    def stop(self, grace: float) -> None:  # noqa: ARG002 - a link's signature
        """Leave."""
        self._leave()

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> paho.MQTTMessageInfo | None:
        """Take a message; None where there is no connection."""
        if not self._there:
            return None
        self._number += 1
        self._on_publish(topic, payload, qos, retain)
        self.inject(topic, payload, retain=retain)
        self._on_acknowledged(self._number)
        return _Taken(self._number)

    def subscribe(self, topic_filter: str, patience: float = 0.0) -> bool:  # noqa: ARG002 - a link's signature
        """Subscribe, and hand over what is retained."""
        if self._there:
            self._subscriptions.append(topic_filter)
            found = [(topic, text) for topic, text in self.retained.items() if matches(topic_filter, topic)]
            self._waiting.extend((topic, text, True) for topic, text in found)
        return self._there

    def unsubscribe(self, topic_filter: str) -> None:
        """Unsubscribe."""
        self._subscriptions.remove(topic_filter)

    # ------------------------------------------------------------------ what only this one does
    def inject(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Do what a broker does with a message, whoever it is from."""
        if retain and payload:
            self.retained[topic] = payload
        elif retain:
            self.retained.pop(topic, None)
        if any(matches(topic_filter, topic) for topic_filter in self._subscriptions):
            self._waiting.append((topic, payload, False))

    def cut(self) -> None:
        """Lose the connection, so that the broker publishes the last will."""
        if self._there:
            self.retained[self._will] = b"offline"
            self._leave()

    def _leave(self) -> None:
        if self._there:
            self._there = False
            self._subscriptions.clear()
            self._waiting.clear()
            self._on_down()

    def due(self) -> float | None:
        """Return None: messages wait for no time."""
        return None

    def work(self) -> bool:
        """Hand over the next message; False where there is none."""
        if not self._waiting:
            return False
        self._on_message(*self._waiting.popleft())
        return True


class MemoryClient(MQTTClient, Records):
    """A connection of one instance that needs no broker; it has all that MQTTClient has.

    Args:
        instance_id: The instance.
        settings: The usual ones by default, whatever the environment says.
        hold: As with MQTTClient.

    Attributes:
        clock: Its virtual clock; handlers run while it settles or advances.
        published: Everything that was published, in order.
    """

    clock: VirtualClock

    def __init__(self, instance_id: str = "test", *, settings: Settings | None = None, hold: bool = False) -> None:
        clock = VirtualClock()
        Records.__init__(self, [])
        MQTTClient.__init__(
            self,
            instance_id,
            settings=settings or Settings(),
            clock=clock,
            engine=SteppedEngine(clock),
            hold=hold,
            link=self._new_link,
        )

    def _new_link(self, **how: Any) -> MemoryLink:
        self._memory = MemoryLink(self.clock, self._record, **how)
        return self._memory

    def _record(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        text = payload.decode()
        if topic == self.topics.status:
            value: Any = text
        else:
            value = json.loads(text) if text else None
        suffix = self.topics.suffix_of(topic)
        self.published.append(Published(topic, suffix, value, qos, retain, self.clock.monotonic()))

    @property
    def status(self) -> str | None:
        """What the broker retains on the status topic: `online`, `offline`, or None for nothing."""
        payload = self._memory.retained.get(self.topics.status)
        return None if payload is None else payload.decode()

    def receive(self, suffix: str, payload: Any = None, *, retain: bool = False) -> None:
        """Have somebody publish to the instance, and let it do what it does on that.

        Args:
            suffix: A topic below the instance, such as `devices/lamp/cmd`.
            payload: A value, which goes as JSON; None goes as an empty payload, bytes as they are.
            retain: Whether the broker keeps it.
        """
        text = b"" if payload is None else payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self._memory.inject(self.topics.below(suffix), text, retain=retain)
        self.clock.settle()

    def cut(self) -> None:
        """Lose the connection: the broker says `offline`, and nothing gets through until `restore`."""
        self._memory.cut()
        self.clock.settle()

    def restore(self) -> None:
        """Have the connection again."""
        self._memory.start()
        self.clock.settle()
