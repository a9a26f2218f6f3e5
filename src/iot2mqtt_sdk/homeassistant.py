"""Tells Home Assistant of the devices whose properties are described: device-based MQTT discovery.

One retained message a device, `{prefix}/device/{object_id}/config`, as https://www.home-assistant.io/integrations/mqtt/
describes it. Off by default, because it publishes outside the instance (clause I2M-PUB-01).
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Mapping
from functools import partial
from importlib.metadata import version
from typing import Any, Final

from iot2mqtt_sdk.client import MQTTClient
from iot2mqtt_sdk.contract.topics import Topics
from iot2mqtt_sdk.errors import ConfigurationError
from iot2mqtt_sdk.jsontext import decode
from iot2mqtt_sdk.properties import Property
from iot2mqtt_sdk.runtime.device import DeviceState
from iot2mqtt_sdk.runtime.engine import Engine, Lane
from iot2mqtt_sdk.runtime.inbox import Message

_log = logging.getLogger("iot2mqtt")

LOOKING: Final = 3.0
"""Seconds for which retained messages are looked at; a broker sends them right after the subscription."""
UNBOUNDED: Final = 2**31 - 1
"""What stands for no limit: Home Assistant would take 1 and 100 where a number has none."""
_VALUE: Final = "{{ value_json }}"
_TRUTH: Final = "{{ 'None' if value_json is none else 'ON' if value_json else 'OFF' }}"
_NOT_IN_AN_ID: Final = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST: Final = 40


def object_id(topics: Topics, device_id: str) -> str:
    """Return the id of a device in Home Assistant: readable, stable, and of no other device on the broker.

    Args:
        topics: Of the instance.
        device_id: The device.
    """
    names = (topics.instance_id, device_id)
    readable = "_".join(_NOT_IN_AN_ID.sub("_", name)[:_LONGEST] for name in names)
    return f"iot2mqtt_{readable}_{_digest(topics.base, *names)}"


def _digest(*names: str) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:10]


def device_config(topics: Topics, device: DeviceState, *, polled: bool) -> dict[str, Any]:
    """Return the discovery message of a device.

    Args:
        topics: Of the instance.
        device: The device, with the properties that are described.
        polled: Whether it is polled, so that its own availability is published.
    """
    identity = object_id(topics, device.id)
    about = {"ids": [identity], "name": device.name or device.id}
    availability = [{"topic": topics.status, "payload_available": "online", "payload_not_available": "offline"}]
    if polled:
        own = topics.device(device.id, "availability")
        # Unlike the instance's status, this payload is JSON: a text in quotation marks (clause I2M-PUB-02).
        availability.append({"topic": own, "payload_available": '"online"', "payload_not_available": '"offline"'})
    return {
        "dev": {**about, "mdl": device.model} if device.model else about,
        "o": {"name": "iot2mqtt-sdk", "sw": version("iot2mqtt-sdk")},
        "availability": availability,
        "availability_mode": "all",
        "qos": 1,
        "cmps": {
            _key(name): {
                "name": described.name or name.replace("_", " ").capitalize(),
                "unique_id": f"{identity}_{name}",
                # Each property has a topic of its own. The device's state topic will not do: an answer to a `get` of
                # some properties goes there as well, and would empty the others.
                "state_topic": topics.device(device.id, f"state/{name}"),
                **component(topics.device(device.id, "cmd"), name, described),
            }
            for name, described in device.properties.items()
        },
    }


def _key(name: str) -> str:
    """Return a property's name as Home Assistant can have it in an id."""
    readable = _NOT_IN_AN_ID.sub("_", name)
    return name if readable == name else f"{readable}_{_digest(name)}"


def component(command_topic: str, name: str, described: Property) -> dict[str, Any]:
    """Return what Home Assistant is to make of a property.

    Args:
        command_topic: Where the device takes commands.
        name: The property's name.
        described: The property.
    """
    if described.type == "boolean":
        body = _boolean(name, described)
    elif described.is_number:
        body = _number(name, described)
    else:
        body = _text(name, described)
    if described.writable:
        body["command_topic"] = command_topic
    if described.device_class is not None:
        # Home Assistant refuses options with another class than `enum`.
        body.setdefault("device_class", described.device_class)
    return body


def _boolean(name: str, described: Property) -> dict[str, Any]:
    if not described.writable:
        return {"p": "binary_sensor", "value_template": _TRUTH, "payload_on": "ON", "payload_off": "OFF"}
    return {
        "p": "switch",
        "value_template": _TRUTH,
        "state_on": "ON",
        "state_off": "OFF",
        "payload_on": json.dumps({"values": {name: True}}),
        "payload_off": json.dumps({"values": {name: False}}),
    }


