"""MQTTClient: one instance's connection to the broker, as the contract asks for it.

Useful without BaseConnector, for a bridge of several processes for instance.
"""

import logging
import socket
import ssl
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from iot2mqtt_sdk.clock import Clock
from iot2mqtt_sdk.contract.time import format_timestamp
from iot2mqtt_sdk.contract.topics import Topics, check_level
from iot2mqtt_sdk.errors import BrokerError, ConfigurationError, PayloadError
from iot2mqtt_sdk.jsontext import decode, encode, plain
from iot2mqtt_sdk.settings import Settings
from iot2mqtt_sdk.settings import load as load_settings

_log = logging.getLogger("iot2mqtt")

FILTERS = ("devices/+/cmd", "devices/+/get", "groups/+/cmd", "meta/request/+")
"""What every connector subscribes to, before it says `online` (clauses I2M-SUB-01 to 04)."""
FAREWELL = 1.5
"""Seconds that the broker may take to acknowledge `offline`."""
WAITING = 1000
"""Messages other than state that are kept while the broker is away; the oldest go first."""
LONGEST_DELAY = 2
"""Seconds between two attempts to connect, at the most (clause I2M-LIFE-05 allows 10 for all)."""


@dataclass(frozen=True, slots=True)
class Message:
    """A received message.

    Attributes:
        suffix: The topic below the instance.
        payload: The bytes as they came.
        retain: Whether it was kept by the broker from earlier.
    """

    suffix: str
    payload: bytes
    retain: bool

    @property
    def levels(self) -> list[str]:
        """The levels of the suffix."""
        return self.suffix.split("/")


@dataclass(frozen=True, slots=True)
class _Waiting:
    suffix: str
    body: dict[str, Any]
    qos: int
    retain: bool


