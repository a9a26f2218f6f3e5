"""Clears what the broker still retains of devices that have left the configuration (clause I2M-LIFE-11)."""

import logging

from iot2mqtt_sdk.client import MQTTClient
from iot2mqtt_sdk.runtime.engine import Engine
from iot2mqtt_sdk.runtime.inbox import Message

_log = logging.getLogger("iot2mqtt")

PATTERNS = ("devices/+/state", "devices/+/state/+", "devices/+/availability", "groups/+/state")
LOOKING = 3.0
"""Seconds for which retained messages are looked at; a broker sends them right after the subscription."""


class Leftovers:
    """Looks once at what is retained below the instance.

    Args:
        mqtt: The connection, which is online.
        engine: Ends the look.
        devices: Ids of the configured devices.
        groups: Ids of the configured groups.
    """

    def __init__(self, mqtt: MQTTClient, engine: Engine, devices: set[str], groups: set[str]) -> None:
        self._mqtt = mqtt
        self._engine = engine
        self._known = {"devices": devices, "groups": groups}

    def clear(self) -> None:
        """Clear what is found, in the background."""
        for pattern in PATTERNS:
            self._mqtt.route(pattern, self._look)
        self._engine.after(LOOKING, self._end)

    def _look(self, message: Message) -> None:
        kind, name = message.levels[:2]
        if message.retain and message.payload and name not in self._known[kind]:
            _log.info("%s is retained of a configuration that is gone, and is cleared", message.suffix)
            self._mqtt.forget(self._mqtt.topics.below(message.suffix))

    def _end(self) -> None:
        for pattern in PATTERNS:
            self._mqtt.unroute(pattern, self._look)
