"""MQTTClient: one instance's connection to the broker, as the contract asks for it.

Useful without BaseConnector, for a bridge of several processes for instance.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from iot2mqtt_sdk.clock import Clock
from iot2mqtt_sdk.contract.time import format_timestamp
from iot2mqtt_sdk.contract.topics import Topics
from iot2mqtt_sdk.errors import BrokerError, ConfigurationError, PayloadError
from iot2mqtt_sdk.jsontext import plain
from iot2mqtt_sdk.runtime.engine import Engine
from iot2mqtt_sdk.runtime.figures import Figures
from iot2mqtt_sdk.runtime.inbox import Inbox, Message
from iot2mqtt_sdk.runtime.link import Link
from iot2mqtt_sdk.runtime.messages import Messages, checked_state, named
from iot2mqtt_sdk.runtime.outbox import Outbox, Outgoing
from iot2mqtt_sdk.runtime.replies import Replies
from iot2mqtt_sdk.settings import Settings
from iot2mqtt_sdk.settings import load as load_settings

_log = logging.getLogger("iot2mqtt")

FAREWELL = 2.0
"""Seconds that the broker may take to acknowledge `offline`."""
LEAVING = 0.4
"""Seconds for the connection to close after that."""


class MQTTClient:
    """The connection of one instance.

    Whatever it publishes is strict JSON. While the broker is away the latest state of every device is kept, and the
    last thousand of all other messages; they are sent after the reconnection.

    Args:
        instance_id: INSTANCE_NAME by default.
        settings: Read from the environment by default.
        clock: The machine's by default.
        engine: Runs the handlers; one of its own by default.
        hold: Whether `online` waits for `ready()`; otherwise it follows the subscriptions at once.
        link: Makes the link to the broker; a test brings one that needs no broker.

    Raises:
        ConfigurationError: No instance name is known, or it cannot be part of a topic, or the TLS files are wrong.
    """

    def __init__(
        self,
        instance_id: str | None = None,
        *,
        settings: Settings | None = None,
        clock: Clock | None = None,
        engine: Engine | None = None,
        hold: bool = False,
        link: Callable[..., Link] = Link,
    ) -> None:
        self.settings = settings or load_settings()
        name = instance_id or self.settings.instance_name
        if name is None:
            raise ConfigurationError("the instance has no name: set INSTANCE_NAME, or pass instance_id")
        try:
            self.topics = Topics.of(self.settings.base_topic, name)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        self.instance_id = name
        self.clock = clock or Clock()
        self.on_online: Callable[[], None] | None = None
        self.engine = engine or Engine(self.clock)
        self._inbox = Inbox(
            topics=self.topics,
            engine=self.engine,
            link=lambda: self._link,
        )
        self.figures = Figures()
        self._replies = Replies(self.clock)
        self._messages = Messages(self.topics, self.settings)
        self._lock = threading.RLock()
        self._states: dict[str, dict[str, Any]] = {}
        self._hold = hold
        self._ready = False
        self._subscribed = threading.Event()
        self._online = threading.Event()
        self._outbox = Outbox(self._send)
        self._link = link(
            settings=self.settings,
            client_id=f"{self.settings.client_prefix}_{name}",
            will=self.topics.status,
            filters=self._inbox.filters,
            on_up=self._up,
            on_down=self._down,
            on_message=self._received,
            on_acknowledged=self._outbox.acknowledge,
        )

    # ------------------------------------------------------------------ connection
    def begin(self) -> None:
        """Start connecting, and go on trying in the background until `disconnect`."""
        self._ready = self._ready or not self._hold
        self.engine.start()
        self._link.start()

    def connect(self, retry_interval: float = 5, max_retries: int | None = None) -> bool:
        """Connect and wait until the instance is online.

        Args:
            retry_interval: Seconds to wait for one attempt.
            max_retries: Attempts before giving up; None or -1 means for ever.

        Returns:
            True.

        Raises:
            BrokerError: The broker could not be reached, or refused the connection, in as many attempts.
        """
        self.begin()
        attempts = 0
        while not self._online.wait(retry_interval):
            attempts += 1
            if max_retries is not None and 0 <= max_retries <= attempts:
                reason = self._link.trouble or "it does not answer"
                self.disconnect()
                raise BrokerError(
                    f"no connection to the broker {self.settings.host}:{self.settings.port} in {attempts} attempts: "
                    f"{reason}"
                )
        return True

    def ready(self) -> None:
        """Let `online` follow: the connector is initialised (clause I2M-STATUS-03)."""
        with self._lock:
            self._ready = True
            online = self._subscribed.is_set() and self._go_online()
        if online and self.on_online is not None:
            self.on_online()

    def disconnect(self, patience: float = 0.0) -> None:
        """Say `offline`, wait until the broker has it, and leave (clause I2M-STATUS-05).

        Args:
            patience: Seconds to wait for the connection, where there is none yet on which `offline` could be said.
        """
        self._subscribed.wait(patience)
        with self._lock:
            self._online.clear()
            self._ready = False
            there = self._subscribed.is_set()
            farewell = self._link.publish(self.topics.status, b"offline", qos=1, retain=True) if there else None
        if farewell is not None:
            try:
                farewell.wait_for_publish(FAREWELL)
            except (RuntimeError, ValueError) as error:
                _log.warning("the broker did not take `offline`: %s", error)
        self._link.stop(LEAVING)
        self.engine.close()

    @property
    def connected(self) -> bool:
        """Whether the instance is online now."""
        return self._online.is_set()

    @property
    def base_topic(self) -> str:
        """MQTT_BASE_TOPIC; every topic of the instance is below `{base_topic}/v1/instances/{instance_id}`."""
        return self.topics.base

    @property
    def trouble(self) -> str | None:
        """Why there is no connection, or None."""
        return self._link.trouble

    # ------------------------------------------------------------------ on the link's thread
    def _up(self) -> None:
        with self._lock:
            self._subscribed.set()
            online = self._ready and self._go_online()
        if online and self.on_online is not None:
            self.on_online()

    def _go_online(self) -> bool:
        if self._link.publish(self.topics.status, b"online", qos=1, retain=True) is None:
            return False
        self._online.set()
        self.figures.count_connection(self.clock.monotonic())
        _log.info("online: %s", self.topics.root)
        self._outbox.open()
        return True

    def _down(self) -> None:
        with self._lock:
            self._subscribed.clear()
            self._online.clear()
        self._outbox.close()

    def _send(self, message: Outgoing) -> int | None:
        text = message.text
        if message.stamped:
            stamp = format_timestamp(self.clock.now()).encode()
            text = b'{"timestamp":"%b"%b%b' % (stamp, b"" if text == b"{}" else b",", text[1:])
        info = self._link.publish(message.topic, text, qos=message.qos, retain=message.retain)
        if info is None:
            return None
        self.figures.count_published()
        return info.mid

    def _received(self, topic: str, payload: bytes, retain: bool) -> None:
        self.figures.count_received()
        self._inbox.take(topic, payload, retain=retain)

    # ------------------------------------------------------------------ receiving
    def route(self, pattern: str, handler: Callable[[Message], None]) -> None:
        """Call a handler with every message that a filter below the instance matches, on the network thread.

        Args:
            pattern: A filter below the instance, such as `devices/+/cmd`.
            handler: Must return at once: meanwhile nothing is sent or received. `subscribe` is for all other handlers.

        Raises:
            PayloadError: It is no topic filter.
        """
        self._inbox.route(pattern, handler)

    def unroute(self, pattern: str, handler: Callable[[Message], None]) -> None:
        """Take back what `route` has asked for."""
        self._inbox.unroute(pattern, handler)

    def route_outside(self, pattern: str, handler: Callable[[Message], None], patience: float = 0.0) -> None:
        """Do as `route` does for a filter outside the instance; the message's suffix is its whole topic.

        Args:
            pattern: The whole filter.
            handler: Must return at once.
            patience: Seconds to wait for the broker's acknowledgement, where there is a connection already.
        """
        self._inbox.route_outside(pattern, handler, patience)

    def unroute_outside(self, pattern: str) -> None:
        """Take back what `route_outside` has asked for."""
        self._inbox.unroute_outside(pattern)

    def subscribe(self, pattern: str, handler: Callable[[str, Any], Any]) -> None:
        """Call a handler with topic and parsed JSON of every message that a filter below the instance matches.

        Handlers run off the network thread and may take their time: the messages of one device or group are handled in
        order, those of different ones side by side. Payloads that are no JSON are logged and left out, and so are
        retained commands.

        Args:
            pattern: A filter below the instance, such as `devices/+/cmd`.
            handler: A function or coroutine function, called as `handler(topic, payload)`; an empty payload is None.

        Raises:
            PayloadError: It is no topic filter.
        """
        self._inbox.handle(pattern, handler)

    # ------------------------------------------------------------------ publishing
    def publish(self, topic: str, payload: Any, qos: int = 1, retain: bool = False) -> None:
        """Publish a value as JSON.

        Args:
            topic: A topic below the instance, such as `devices/lamp/events`, or a whole one that begins with
                `{base_topic}/v1/`.
            payload: Anything that JSON has a form for. A text or bytes that already are a JSON object or array are sent
                as that. On the status topic `online` and `offline` go as the bare words that the contract asks for.
            qos: 0, 1 or 2.
            retain: Whether the broker keeps it.

        Raises:
            PayloadError: The payload has no form in JSON.
        """
        whole = topic if topic.startswith(f"{self.topics.base}/v1/") else self.topics.below(topic)
        if whole == self.topics.status:
            self._say_status(payload)
        else:
            self._outbox.put([self._messages.value(whole, payload, qos, retain=retain)])

    def _say_status(self, word: Any) -> None:
        if word not in ("online", "offline"):
            raise PayloadError(f"the status of an instance is online or offline (clause I2M-STATUS-07), not {word!r}")
        with self._lock:
            if self._online.is_set():
                self._link.publish(self.topics.status, str(word).encode(), qos=1, retain=True)

    def publish_state(self, device_id: str, state: Mapping[str, Any]) -> None:
        """Publish a device's whole state, and each property on a topic of its own.

        Args:
            device_id: The device.
            state: Value by property name.

        Raises:
            PayloadError: A value has no form in JSON, or a name cannot be part of a topic.
        """
        cleaned = checked_state(device_id, state)
        messages = self._messages.state(device_id, cleaned)
        with self._lock:
            self._states[device_id] = cleaned
        self._outbox.put(messages)

    def publish_part(self, device_id: str, state: Mapping[str, Any]) -> None:
        """Publish some of a device's properties, which the broker must not keep (clause I2M-GET-03)."""
        self._outbox.put([self._messages.part(device_id, state)])

    def republish_state(self, device_id: str) -> bool:
        """Publish a device's last state again; False where there is none."""
        state = self.last_state(device_id)
        if state is not None:
            self._outbox.put(self._messages.state(device_id, state))
        return state is not None

    def last_state(self, device_id: str) -> dict[str, Any] | None:
        """Return the state that was last published for a device, or None."""
        with self._lock:
            return self._states.get(device_id)

    def publish_event(self, device_id: str, event: str, data: Any = None) -> None:
        """Publish an event of a device, on its own topic and on that of all instances (clause I2M-EVT-01).

        Raises:
            PayloadError: The data have no form in JSON.
        """
        self._outbox.put(self._messages.event(device_id, event, data))

    def publish_error(
        self,
        device_id: str,
        error_code: str,
        message: str,
        severity: str = "error",
        retry_info: Mapping[str, Any] | None = None,
    ) -> None:
        """Publish that something is wrong with a device (clause I2M-ERR-01).

        Args:
            device_id: The device.
            error_code: For programs, such as `CONNECTION_FAILED`.
            message: For people.
            severity: info, warning, error or critical.
            retry_info: attempt, max_attempts and next_retry, where the connector tries again.

        Raises:
            PayloadError: There is no such severity, or retry_info has no form in JSON.
        """
        self._outbox.put([self._messages.error(device_id, error_code, message, severity, retry_info)])

    def publish_telemetry(self, device_id: str, data: Mapping[str, Any]) -> None:
        """Publish measurements of a device that are not part of its state.

        Raises:
            PayloadError: The data have no form in JSON.
        """
        self.say(f"devices/{named(device_id)}/telemetry", {"device_id": device_id, "data": data})

    def publish_discovered(self, devices: list[Any]) -> None:
        """Publish devices that were found, and could be configured.

        Raises:
            PayloadError: The devices have no form in JSON.
        """
        self.say("discovered", {"devices": devices})

    def say(self, suffix: str, body: Mapping[str, Any]) -> None:
        """Publish an object below the instance with the time of its publication, not retained."""
        self._outbox.put([self._messages.object(suffix, body)])

    def publish_outside(self, topic: str, payload: Any, qos: int = 1, retain: bool = True) -> None:
        """Publish a value outside the instance, where the contract allows it (clause I2M-PUB-01)."""
        self._outbox.put([self._messages.value(topic, payload, qos, retain=retain)])

    def forget(self, topic: str) -> None:
        """Clear what the broker retains on a topic (clause I2M-LIFE-11)."""
        self._link.publish(topic, b"", qos=1, retain=True)

    # ------------------------------------------------------------------ commanding
    def send_command(
        self,
        device_id: str,
        command: Mapping[str, Any],
        timeout: float = 5.0,
        callback: Callable[[dict[str, Any]], Any] | None = None,
    ) -> str:
        """Send a command to a device of this instance, once its response cannot be missed any more.

        Args:
            device_id: The device.
            command: Wanted value by property name.
            timeout: Seconds that the device may take.
            callback: Called with the response, on the network thread.

        Returns:
            The command's id, for `wait_for_response`.

        Raises:
            BrokerError: The broker does not grant the subscription to responses.
            PayloadError: The values have no form in JSON.
        """
        values = plain(command)
        self._replies.follow(self._inbox, timeout)
        identity = str(uuid4())
        self._replies.expect(identity, callback)
        # Its time is that of this call: a command that waits for the broker too long is stale, not fresh.
        stamp = format_timestamp(self.clock.now())
        body = {"id": identity, "timestamp": stamp, "values": values, "timeout": max(1, round(timeout * 1000))}
        self.publish(self.topics.device(named(device_id), "cmd"), body)
        return identity

    def wait_for_response(self, cmd_id: str, timeout: float = 5.0) -> dict[str, Any] | None:
        """Wait for the response to a command that `send_command` has sent.

        Args:
            cmd_id: The command's id.
            timeout: Seconds to wait.

        Returns:
            The response, or None where none has come in time.
        """
        return self._replies.wait(cmd_id, timeout)
