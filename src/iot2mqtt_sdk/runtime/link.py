"""The link to the broker: one thread that connects, subscribes, and connects again for as long as it takes.

Every connection gets a paho client of its own. paho would otherwise send again, before anything is subscribed, what the
last connection left unacknowledged: an old `online` for instance (clause I2M-STATUS-03).
"""

import logging
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from iot2mqtt_sdk.errors import ConfigurationError
from iot2mqtt_sdk.runtime.pump import Pump
from iot2mqtt_sdk.settings import Settings

_log = logging.getLogger("iot2mqtt")

LONGEST_DELAY = 3.0
"""Seconds between two attempts to connect, at the most (clause I2M-LIFE-05 allows 10 for everything)."""
STABLE = 5.0
"""Seconds that a connection must last to be followed by a quick attempt; others take each other's session over."""
TAKEN_OVER = 3
"""Connections in a row that were good and did not last, from which on another process of the same name is suspected."""
CONNACK = 3.0, 10.0
"""Seconds that the broker may take to answer CONNECT, at the least and at the most; the keep-alive is in between."""
_PATIENCE = 0.7
"""Part of the keep-alive after which a silent broker is asked, and again given up (clause I2M-STATUS-09)."""
_STEPS = 5
"""Attempts after which the delay grows no more: a power of thousands of them would be beyond a float."""


def delay_after(attempt: int, *, quick: bool, jitter: float) -> float:
    """Return the seconds to wait before the next attempt to connect.

    Args:
        attempt: Attempts that have failed before this one.
        quick: Whether a good connection was lost, so that the first attempt need not wait long.
        jitter: From 0 to 1, so that many connectors do not come back in step.
    """
    if quick:
        return 0.1 + 0.3 * jitter
    return min(1.6 ** min(attempt, _STEPS) * (1 + 0.3 * jitter), LONGEST_DELAY - jitter)


