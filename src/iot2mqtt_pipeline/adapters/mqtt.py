"""Where the bridge receives messages: a persistent MQTT session whose messages are acknowledged by hand.

Everything happens on the caller's thread. What is not read stays in the network and with the broker, so that memory is
bounded by what the caller asks for.
"""

import logging
import random
import select
import socket
import ssl
import time
from collections.abc import Sequence

from iot2mqtt_pipeline.adapters import mqtt_wire as wire
from iot2mqtt_pipeline.settings import Mqtt
from iot2mqtt_pipeline.stage import Figures, Message, NoFigures
from iot2mqtt_sdk.errors import ConfigurationError

_log = logging.getLogger("iot2mqtt.pipeline.mqtt")

PATIENCE = 5.0
"""Seconds that the network, and again the broker, may take to accept a connection."""
LONGEST_DELAY = 10.0
"""Seconds between two attempts to connect, at the most."""
STABLE = 5.0
"""Seconds that a connection must last to be followed by a quick attempt."""
TAKEN_OVER = 3
"""Connections in a row that were good and did not last, from which on another process of the same name is suspected."""
_CHUNK = 256 * 1024
_PART = 0.7
"""Part of the keep-alive after which the broker is asked whether it is there, and again given up."""
_STEPS = 6
_WRONG_VERSION = {0x01, 0x84}
_NEWEST, _OLDER = 5, 4
UNSURE = 5.0
"""Seconds before the broker was heard last from which on an acknowledgement may not have reached it."""
_Noted = tuple[str, int, float]
"""Topic, hash of the payload, and arrival of a message."""
_NOTHING: tuple[float, _Noted | None] = 0.0, None


