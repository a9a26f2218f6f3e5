"""A Mosquitto that keeps sessions and messages on disk, and a publisher."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from iot2mqtt_pipeline.settings import Mqtt
from tests.mosquitto import Mosquitto
from tests.waiting import DEADLINE


class Broker(Mosquitto):
    """A Mosquitto that knows, when it is started again, what it knew before."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "persistence true", f"persistence_location {folder}/", "max_inflight_messages 2000")

    def settings(self, **fields: Any) -> Mqtt:
        """Return the settings of a bridge at this broker."""
        return Mqtt(**{"host": "127.0.0.1", "port": self.port, **fields})


def publish(port: int, messages: Iterable[tuple[str, bytes]], *, qos: int = 1, retain: bool = False) -> None:
    """Publish, and wait until the broker has all of it."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.max_inflight_messages_set(2000)
    client.max_queued_messages_set(0)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        for info in [client.publish(topic, payload, qos=qos, retain=retain) for topic, payload in messages]:
            info.wait_for_publish(DEADLINE)
            assert info.is_published(), "the broker has not acknowledged a message"
    finally:
        client.disconnect()
        client.loop_stop()


def keep_session(settings: Mqtt, topic_filter: str) -> None:
    """Subscribe for a bridge that has not run yet, so that the broker keeps messages for it."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=settings.client_id, protocol=paho.MQTTv5)
    lasting = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho's own
    lasting.SessionExpiryInterval = 0xFFFF_FFFF
    granted: list[int] = []
    client.on_subscribe = lambda _client, _data, mid, *_: granted.append(mid)
    client.connect("127.0.0.1", settings.port, clean_start=False, properties=lasting)
    client.subscribe(topic_filter, 1)
    while not granted:
        client.loop(0.1)
    client.disconnect()


def has_session(settings: Mqtt) -> bool:
    """Return whether the broker knows a client by MQTT 3.1.1."""
    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id=settings.client_id, protocol=paho.MQTTv311, clean_session=False
    )
    known: list[bool] = []
    client.on_connect = lambda _client, _data, flags, *_: known.append(flags.session_present)
    client.connect("127.0.0.1", settings.port)
    while not known:
        client.loop(0.1)
    client.disconnect()
    return known[0]
