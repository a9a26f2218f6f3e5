"""Where Zigbee2MQTT is spoken to: at the connector's own broker, or at another one."""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from iot2mqtt_sdk import ConfigurationError, MQTTClient

_log = logging.getLogger("iot2mqtt.zigbee2mqtt")

ACKNOWLEDGED = 3.0
"""Seconds that the broker may take to acknowledge the subscription."""

OnMessage = Callable[[str, bytes, bool], None]
"""Takes topic, payload, and whether the broker had kept it."""


class Broker(Protocol):
    """A broker at which Zigbee2MQTT is. Messages are at QoS 0: one that comes late must not undo a later one."""

    def open(self, topic_filter: str, on_message: OnMessage, on_lost: Callable[[str], None]) -> None:
        """Begin to listen, and say why it ends."""

    def publish(self, topic: str, payload: Mapping[str, Any], *, late: bool = False) -> bool:
        """Send a message now, or late where that does no harm; False where there is no connection."""

    def close(self) -> None:
        """Listen no more."""


def broker_of(connection: Mapping[str, Any], mqtt: MQTTClient) -> Broker:
    """Return the broker that the section `connection` names: without a host that is the connector's own.

    Raises:
        ConfigurationError: The section is malformed.
    """
    host, port = connection.get("host"), connection.get("port", 1883)
    if host is None:
        return OwnBroker(mqtt)
    if not isinstance(host, str) or not host or type(port) is not int or port not in range(1, 65536):
        raise ConfigurationError("connection.host must be a name or an address, and connection.port from 1 to 65535")
    return OtherBroker(host, port, connection.get("username"), connection.get("password"))


class OwnBroker:
    """The broker of the contract, on the connection that there is."""

    def __init__(self, mqtt: MQTTClient) -> None:
        self._mqtt = mqtt
        self._filter = ""

    def open(self, topic_filter: str, on_message: OnMessage, on_lost: Callable[[str], None]) -> None:
        """Begin to listen; where this connection is lost, nobody could be told."""
        del on_lost
        self._filter = topic_filter
        self._mqtt.route_outside(
            topic_filter, lambda message: on_message(message.suffix, message.payload, message.retain), ACKNOWLEDGED
        )

    def publish(self, topic: str, payload: Mapping[str, Any], *, late: bool = False) -> bool:
        """Send a message now, or late where that does no harm; False where there is no connection."""
        there = self._mqtt.connected
        if there or late:
            self._mqtt.publish_outside(topic, payload, qos=0, retain=False)
        return there

    def close(self) -> None:
        """Listen no more."""
        self._mqtt.unroute_outside(self._filter)


class OtherBroker:
    """A broker that has nothing to do with the contract's."""

    def __init__(self, host: str, port: int, username: str | None, password: str | None) -> None:
        self._place = f"{host}:{port}"
        self._address = host, port
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        if username is not None:
            self._client.username_pw_set(username, password)
        self._client.reconnect_delay_set(1, 10)
        # A message that is not understood must not be the last one.
        self._client.suppress_exceptions = True
        self._client.enable_logger(_log)

    def open(self, topic_filter: str, on_message: OnMessage, on_lost: Callable[[str], None]) -> None:
        """Begin to listen, and go on trying for as long as it takes."""

        def connected(client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            if reason.is_failure:
                on_lost(f"the broker {self._place} refuses the connection: {reason}")
            else:
                client.subscribe(topic_filter, 1)

        def disconnected(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            if reason.is_failure:
                on_lost(f"the connection to the broker {self._place} is lost: {reason}")

        self._client.on_connect = connected
        self._client.on_disconnect = disconnected
        self._client.on_connect_fail = lambda *_: on_lost(f"the broker {self._place} cannot be reached")
        self._client.on_message = lambda _client, _data, message: on_message(
            message.topic, bytes(message.payload), message.retain
        )
        self._client.connect_async(*self._address)
        self._client.loop_start()

    def publish(self, topic: str, payload: Mapping[str, Any], *, late: bool = False) -> bool:
        """Send a message now, or late where that does no harm; False where there is no connection."""
        there = self._client.is_connected()
        if there or late:
            self._client.publish(topic, json.dumps(payload), qos=0)
        return there

    def close(self) -> None:
        """Listen no more."""
        self._client.disconnect()
        self._client.loop_stop()
