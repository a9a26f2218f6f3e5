"""The command line's own connection to the broker: no will, no status, and no client id that a connector has."""

import json
import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import click
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from iot2mqtt_sdk.errors import ConfigurationError
from iot2mqtt_sdk.runtime.link import explain, tls_context
from iot2mqtt_sdk.settings import Settings, load

PAUSE = 1.0
"""Seconds between two attempts to connect."""


@dataclass(frozen=True, slots=True)
class Up:
    """The broker has acknowledged the subscriptions."""


@dataclass(frozen=True, slots=True)
class Down:
    """There is no connection, because of `reason`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Message:
    """What came on a topic at a time in seconds since the epoch."""

    topic: str
    payload: bytes
    retained: bool
    at: float


News = Up | Down | Message


def settings() -> Settings:
    """Read the settings from the environment and from .env of this folder, if it is a connector's.

    Where they name no broker but the default one, and an embedded one runs, it is that.

    Raises:
        ClickException: A variable has a value that it cannot have.
    """
    here = {"IOT2MQTT_PATH": str(Path.cwd())} if Path(".env").is_file() or Path("instances").is_dir() else {}
    try:
        found = load({**here, **os.environ})
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from None
    port = embedded_port()
    if port is not None and (found.host, found.port) == (Settings().host, Settings().port):
        return replace(found, host="127.0.0.1", port=port)
    return found


def record() -> Path:
    """Return the file in which `iot2mqtt run --broker embedded` leaves the port of its broker."""
    folder = os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "iot2mqtt" / "embedded_broker.json"


def embedded_port() -> int | None:
    """Return the port of the embedded broker of this user, or None where none runs."""
    try:
        said = json.loads(record().read_text(encoding="utf-8"))
        os.kill(said["pid"], 0)  # raises where that process has ended without taking its note away
        return int(said["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Connection:
    """A connection that is made again whenever it is lost, and whose news are read one by one.

    Args:
        settings: Address, credentials, TLS, keep-alive and version.
        filters: Topic filters to subscribe to.

    Raises:
        ClickException: The TLS files are wrong.
    """

    def __init__(self, settings: Settings, filters: Sequence[str]) -> None:
        self._settings = settings
        self._filters = list(filters)
        self._news: SimpleQueue[News] = SimpleQueue()
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._up = False
        self._client = _client(settings)
        self._client.on_connect = self._connected
        self._client.on_subscribe = self._subscribed
        self._client.on_disconnect = self._disconnected
        self._client.on_message = self._received
        self._thread = threading.Thread(target=self._run, name="iot2mqtt-cli", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _type: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self._stopping.set()
        self._client.disconnect()
        self._thread.join(PAUSE)

    def next(self, seconds: float) -> News | None:
        """Return the next piece of news, or None where none comes within so many seconds."""
        with suppress(Empty):
            return self._news.get(timeout=max(seconds, 0.001))
        return None

    def publish(self, topic: str, payload: bytes) -> None:
        """Send a message at QoS 1."""
        self._client.publish(topic, payload, qos=1)

    def _run(self) -> None:
        place = f"{self._settings.host}:{self._settings.port}"
        while not self._stopping.is_set():
            try:
                self._client.connect(self._settings.host, self._settings.port, self._settings.keepalive)
                # paho's own thread: with another one, publish would write while it reads, which TLS does not bear.
                self._ended.clear()
                self._client.loop_start()
                self._ended.wait()
                self._client.loop_stop()
            except (OSError, ValueError) as error:
                self._news.put(Down(f"the broker {place} cannot be reached: {explain(error)}"))
            self._stopping.wait(PAUSE)

    def _connected(self, client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            advice = "check MQTT_USERNAME and MQTT_PASSWORD"
            self._news.put(Down(f"the broker refuses the connection: {reason}; {advice}"))
        else:
            client.subscribe([(topic_filter, 1) for topic_filter in self._filters])

    def _subscribed(self, client: paho.Client, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self._news.put(Down(f"the broker refuses the subscription to {' and '.join(self._filters)}"))
            client.disconnect()
        else:
            self._up = True
            self._news.put(Up())

    def _disconnected(self, _client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if self._up:
            self._news.put(Down(f"the connection to the broker was lost: {reason}"))
        self._up = False
        self._ended.set()

    def _received(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        self._news.put(Message(message.topic, bytes(message.payload), message.retain, time.time()))


def _client(settings: Settings) -> paho.Client:
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=f"{settings.client_prefix}_cli_{uuid4().hex[:8]}",
        protocol=paho.MQTTv5 if settings.version == "5" else paho.MQTTv311,
        reconnect_on_failure=False,
    )
    if settings.username is not None or settings.password is not None:
        client.username_pw_set(settings.username or "", settings.password)
    if settings.tls:
        try:
            client.tls_set_context(tls_context(settings))
        except ConfigurationError as error:
            raise click.ClickException(str(error)) from None
    return client