class Link:
    """The link of one client.

    Args:
        settings: Address, credentials, TLS, keep-alive and version.
        client_id: How the broker knows us.
        will: The topic on which the broker says `offline` for us.
        filters: Returns the topic filters to subscribe to, at QoS 1.
        on_up: Called once they are acknowledged; what it publishes comes first.
        on_down: Called when the connection is gone.
        on_message: Called with topic, payload, and whether it was retained.
        on_acknowledged: Called with the number of a message that the broker has; paho's locks are held meanwhile.

    All are called on the link's thread, and must return quickly.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        client_id: str,
        will: str,
        filters: Callable[[], list[str]],
        on_up: Callable[[], None],
        on_down: Callable[[], None],
        on_message: Callable[[str, bytes, bool], None],
        on_acknowledged: Callable[[int], None],
    ) -> None:
        self._settings = settings
        self._client_id = client_id
        self._will = will
        self._filters = filters
        self._on_up = on_up
        self._on_down = on_down
        self._on_message = on_message
        self._on_acknowledged = on_acknowledged
        self._tls = tls_context(settings) if settings.tls else None
        self._client: paho.Client | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._mid: int | None = None
        self._granted: set[int] = set()
        self._news = threading.Condition()
        self._short = 0
        self._said: str | None = None
        self.trouble: str | None = None
        """Why there is no connection, or None."""

    # ------------------------------------------------------------------ from any thread
    def start(self) -> None:
        """Begin to connect in the background."""
        if self._thread is None or self._stopping.is_set():
            # A thread that is stuck in connecting keeps the event that tells it to end.
            self._stopping = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(self._stopping,), name="iot2mqtt-link", daemon=True)
            self._thread.start()

    def stop(self, grace: float) -> None:
        """Send DISCONNECT and end.

        Args:
            grace: Seconds that the thread may take; one that is stuck in connecting is left behind.
        """
        self._stopping.set()
        client = self._client
        if client is not None:
            client.disconnect()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(grace)

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> paho.MQTTMessageInfo | None:
        """Hand a message to the connection; None where there is none."""
        client = self._client
        return None if client is None else client.publish(topic, payload, qos=qos, retain=retain)

    def subscribe(self, topic_filter: str, patience: float = 0.0) -> bool:
        """Subscribe on the connection that is, if any.

        Args:
            topic_filter: The filter.
            patience: Seconds to wait for the broker's acknowledgement.

        Returns:
            Whether it has acknowledged.
        """
        client = self._client
        number = None if client is None else client.subscribe(topic_filter, 1)[1]
        if number is None:
            return False
        with self._news:
            return self._news.wait_for(lambda: number in self._granted, patience)

    def unsubscribe(self, topic_filter: str) -> None:
        """Unsubscribe on the connection that is, if any."""
        client = self._client
        if client is not None:
            client.unsubscribe(topic_filter)

    # ------------------------------------------------------------------ the link's thread
    def _run(self, stopping: threading.Event) -> None:
        attempt = 0
        while not stopping.is_set():
            began = time.monotonic()
            was_up = self._connect_once(stopping)
            if stopping.is_set():
                return
            stable = was_up and time.monotonic() - began > STABLE
            self._suspect(brief=was_up and not stable)
            stopping.wait(delay_after(attempt, quick=stable, jitter=random.random()))
            attempt = 0 if stable else attempt + 1

    def _suspect(self, *, brief: bool) -> None:
        """Say so where connection after connection is taken away: the broker itself does not tell why."""
        self._short = self._short + 1 if brief else 0
        if self._short == TAKEN_OVER:
            _log.error(
                "%d connections in a row were closed within seconds: if another process connects as %s, "
                "give each its own INSTANCE_NAME",
                TAKEN_OVER,
                self._client_id,
            )

    def _connect_once(self, stopping: threading.Event) -> bool:
        """Connect and serve the connection until it ends; whether it was good for a while."""
        client = self._new_client()
        with closing(Pump(client)) as pump:
            try:
                client.connect(self._settings.host, self._settings.port, self._settings.keepalive)
            except (OSError, ValueError) as error:
                place = f"{self._settings.host}:{self._settings.port}"
                self._complain(f"the broker {place} cannot be reached: {explain(error)}")
                return False
            self._serve(client, pump, stopping)
        was_up = self._mid == 0
        self._on_down()
        return was_up

    def _serve(self, client: paho.Client, pump: Pump, stopping: threading.Event) -> None:
        self._watch(client, max(CONNACK[0], min(CONNACK[1], self._settings.keepalive * _PATIENCE)))
        self._mid = None
        self._granted.clear()
        self._client = client
        if stopping.is_set():
            client.disconnect()
        try:
            pump.run(self._settings.keepalive)
        except OSError as error:
            self._complain(f"the connection to the broker failed: {explain(error)}")
        except Exception:  # noqa: BLE001 - a fault of one connection must not be the last of the link
            _log.exception("the connection to the broker failed in a way that nobody foresaw; trying again")
        finally:
            self._client = None
            _drop(client)

    @staticmethod
    def _watch(client: paho.Client, seconds: float) -> None:
        """Have paho ask after so many seconds of silence whether the broker is there, and give it up after as many."""
        client._keepalive = seconds  # type: ignore[assignment] # noqa: SLF001

    def _new_client(self) -> paho.Client:
        settings = self._settings
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=paho.MQTTv5 if settings.version == "5" else paho.MQTTv311,
            reconnect_on_failure=False,
        )
        if settings.username is not None or settings.password is not None:
            client.username_pw_set(settings.username or "", settings.password)
        client.will_set(self._will, "offline", qos=1, retain=True)
        # The outbox knows how many may be unacknowledged; `offline` must not wait behind them.
        client.max_inflight_messages_set(0)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_subscribe = self._subscribed
        client.on_message = self._received
        client.on_publish = self._published
        client.on_socket_open = _send_at_once
        return client

    def _connected(self, client: paho.Client, _data: Any, _flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._complain(f"the broker refused the connection: {reason}; check MQTT_USERNAME and MQTT_PASSWORD")
            return
        # CONNECT carried the keep-alive that was set. paho would wait for the whole of it, twice, and so notice a dead
        # connection later than the contract allows.
        keepalive = getattr(properties, "ServerKeepAlive", None) or self._settings.keepalive
        self._watch(client, keepalive * _PATIENCE)
        filters = self._filters()
        if filters:
            self._mid = client.subscribe([(topic_filter, 1) for topic_filter in filters])[1]
        else:
            self._up()

    def _subscribed(self, client: paho.Client, _data: Any, mid: int, reasons: Any, _properties: Any) -> None:
        refused = sum(reason.is_failure for reason in reasons)
        if refused and mid != self._mid:
            _log.warning("the broker refused a subscription: mend its access rules")
            return
        if refused:
            self._complain(f"the broker refused {refused} of our subscriptions: mend its access rules")
            client.disconnect()
            return
        if mid == self._mid:
            self._up()
        with self._news:
            self._granted.add(mid)
            self._news.notify_all()

    def _published(self, _client: paho.Client, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            _log.warning("the broker did not take a message: %s; mend its access rules", reason)
        self._on_acknowledged(mid)

    def _up(self) -> None:
        self._mid = 0
        self._said = self.trouble = None
        self._on_up()

    def _disconnected(self, _client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if self._mid == 0 and not self._stopping.is_set():
            self._complain(f"the connection to the broker was lost: {reason}")

    def _received(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        try:
            self._on_message(message.topic, bytes(message.payload), message.retain)
        except BaseException:  # noqa: BLE001 - not even a handler's sys.exit may end the connection
            _log.exception("a message on %s was not handled", message.topic)

    def _complain(self, trouble: str) -> None:
        """Log why there is no connection: loudly once, then quietly until the reason changes."""
        self.trouble = trouble
        _log.log(logging.DEBUG if trouble == self._said else logging.WARNING, "%s; trying again", trouble)
        self._said = trouble


def _send_at_once(_client: paho.Client, _data: Any, connection: Any) -> None:
    """Switch Nagle's algorithm off: it holds a small packet back for 40 ms when another is on its way."""
    if isinstance(connection, socket.socket):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _drop(client: paho.Client) -> None:
    """Close the socket of a connection that a fault has left open; paho has closed all others."""
    connection = client.socket()
    if isinstance(connection, socket.socket):
        connection.close()


def explain(error: Exception) -> str:
    """Return why there is no connection, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); check MQTT_CA_CERTS"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def tls_context(settings: Settings) -> ssl.SSLContext:
    """Return how to speak TLS with the broker.

    Raises:
        ConfigurationError: A file that the settings name is missing or wrong.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca_certs)
        if settings.certfile is not None:
            # Without a password here, a key that needs one would have it asked for on the terminal.
            context.load_cert_chain(settings.certfile, settings.keyfile, password="")
    except (OSError, ValueError) as error:
        names = "MQTT_CA_CERTS, MQTT_CERTFILE and MQTT_KEYFILE"
        raise ConfigurationError(f"TLS cannot be set up from {names}: {explain(error)}") from None
    return context
