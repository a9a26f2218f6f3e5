"""What an instance publishes: topic, payload, QoS and retain flag of each kind of message."""

import json
import re
from collections.abc import Mapping
from typing import Any

from iot2mqtt_sdk.contract.topics import Topics, check_level
from iot2mqtt_sdk.errors import PayloadError
from iot2mqtt_sdk.jsontext import dump, encode, plain
from iot2mqtt_sdk.runtime.outbox import Outgoing
from iot2mqtt_sdk.settings import Settings

SEVERITIES = ("info", "warning", "error", "critical")
LONGEST_TOPIC = 65535
"""Bytes of a topic, by MQTT."""
_NOT_IN_A_TOPIC = re.compile(r"[+#\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Messages:
    """Builds the messages of one instance; values that cannot be published raise PayloadError."""

    def __init__(self, topics: Topics, settings: Settings) -> None:
        self._topics = topics
        self._settings = settings

    def value(self, topic: str, payload: Any, qos: int, *, retain: bool) -> Outgoing:
        """Any value; a text or bytes that already are a JSON object or array are taken as that."""
        if isinstance(qos, bool) or qos not in (0, 1, 2):
            raise PayloadError(f"qos must be 0, 1 or 2, not {qos!r}; retain=True is given by name")
        group = topic if retain else None
        return Outgoing(checked_topic(topic), encode(_parsed(payload)), qos, retain, group)

    def object(self, suffix: str, body: Mapping[str, Any]) -> Outgoing:
        """An object that gets the time of its publication."""
        return Outgoing(checked_topic(self._topics.below(suffix)), encode(body), 1, retain=False, stamped=True)

    def state(self, device_id: str, state: Mapping[str, Any]) -> list[Outgoing]:
        """A device's whole state, and each property (clauses I2M-STATE-02, I2M-STATE-04)."""
        qos, retain = self._settings.qos, self._settings.retain
        topic = checked_topic(self._topics.device(device_id, "state"))
        whole = Outgoing(topic, _state_text(device_id, state), qos, retain, topic, stamped=True)
        properties = (
            Outgoing(checked_topic(f"{topic}/{name}"), dump(value), qos, retain, topic) for name, value in state.items()
        )
        return [whole, *properties]

    def part(self, device_id: str, state: Mapping[str, Any]) -> Outgoing:
        """Some of a device's properties (clause I2M-GET-03)."""
        text = _state_text(device_id, checked_state(device_id, state))
        topic = checked_topic(self._topics.device(device_id, "state"))
        return Outgoing(topic, text, self._settings.qos, retain=False, stamped=True)

    def event(self, device_id: str, event: str, data: Any) -> list[Outgoing]:
        """An event of a device, on its own topic and on that of all instances (clause I2M-EVT-01)."""
        body = {"event": str(event), "data": plain({} if data is None else data)}
        own = self.object(f"devices/{named(device_id)}/events", body)
        instance = self._topics.instance_id
        everyone = {"source": f"{instance}_{device_id}", "instance_id": instance, "device_id": device_id, **body}
        return [own, Outgoing(self._topics.events, encode(everyone), 1, retain=False, stamped=True)]

    def error(
        self, device_id: str, code: str, message: str, severity: str, retry_info: Mapping[str, Any] | None
    ) -> Outgoing:
        """Something is wrong with a device (clause I2M-ERR-01)."""
        if severity not in SEVERITIES:
            raise PayloadError(f"severity must be one of {', '.join(SEVERITIES)}, not {severity!r}")
        body: dict[str, Any] = {"error_code": str(code), "message": str(message), "severity": severity}
        if retry_info is not None:
            body["retry_info"] = retry_info
        return self.object(f"devices/{named(device_id)}/error", body)


def _parsed(payload: Any) -> Any:
    if not isinstance(payload, str | bytes | bytearray):
        return payload
    raw = payload.encode() if isinstance(payload, str) else bytes(payload)
    if raw.lstrip()[:1] not in (b"{", b"["):
        return payload
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return payload


def _state_text(device_id: str, state: Mapping[str, Any]) -> bytes:
    return dump({"device_id": device_id, "state": state})


def checked_topic(topic: str) -> str:
    """Return a topic that MQTT can carry.

    Raises:
        PayloadError: It cannot.
    """
    if _NOT_IN_A_TOPIC.search(topic) or "//" in topic or len(topic.encode()) > LONGEST_TOPIC:
        raise PayloadError(
            f"nothing can be published to {topic[:200]!r}: a topic has no empty level, +, # or control character, and "
            f"at most {LONGEST_TOPIC} bytes"
        )
    return topic


def is_level(name: str) -> bool:
    """Whether a name that came from outside may stand in a topic of ours (clause I2M-PUB-04)."""
    try:
        checked_topic(check_level(name, "name"))
    except (ValueError, PayloadError):
        return False
    return True


def checked_filter(pattern: str) -> str:
    """Return a topic filter that MQTT can carry.

    Raises:
        PayloadError: It cannot.
    """
    levels = pattern.split("/")
    plain_levels = levels[:-1] if levels[-1] == "#" else levels
    if not pattern or any(level != "+" and _NOT_IN_A_TOPIC.search(level) for level in plain_levels):
        raise PayloadError(f"{pattern[:200]!r} is no topic filter: + must be a whole level, and # the last one")
    return pattern


def named(device_id: str) -> str:
    """Return a device id that can stand in a topic (clause I2M-PUB-04).

    Raises:
        PayloadError: It cannot.
    """
    try:
        return check_level(device_id, "device id")
    except ValueError as error:
        raise PayloadError(str(error)) from None


def checked_state(device_id: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state made of nothing but what JSON has a form for.

    Raises:
        PayloadError: It cannot be published.
    """
    named(device_id)
    cleaned = plain(state)
    if not isinstance(cleaned, dict):
        raise PayloadError(f"the state of {device_id} is a {type(state).__name__}: return a dict of property to value")
    try:
        for name in cleaned:
            check_level(name, f"property of {device_id}")
    except ValueError as error:
        raise PayloadError(str(error)) from None
    return cleaned