class MqttInbox:
    """One persistent session at a broker, by MQTT 5, or by 3.1.1 where the broker knows no better.

    Args:
        settings: Address, credentials, TLS, client id, and the name of a shared subscription.
        filters: What to subscribe to, at QoS 1, on every connection.
        window: How many messages may be unacknowledged.
        figures: Counts connections and troubles.
        expiry: Seconds without a connection after which the broker forgets the session; by 3.1.1 at once, unless never.
    """

    def __init__(
        self,
        *,
        settings: Mqtt,
        filters: Sequence[str],
        window: int = 10_000,
        figures: Figures | None = None,
        expiry: int = wire.NEVER,
    ) -> None:
        self._settings = settings
        self._expiry = expiry
        share = f"$share/{settings.share}/" if settings.share else ""
        self._filters = [share + one for one in filters]
        self._plain = list(filters) if share else []
        self._window = window
        self._figures = figures or NoFigures()
        self._tls: ssl.SSLContext | None = None
        self._version = _NEWEST if settings.version == "5" else _OLDER
        self._known: int | None = None if settings.version == "5" else _OLDER
        self._socket: socket.socket | None = None
        self._connection = 0
        self._granted = self._accepted = self._subscribed = False
        self._data = bytearray()
        self._unsent = bytearray()
        self._waiting: dict[int, _Noted] = {}
        self._acknowledged: dict[int, tuple[float, _Noted]] = {}
        self._began = self._heard = self._spoke = self._asked = 0.0
        self._attempt = self._short = 0
        self._not_before = 0.0
        self._said: str | None = None

    # ------------------------------------------------------------------ what the bridge calls
    def receive(self, limit: int, timeout: float) -> Sequence[Message]:
        """Return up to `limit` messages; connect first where there is no connection.

        Raises:
            ConfigurationError: The files for TLS are missing or wrong.
        """
        if self._socket is None and not self._connect(timeout):
            return []
        try:
            found = self._take(limit)
            if limit and not found and self._fill(timeout):
                found = self._take(limit)
            self._tend(reading=limit > 0)
        except (OSError, wire.ProtocolError) as error:
            self._lost(str(error) or type(error).__name__)
            return []
        return found

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Say that messages are safe, in the order of receipt; those of an old connection are ignored."""
        ids = [one.packet_id for one in messages if one.packet_id and one.connection == self._connection]
        if self._socket is None or not ids:
            return
        try:
            self._send(wire.pubacks(ids))
        except OSError as error:
            self._lost(str(error))
            return
        now = time.monotonic()
        for packet_id in ids:
            if (noted := self._waiting.pop(packet_id, None)) is not None:
                self._acknowledged.pop(packet_id, None)
                self._acknowledged[packet_id] = now, noted
        self._forget(now - UNSURE)

    def _forget(self, until: float) -> None:
        """Forget what was acknowledged so long ago that the broker has read it."""
        while self._acknowledged and next(iter(self._acknowledged.values()))[0] < until:
            del self._acknowledged[next(iter(self._acknowledged))]

    def renew(self) -> None:
        """Drop the connection, so that the broker sends again what is not acknowledged."""
        self._lost("it is made anew, so that the broker sends again what is not safe")

    def close(self) -> None:
        """Disconnect; the session stays with the broker."""
        if self._socket is not None:
            try:
                self._socket.settimeout(1.0)
                self._socket.sendall(bytes(self._unsent) + wire.GOODBYE)
            except OSError as error:
                _log.debug("the connection could not be closed in order: %s", error)
            self._drop()

    # ------------------------------------------------------------------ the connection
    def _connect(self, timeout: float) -> bool:
        """Connect if it is time to; whether there is a connection now."""
        wait = self._not_before - time.monotonic()
        if wait > 0:
            time.sleep(min(wait, timeout))
            return False
        settings = self._settings
        try:
            self._socket = self._opened()
            password = settings.password.get_secret_value() if settings.password else None
            self._began = self._heard = self._spoke = self._asked = time.monotonic()
            self._send(
                wire.connect(
                    version=self._version,
                    client_id=settings.client_id,
                    keepalive=settings.keepalive,
                    username=settings.username or ("" if password else None),
                    password=password,
                    window=self._window,
                    expiry=self._expiry,
                )
            )
        except (OSError, UnicodeError) as error:
            self._lost(f"{settings.host}:{settings.port} cannot be reached: {explain(error)}")
            return False
        return True

    def _opened(self) -> socket.socket:
        settings = self._settings
        if settings.tls and self._tls is None:
            self._tls = tls_context(settings)
        plain = socket.create_connection((settings.host, settings.port), PATIENCE)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened = plain if self._tls is None else self._tls.wrap_socket(plain, server_hostname=settings.host)
            opened.setblocking(False)
        except OSError:
            plain.close()
            raise
        return opened

    def _lost(self, why: str) -> None:
        """Forget the connection, and set the time of the next attempt."""
        lasted = time.monotonic() - self._began
        stable = self._granted and lasted > STABLE
        self._suspect(brief=self._granted and not stable)
        if self._socket is not None and self._known is None:
            # A broker that knows no MQTT 5 may just hang up, and one that restarts does too: so 3.1.1 is tried once.
            self._version = _OLDER if self._version == _NEWEST and not self._accepted else _NEWEST
        self._drop()
        self._attempt = 0 if stable else self._attempt + 1
        jitter = 1 + 0.5 * random.random()
        delay = 0.1 * jitter if stable else min(0.2 * 2 ** min(self._attempt, _STEPS) * jitter, LONGEST_DELAY)
        self._not_before = time.monotonic() + delay
        self._figures.trouble("mqtt")
        _log.log(logging.DEBUG if why == self._said else logging.WARNING, "MQTT: %s; trying again", why)
        self._said = why

    def _suspect(self, *, brief: bool) -> None:
        self._short = self._short + 1 if brief else 0
        if self._short == TAKEN_OVER:
            _log.error(
                "%d connections in a row were closed within seconds: if another bridge connects as %s, "
                "give each its own MQTT_CLIENT_ID",
                TAKEN_OVER,
                self._settings.client_id,
            )

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._forget(self._heard - UNSURE)
        self._connection += 1
        self._granted = self._accepted = False
        self._data.clear()
        self._unsent.clear()

    # ------------------------------------------------------------------ packets
    def _take(self, limit: int) -> list[Message]:
        """Return what the data hold, and heed packets of other kinds."""
        found: list[Message] = []
        # Two messages that tell no time of their own must not have the same one: they would be the same row.
        now = time.time_ns() // 1000
        version, connection = self._version, self._connection
        for first, body in wire.packets(self._data, limit):
            if first >> 4 != wire.PUBLISH:
                self._heed(first >> 4, body)
                continue
            topic, payload, packet_id = wire.publish(first, body, version=version)
            qos, retain, dup = first >> 1 & 3, bool(first & 1), bool(first & 8)
            arrived = (now + len(found)) / 1_000_000
            found.append(self._noted(Message(topic, payload, qos, retain, dup, arrived, packet_id, connection)))
        return found

    def _noted(self, message: Message) -> Message:
        """Give what is received again its first arrival, so that it becomes the same row where it tells no time.

        A broker gives the id of a packet to no other message until it has read the acknowledgement, which may have been
        lost with the connection.
        """
        number = message.packet_id
        if not number:
            return message
        _, before = self._acknowledged.pop(number, _NOTHING)
        content = message.topic, hash(message.payload)
        if message.dup:
            before = self._waiting.get(number, before)
            if before is not None and before[:2] == content:
                message = message._replace(arrived=before[2])
        self._waiting[number] = *content, message.arrived
        return message

    def _heed(self, kind: int, body: bytes) -> None:
        if kind == wire.CONNACK:
            self._answered(body[1], known=bool(body[0] & 1))
        elif kind == wire.SUBACK:
            count = wire.refused(body, version=self._version)
            if count:
                raise wire.ProtocolError(f"the broker refused {count} of our subscriptions: mend its access rules")
            if self._plain:
                # Those of a time without a share are in the session still, and would bring each message once more. Only
                # now, because until the share is there they are what brings it at all.
                self._send(wire.unsubscribe(self._plain, version=self._version))
            else:
                self._subscribed = True
            self._connected()
        elif kind == wire.UNSUBACK:
            self._subscribed = True
        elif kind == wire.DISCONNECT:
            reason = f"0x{body[0]:02x}" if body else "none"
            raise wire.ProtocolError(f"the broker closed the connection, reason {reason}")

    def _connected(self) -> None:
        """Note that the broker sends what the filters are for."""
        self._granted = True
        self._said = None
        self._figures.connected()
        _log.info("MQTT: connected to %s:%d", self._settings.host, self._settings.port)

    def _answered(self, code: int, *, known: bool) -> None:
        if code in _WRONG_VERSION and self._version == _NEWEST:
            self._known = self._version = _OLDER
            raise wire.ProtocolError("the broker does not know MQTT 5")
        self._accepted = True
        if self._version == _NEWEST:
            self._known = _NEWEST
        if code:
            raise wire.ProtocolError(
                f"the broker refused the connection, code 0x{code:02x}: check MQTT_USERNAME and MQTT_PASSWORD"
            )
        if known and self._subscribed and self._version == _OLDER:
            # A broker of 3.1.1 would send all retained messages again, and those that tell no time would be new rows.
            self._connected()
        else:
            self._send(wire.subscribe(self._filters, version=self._version))

    def _fill(self, timeout: float) -> bool:
        """Read what there is, waiting for the first of it; whether there was anything."""
        if self._read():
            return True
        connection = self._live()
        select.select([connection], [connection] if self._unsent else [], [], timeout)
        return self._read()

    def _read(self) -> bool:
        try:
            data = self._live().recv(_CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        if not data:
            raise wire.ProtocolError("the broker closed the connection")
        self._data += data
        self._heard = time.monotonic()
        return True

    def _send(self, data: bytes) -> None:
        """Send what the connection takes now, and the rest later."""
        self._unsent += data
        try:
            sent = self._live().send(self._unsent)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return
        del self._unsent[:sent]
        self._spoke = time.monotonic()

    def _tend(self, *, reading: bool) -> None:
        """Send what is left, and keep the connection alive."""
        now = time.monotonic()
        patience = self._settings.keepalive * _PART
        if self._unsent:
            self._send(b"")
        elif self._accepted and now - min(self._spoke, self._heard) > patience < now - self._asked:
            self._asked = now
            self._send(wire.PINGREQ)
        if not reading:
            self._heard = now
        elif now - self._heard > (2 * patience if self._granted else PATIENCE):
            raise wire.ProtocolError("the broker does not answer")

    def _live(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionError("there is no connection")
        return self._socket


def tls_context(settings: Mqtt) -> ssl.SSLContext:
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


def explain(error: Exception) -> str:
    """Return why there is no connection."""
    if isinstance(error, UnicodeError):
        return "it is no name that a host can have; check MQTT_HOST"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); check MQTT_CA_CERTS"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
