"""Publishing at QoS 1 with a bounded number of messages in flight: what the simulator speaks through."""

import logging
import threading
import time

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from iot2mqtt_pipeline.adapters.mqtt import explain, tls_context
from iot2mqtt_pipeline.errors import TransientError
from iot2mqtt_pipeline.settings import Mqtt
from iot2mqtt_pipeline.stage import Stopped
from iot2mqtt_sdk.errors import ConfigurationError

_log = logging.getLogger("iot2mqtt.pipeline.simulator")

WINDOW = 1000
"""Messages that the broker has not acknowledged, at the most."""
PATIENCE = 10.0
"""Seconds for the broker to accept the connection."""
_TICK = 0.2


class EndedError(Exception):
    """It was time to stop before a message could be handed over."""


class MqttPublisher:
    """A publisher that connects again on its own, and sends again what was not acknowledged.

    Args:
        settings: Address, credentials and TLS; the client id is the broker's choice.
        stopped: Says whether to wait no longer while too much is in flight.
        window: How many messages may be in flight.
    """

    def __init__(self, *, settings: Mqtt, stopped: Stopped, window: int = WINDOW) -> None:
        self._settings = settings
        self._stopped = stopped
        self._window = window
        self._room = threading.Semaphore(window)
        self._connected = threading.Event()
        self._refusal = ""
        # Version 3.1.1 has all that publishing needs, and every broker knows it.
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)

    def start(self) -> None:
        """Connect.

        Raises:
            TransientError: The broker cannot be reached.
            ConfigurationError: It refuses us, or the files for TLS are wrong.
        """
        settings, client = self._settings, self._client
        place = f"the broker {settings.host}:{settings.port}"
        if settings.tls:
            client.tls_set_context(tls_context(settings))
        if settings.username is not None:
            password = settings.password.get_secret_value() if settings.password else None
            client.username_pw_set(settings.username, password)
        client.max_queued_messages_set(0)
        client.max_inflight_messages_set(self._window)
        client.on_connect = self._answered
        client.on_publish = lambda *_: self._room.release()
        try:
            client.connect(settings.host, settings.port, settings.keepalive)
        except (OSError, UnicodeError) as error:
            raise TransientError(f"{place} cannot be reached: {explain(error)}", server="mqtt") from None
        client.loop_start()
        if self._connected.wait(PATIENCE) and not self._refusal:
            return
        client.loop_stop()
        if self._refusal:
            raise ConfigurationError(f"{place} refuses the connection: {self._refusal}")
        raise TransientError(f"{place} does not answer", server="mqtt")

    def publish(self, topic: str, payload: bytes) -> None:
        """Hand a message over; wait while too many are in flight.

        Raises:
            EndedError: It was time to stop first.
        """
        while not self._room.acquire(timeout=_TICK):
            if self._stopped():
                raise EndedError
        self._client.publish(topic, payload, qos=1)

    def stop(self, patience: float) -> int:
        """Wait until the broker has everything, disconnect, and return how many messages it has not acknowledged."""
        deadline = time.monotonic() + patience
        safe = 0
        while safe < self._window and self._room.acquire(timeout=max(0.0, deadline - time.monotonic())):
            safe += 1
        self._client.disconnect()
        self._client.loop_stop()
        return self._window - safe

    def _answered(self, _client: paho.Client, _data: object, _flags: object, code: ReasonCode, _more: object) -> None:
        if code.is_failure:
            self._refusal = str(code)
            _log.warning("MQTT: the broker refuses the connection: %s", code)
        self._connected.set()
