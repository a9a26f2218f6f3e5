"""What is known of the Zigbee network: the devices that Zigbee2MQTT lists, and those of them that are configured."""

import json
import math
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from exposes import EVENTS, GET, Feature, features

LARGEST = 64 * 1024
"""Bytes of a message about one device, at the most."""
LARGEST_LIST = 8 * 1024 * 1024
"""Bytes of the list of all devices, at the most: each comes with all that it exposes."""
TOLERANCE = 0.02
"""Part of a number by which a device may round it."""


class MalformedError(Exception):
    """A message of Zigbee2MQTT is not what its documentation says; the message says how."""


@dataclass(frozen=True, slots=True)
class ZigbeeDevice:
    """A device as Zigbee2MQTT lists it.

    Attributes:
        ieee: Its address, which stays the same when it is renamed.
        name: Its friendly name, which is part of its topics.
        model: What it is.
        features: What it exposes, by property; empty where Zigbee2MQTT does not support it.
    """

    ieee: str
    name: str
    model: str
    features: Mapping[str, Feature]

    def question(self) -> dict[str, Any]:
        """Return what asks for all that can be asked for; empty for a device that sleeps."""
        return {name: feature.question() for name, feature in self.features.items() if feature.access & GET}

    def state(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Return the state that a message tells, as the contract says it."""
        if not self.features:
            return dict(payload)
        return {
            name: self.features[name].to_contract(value)
            for name, value in payload.items()
            if name in self.features and name not in EVENTS
        }


class Expectation(Future[None]):
    """Waits for a message that says what a command wanted; without wanted values, for any.

    Attributes:
        topic: Where the command went, below the base topic.
        payload: What it was.
        wanted: The values that it wanted, as the contract says them.
        told: Whether the device has told of these properties, with whatever values.
    """

    def __init__(self, topic: str, payload: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        super().__init__()
        self.topic = topic
        self.payload = payload
        self.wanted = wanted
        self.told = False

    def look(self, state: Mapping[str, Any]) -> None:
        """Take a state that was told."""
        self.told = self.told or self.wanted.keys() <= state.keys()
        if not self.done() and all(name in state and _alike(value, state[name]) for name, value in self.wanted.items()):
            self.set_result(None)


@dataclass(slots=True, eq=False)
class Served:
    """A device of the instance file.

    What is known of it is changed on the network's thread alone; hooks read it, and leave an expectation.

    Attributes:
        id: Its device_id.
        address: The IEEE address or the friendly name by which it is configured.
        zigbee: It, as Zigbee2MQTT lists it.
        available: Whether Zigbee2MQTT can reach it; it is taken for granted until the opposite is said.
        state: What it has told, put together.
        told_at: When it did so last, in monotonic seconds.
        expected: What a hook waits for.
    """

    id: str
    address: str
    zigbee: ZigbeeDevice | None = None
    available: bool = True
    state: dict[str, Any] = field(default_factory=dict)
    told_at: float = -math.inf
    expected: Expectation | None = None

    def is_called(self, name: Any) -> bool:
        """Whether this is one of its names."""
        known = (self.zigbee.ieee, self.zigbee.name) if self.zigbee is not None else ()
        return name == self.address or name in known

    def is_meant_by(self, device: ZigbeeDevice) -> bool:
        """Whether it is configured as this device."""
        return self.address in (device.ieee, device.name)


def document(payload: bytes, largest: int = LARGEST) -> Any:
    """Return the JSON of a message.

    Raises:
        MalformedError: It has none, or is too large.
    """
    if len(payload) > largest:
        raise MalformedError(f"it has {len(payload)} bytes, and {largest} are the most")
    try:
        found = json.loads(payload)
        if b"\\u" in payload:
            json.dumps(found, ensure_ascii=False).encode()  # Half a character has no place in any message.
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"it is no JSON ({error})") from None
    return found


def mapping(payload: bytes) -> dict[str, Any]:
    """Return the JSON object of a message.

    Raises:
        MalformedError: It is none, or too large.
    """
    found = document(payload)
    if not isinstance(found, dict):
        raise MalformedError("it is no JSON object")
    return found


def is_online(payload: bytes) -> bool:
    """Read an availability: the word itself, or an object with it as `state`, as newer versions say it.

    Raises:
        MalformedError: It is neither online nor offline.
    """
    found = payload if payload in (b"online", b"offline") else mapping(payload).get("state")
    if found not in (b"online", b"offline", "online", "offline"):
        raise MalformedError("it says neither online nor offline")
    return found in (b"online", "online")


def listed(payload: bytes) -> list[ZigbeeDevice]:
    """Return the devices of `bridge/devices`, the coordinator apart.

    Raises:
        MalformedError: It is no list of devices.
    """
    entries = document(payload, LARGEST_LIST)
    if not isinstance(entries, list):
        raise MalformedError("it is no list")
    return [_device(entry) for entry in entries if not isinstance(entry, dict) or entry.get("type") != "Coordinator"]


def _device(entry: Any) -> ZigbeeDevice:
    ieee, name = (entry.get(key) if isinstance(entry, dict) else None for key in ("ieee_address", "friendly_name"))
    if not isinstance(ieee, str) or not isinstance(name, str):
        raise MalformedError("it lists something without ieee_address and friendly_name")
    definition = entry.get("definition") if isinstance(entry.get("definition"), dict) else {}
    model = " ".join(str(definition[key]) for key in ("vendor", "model") if definition.get(key))
    return ZigbeeDevice(ieee, name, model or str(entry.get("model_id")), features(definition.get("exposes")))


def _alike(wanted: Any, told: Any) -> bool:
    """Whether a told value is the wanted one, give or take what a device rounds."""
    if isinstance(wanted, Mapping):
        return isinstance(told, Mapping) and all(
            name in told and _alike(value, told[name]) for name, value in wanted.items()
        )
    if isinstance(wanted, bool) or isinstance(told, bool):
        return wanted is told
    if isinstance(wanted, int | float) and isinstance(told, int | float):
        return math.isclose(wanted, told, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(wanted == told)