def _number(name: str, described: Property) -> dict[str, Any]:
    body: dict[str, Any] = {"value_template": _VALUE}
    if described.unit is not None:
        body["unit_of_measurement"] = described.unit
    if not described.writable:
        body["p"] = "sensor"
        return body if described.state_class is None else {**body, "state_class": described.state_class}
    bounded = described.minimum is not None and described.maximum is not None
    return {
        **body,
        "p": "number",
        "min": -UNBOUNDED if described.minimum is None else described.minimum,
        "max": UNBOUNDED if described.maximum is None else described.maximum,
        "step": described.step or (1 if described.type == "integer" else 0.1),
        "mode": "auto" if bounded else "box",
        "command_template": _command(name),
    }


def _text(name: str, described: Property) -> dict[str, Any]:
    body: dict[str, Any] = {"value_template": _VALUE}
    if described.options:
        body["options"] = list(described.options)
    if described.writable:
        return {**body, "p": "select" if described.options else "text", "command_template": _command(name)}
    return {**body, "p": "sensor", "device_class": "enum"} if described.options else {**body, "p": "sensor"}


def _command(name: str) -> str:
    """Return a template that makes a command of a value (clause I2M-CMD-01); it has no timestamp (I2M-CMD-06)."""
    return '{{ {"values": {' + json.dumps(name, ensure_ascii=False) + ": value}} | tojson }}"


class Discovery:
    """Announces the devices of one instance.

    Args:
        mqtt: The connection.
        engine: Runs what must not hold the network thread.
        prefix: HOMEASSISTANT_PREFIX.
        devices: All devices of the instance by id.
        polled: Whether they are polled.

    Raises:
        ConfigurationError: The prefix cannot be the beginning of a topic.
    """

    def __init__(
        self, *, mqtt: MQTTClient, engine: Engine, prefix: str, devices: Mapping[str, DeviceState], polled: bool
    ) -> None:
        try:
            self._prefix = Topics.of(prefix, mqtt.instance_id).base
        except ValueError as error:
            raise ConfigurationError(f"HOMEASSISTANT_PREFIX: {error}") from None
        self._mqtt = mqtt
        self._engine = engine
        self._polled = polled
        self._lane = Lane()
        self._devices = {
            self._topic(device.id): device for device in devices.values() if device.enabled and device.properties
        }
        self._gone: dict[str, dict[str, Any]] = {}
        if not self._devices:
            _log.warning(
                "HOMEASSISTANT_DISCOVERY is on, and no enabled device describes its properties: give the connector's "
                "class or the device's entry in the instance file `properties`"
            )

    def open(self) -> None:
        """Listen, on every connection, for Home Assistant to start."""
        self._mqtt.route_outside(f"{self._prefix}/status", self._on_birth)

    def online(self, *, first: bool) -> None:
        """Announce all devices, because the broker may have forgotten them.

        Args:
            first: Whether this is the first connection, so that what is left of earlier configurations is looked for.
        """
        self._engine.submit(self._lane, self._look_and_announce if first else self._announce)

    def _topic(self, device_id: str) -> str:
        return f"{self._prefix}/device/{object_id(self._mqtt.topics, device_id)}/config"

    def _on_birth(self, message: Message) -> None:
        # A retained one is older than our connection, and on that all was said.
        if message.payload == b"online" and not message.retain:
            _log.info("Home Assistant has started: its devices are announced again")
            self._engine.submit(self._lane, self._announce)

    async def _look_and_announce(self) -> None:
        everybody = f"{self._prefix}/device/+/config"
        self._mqtt.route_outside(everybody, self._look)
        self._engine.after(LOOKING, lambda: self._mqtt.unroute_outside(everybody))
        await self._announce()

    async def _announce(self, topics: Iterable[str] | None = None) -> None:
        for topic in self._devices if topics is None else topics:
            config = device_config(self._mqtt.topics, self._devices[topic], polled=self._polled)
            config["cmps"] |= self._gone.get(topic, {})
            self._mqtt.publish_outside(topic, config)

    # ------------------------------------------------------------------ what is left of earlier configurations
    def _look(self, message: Message) -> None:
        topic = message.suffix
        if not message.retain or not message.payload:
            return
        components = self._own_components(message.payload)
        if components is None:
            return
        if topic not in self._devices:
            _log.info("%s is retained of a device that is gone, and is cleared", topic)
            self._mqtt.forget(topic)
            return
        known = {_key(name) for name in self._devices[topic].properties}
        # A component that has nothing but its platform is removed; on the next start it is left out altogether.
        gone = {key: {"p": body["p"]} for key, body in components.items() if key not in known and len(body) > 1}
        if gone:
            self._gone[topic] = gone
            self._engine.submit(self._lane, partial(self._announce, [topic]))

    def _own_components(self, payload: bytes) -> dict[str, Any] | None:
        """Return the components of a discovery message that is of this instance, or None."""
        try:
            config = decode(payload)
            first, components = config["availability"][0]["topic"], config["cmps"]
            return {key: {**body, "p": body["p"]} for key, body in components.items()} if self._is_own(first) else None
        except (ValueError, LookupError, TypeError, AttributeError):
            return None  # it is of another program, which writes it in another way

    def _is_own(self, availability_topic: Any) -> bool:
        return bool(availability_topic == self._mqtt.topics.status)