class MQTTClient:
    """The connection of one instance.

    Args:
        instance_id: INSTANCE_NAME by default.
        settings: Read from the environment by default.
        clock: The machine's by default.
        hold: Whether `online` waits for `ready()`; otherwise it follows the subscriptions at once.

    Raises:
        ConfigurationError: No instance name is known, or it cannot be part of a topic.
    """

    def __init__(
        self,
        instance_id: str | None = None,
        *,
        settings: Settings | None = None,
        clock: Clock | None = None,
        hold: bool = False,
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
        self._lock = threading.RLock()
        self._handlers: list[tuple[str, Callable[[Message], None]]] = []
        self._waiting: deque[_Waiting] = deque(maxlen=WAITING)
        self._states: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._unsent: set[str] = set()
        self._ready = not hold
        self._asked: int | None = None
        self._subscribed = False
        self._said_online: paho.MQTTMessageInfo | None = None
        self._online = threading.Event()
        self._refusal: str | None = None
        self._failed = threading.Event()
        self._paho = self._new_paho()

    # ------------------------------------------------------------------ connection
    def _new_paho(self) -> paho.Client:
        settings = self.settings
        version = paho.MQTTv5 if settings.version == "5" else paho.MQTTv311
        client_id = f"{settings.client_prefix}_{self.instance_id}"
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version)
        if settings.username is not None or settings.password is not None:
            client.username_pw_set(settings.username or "", settings.password)
        client.will_set(self.topics.status, "offline", qos=1, retain=True)
        client.reconnect_delay_set(1, LONGEST_DELAY)
        client.max_inflight_messages_set(100)
        if settings.tls:
            self._set_tls(client)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_socket_open = _send_at_once
        return client

    def _set_tls(self, client: paho.Client) -> None:
        settings = self.settings
        try:
            client.tls_set(
                ca_certs=settings.ca_certs,
                certfile=settings.certfile,
                keyfile=settings.keyfile,
                tls_version=ssl.PROTOCOL_TLS_CLIENT,
            )
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"TLS cannot be set up from MQTT_CA_CERTS, MQTT_CERTFILE and MQTT_KEYFILE: {error}"
            ) from None

    def begin(self) -> None:
        """Start connecting, and go on trying in the background until `disconnect`."""
        self._paho.connect_async(self.settings.host, self.settings.port, self.settings.keepalive)
        self._paho.loop_start()

    def connect(self, retry_interval: float = 5, max_retries: int = -1) -> bool:
        """Connect and wait until the instance is online.

        Args:
            retry_interval: Seconds that one attempt may take.
            max_retries: Attempts before giving up; -1 means for ever.

        Returns:
            True.

        Raises:
            BrokerError: The broker could not be reached, or refused the connection, in as many attempts.
        """
        self.begin()
        attempt = 0
        while not self._online.wait(retry_interval):
            attempt += 1
            if 0 <= max_retries <= attempt:
                reason = self._refusal or "no answer"
                self._end()
                raise BrokerError(f"no connection to the broker {self.settings.host}:{self.settings.port}: {reason}")
        return True

    def ready(self) -> None:
        """Let `online` follow: the connector is initialised (clause I2M-STATUS-03)."""
        with self._lock:
            self._ready = True
            if self._subscribed:
                self._go_online()

    def disconnect(self) -> None:
        """Say `offline`, wait until the broker has it, and leave (clause I2M-STATUS-05)."""
        if self._paho.is_connected():
            farewell = self._paho.publish(self.topics.status, "offline", qos=1, retain=True)
            try:
                farewell.wait_for_publish(FAREWELL)
            except (RuntimeError, ValueError) as error:
                _log.warning("the broker did not take `offline`: %s", error)
        self._end()

    def _end(self) -> None:
        self._online.clear()
        self._paho.disconnect()
        self._paho.loop_stop()

    @property
    def connected(self) -> bool:
        """Whether the instance is online now."""
        return self._online.is_set()

    @property
    def base_topic(self) -> str:
        """What every topic of the instance begins with."""
        return self.topics.root

    # ------------------------------------------------------------------ paho's callbacks, on the network thread
    def _on_connect(self, client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._refusal = f"the broker refused the connection: {reason}"
            _log.error("%s; trying again", self._refusal)
            return
        with self._lock:
            filters = dict.fromkeys([*FILTERS, *(pattern for pattern, _ in self._handlers)])
            _, self._asked = client.subscribe([(self.topics.below(f), 1) for f in filters])

    def _on_connect_fail(self, _client: paho.Client, _data: Any) -> None:
        self._refusal = "it cannot be reached"
        _log.warning("the broker %s:%s cannot be reached; trying again", self.settings.host, self.settings.port)

    def _on_subscribe(self, _client: paho.Client, _data: Any, mid: int, reasons: Any, _properties: Any) -> None:
        refused = [reason for reason in reasons if reason.is_failure]
        if refused:
            _log.error(
                "the broker refused %d subscriptions below %s: mend its access rules", len(refused), self.topics.root
            )
        with self._lock:
            if mid != self._asked:
                return
            self._subscribed = True
            if self._ready:
                self._go_online()

    def _go_online(self) -> None:
        self._said_online = self._paho.publish(self.topics.status, "online", qos=1, retain=True)
        self._online.set()
        _log.info("online: %s", self.topics.root)
        for device_id in list(self._unsent):
            self._send_state(device_id, self._states[device_id])
        self._unsent.clear()
        while self._waiting:
            message = self._waiting.popleft()
            self._send(message.suffix, message.body, message.qos, retain=message.retain)
        if self.on_online is not None:
            self.on_online()

    def _on_disconnect(self, _client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        was_online = self._online.is_set()
        self._online.clear()
        self._subscribed = False
        self._forget_online()
        if was_online:
            _log.warning("the connection to the broker was lost (%s); trying again", reason)

    def _forget_online(self) -> None:
        """Keep paho from sending an unacknowledged `online` again before the new subscriptions (clause I2M-STATUS-03).

        Paho has no public way to take back a message; every other one is to be sent again.
        """
        said, self._said_online = self._said_online, None
        if said is None or said.is_published():
            return
        client = self._paho
        with client._out_message_mutex:  # noqa: SLF001
            if client._out_messages.pop(said.mid, None) is not None:  # noqa: SLF001
                client._inflight_messages -= 1  # noqa: SLF001

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        suffix = self.topics.suffix_of(message.topic)
        if suffix is None:
            return
        received = Message(suffix, bytes(message.payload), message.retain)
        for pattern, handler in list(self._handlers):
            if paho.topic_matches_sub(pattern, suffix):
                try:
                    handler(received)
                except Exception:  # noqa: BLE001 - whatever an author's handler raises
                    # One message that a handler stumbles over must not end the network thread.
                    _log.exception("the handler of %s failed on a message on %s", pattern, suffix)

    # ------------------------------------------------------------------ receiving
    def route(self, pattern: str, handler: Callable[[Message], None]) -> None:
        """Call a handler with every message that a filter below the instance matches, on the network thread.

        Args:
            pattern: A filter below the instance, such as `devices/+/cmd`.
            handler: Must return quickly; what takes long belongs on a thread of its own.
        """
        with self._lock:
            known = {*FILTERS, *(p for p, _ in self._handlers)}
            self._handlers.append((pattern, handler))
            if self._online.is_set() and pattern not in known:
                self._paho.subscribe(self.topics.below(pattern), 1)

    def subscribe(self, pattern: str, handler: Callable[[str, Any], None]) -> None:
        """Call a handler with topic and parsed JSON of every message that a filter below the instance matches.

        Args:
            pattern: A filter below the instance, such as `devices/+/cmd`.
            handler: Called as `handler(topic, payload)`; messages that are no JSON are logged and left out.
        """

        def parsed(message: Message) -> None:
            try:
                payload = decode(message.payload) if message.payload else None
            except ValueError as error:
                _log.warning("a message on %s is left out: %s", message.suffix, error)
                return
            handler(self.topics.below(message.suffix), payload)

        self.route(pattern, parsed)

    # ------------------------------------------------------------------ publishing
    def publish(self, suffix: str, payload: Any, qos: int = 1, retain: bool = False) -> None:
        """Publish a value as JSON on a topic below the instance.

        Args:
            suffix: The topic below the instance.
            payload: Anything that JSON has a form for.
            qos: 0, 1 or 2.
            retain: Whether the broker keeps it.

        Raises:
            PayloadError: The payload has no form in JSON.
        """
        self._paho.publish(self.topics.below(suffix), encode(payload), qos=qos, retain=retain)

    def publish_state(self, device_id: str, state: dict[str, Any]) -> None:
        """Publish a device's whole state, and each property on a topic of its own.

        While the broker is away the latest state of each device is kept, and published once it is back.

        Args:
            device_id: The device.
            state: Value by property name.

        Raises:
            PayloadError: A value has no form in JSON, or a name cannot be part of a topic.
        """
        cleaned = _checked_state(device_id, state)
        with self._lock:
            self._states[device_id] = cleaned
            if self._online.is_set():
                self._send_state(device_id, cleaned)
            else:
                self._unsent.add(device_id)

    def _send_state(self, device_id: str, state: dict[str, Any]) -> None:
        qos, retain = self.settings.qos, self.settings.retain
        self._send(f"devices/{device_id}/state", {"device_id": device_id, "state": state}, qos, retain=retain)
        for name, value in state.items():
            self._paho.publish(self.topics.device(device_id, f"state/{name}"), encode(value), qos=qos, retain=retain)

    def publish_part(self, device_id: str, state: dict[str, Any]) -> None:
        """Publish some of a device's properties, which the broker must not keep (clause I2M-GET-03)."""
        cleaned = _checked_state(device_id, state)
        self._send(
            f"devices/{device_id}/state", {"device_id": device_id, "state": cleaned}, self.settings.qos, retain=False
        )

    def republish_state(self, device_id: str) -> bool:
        """Publish a device's last state again; False where there is none."""
        with self._lock:
            state = self._states.get(device_id)
            if state is None:
                return False
            self._send_state(device_id, state)
            return True

    def last_state(self, device_id: str) -> dict[str, Any] | None:
        """Return the state that was last published for a device, or None."""
        with self._lock:
            return self._states.get(device_id)

    def publish_event(self, device_id: str, event: str, data: Any = None) -> None:
        """Publish an event of a device, on its own topic and on that of all instances (clause I2M-EVT-01).

        Raises:
            PayloadError: The data have no form in JSON.
        """
        body = {"event": event, "data": plain({} if data is None else data)}
        self.say(f"devices/{device_id}/events", body)
        everyone = {"instance_id": self.instance_id, "device_id": device_id, "timestamp": self._stamp(), **body}
        if self._online.is_set():
            self._paho.publish(self.topics.events, encode(everyone), qos=1)

    def publish_error(
        self,
        device_id: str,
        error_code: str,
        message: str,
        severity: str = "error",
        retry_info: dict[str, Any] | None = None,
    ) -> None:
        """Publish that something is wrong with a device (clause I2M-ERR-01).

        Args:
            device_id: The device.
            error_code: For programs, such as `CONNECTION_FAILED`.
            message: For people.
            severity: info, warning, error or critical.
            retry_info: attempt, max_attempts and next_retry, where the connector tries again.
        """
        body: dict[str, Any] = {"error_code": error_code, "message": message, "severity": severity}
        if retry_info is not None:
            body["retry_info"] = plain(retry_info)
        self.say(f"devices/{device_id}/error", body)

    def publish_telemetry(self, device_id: str, data: dict[str, Any]) -> None:
        """Publish measurements of a device that are not part of its state.

        Raises:
            PayloadError: The data have no form in JSON.
        """
        self.say(f"devices/{device_id}/telemetry", {"device_id": device_id, "data": plain(data)})

    def say(self, suffix: str, body: dict[str, Any], *, retain: bool = False) -> None:
        """Publish an object with the time of its publication; while the broker is away it waits (clause I2M-PUB-06)."""
        with self._lock:
            if self._online.is_set():
                self._send(suffix, body, 1, retain=retain)
            else:
                self._waiting.append(_Waiting(suffix, body, 1, retain))

    def _send(self, suffix: str, body: dict[str, Any], qos: int, *, retain: bool) -> None:
        self._paho.publish(
            self.topics.below(suffix), encode({"timestamp": self._stamp(), **body}), qos=qos, retain=retain
        )

    def _stamp(self) -> str:
        return format_timestamp(self.clock.now())


def _send_at_once(_client: paho.Client, _data: Any, connection: Any) -> None:
    """Switch Nagle's algorithm off: it holds a small packet back for 40 ms when another is on its way."""
    if isinstance(connection, socket.socket):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _checked_state(device_id: str, state: dict[str, Any]) -> dict[str, Any]:
    cleaned = plain(state)
    if not isinstance(cleaned, dict):
        raise PayloadError(f"the state of {device_id} is a {type(state).__name__}: return a dict of property to value")
    try:
        for name in cleaned:
            check_level(name, f"property of {device_id}")
    except ValueError as error:
        raise PayloadError(str(error)) from None
    return cleaned
