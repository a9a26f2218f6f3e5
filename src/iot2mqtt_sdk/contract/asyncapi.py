"""The contract's topics and payloads as an AsyncAPI 3.0 document, from the connector's point of view."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from iot2mqtt_sdk.contract.schemas import schema

PARAMETERS: Final = {
    "base": {"description": "MQTT_BASE_TOPIC: one or more levels.", "default": "IoT2mqtt"},
    "instance_id": {"description": "INSTANCE_NAME: the instance."},
    "device_id": {"description": "A device of the instance."},
    "group_id": {"description": "A group of the instance."},
    "property": {"description": "A property of the device."},
}


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic.

    Attributes:
        name: How the document refers to it.
        suffix: What follows `{base}/v1/`.
        payload: The schema of its payload; None for a request that carries nothing.
        sent: Whether the connector sends on it; otherwise it receives.
        title: One line for people.
        retain: Whether the broker keeps the message; None where the environment decides (I2M-ENV-07).
        reply: The topic of the answer, by name.
    """

    name: str
    suffix: str
    payload: str | None
    sent: bool
    title: str
    retain: bool | None = False
    reply: str | None = None


INSTANCE: Final = "instances/{instance_id}"
DEVICE: Final = f"{INSTANCE}/devices/{{device_id}}"
GROUP: Final = f"{INSTANCE}/groups/{{group_id}}"
TOPICS: Final = (
    Topic("status", f"{INSTANCE}/status", "status", True, "Whether the instance is online; also its last will", True),
    Topic("state", f"{DEVICE}/state", "state", True, "A device's whole state", None),
    Topic("property", f"{DEVICE}/state/{{property}}", "property", True, "One property of a device's state", None),
    Topic("availability", f"{DEVICE}/availability", "availability", True, "Whether a device can be reached", True),
    Topic("telemetry", f"{DEVICE}/telemetry", "telemetry", True, "Measurements about a device"),
    Topic("event", f"{DEVICE}/events", "event", True, "Something happened at a device"),
    Topic("global_event", "global/events", "event", True, "Something happened at a device of any instance"),
    Topic("error", f"{DEVICE}/error", "error", True, "Something is wrong with a device"),
    Topic("cmd", f"{DEVICE}/cmd", "cmd", False, "A command to a device", reply="cmd_response"),
    Topic("cmd_response", f"{DEVICE}/cmd/response", "cmd_response", True, "What became of a command to a device"),
    Topic("get", f"{DEVICE}/get", "get", False, "A request for a device's state", reply="state"),
    Topic("group_cmd", f"{GROUP}/cmd", "cmd", False, "A command to a group", reply="group_response"),
    Topic("group_response", f"{GROUP}/cmd/response", "group_response", True, "What became of a command to a group"),
    Topic("request_info", f"{INSTANCE}/meta/request/info", None, False, "A request for facts", reply="info"),
    Topic("info", f"{INSTANCE}/meta/info", "info", True, "Facts about the instance"),
    Topic(
        "request_devices_list",
        f"{INSTANCE}/meta/request/devices_list",
        None,
        False,
        "A request for the configured devices",
        reply="devices_list",
    ),
    Topic("devices_list", f"{INSTANCE}/meta/devices_list", "devices_list", True, "The configured devices"),
)
"""Every topic of the contract that has a payload or asks for one (I2M-PUB-01, I2M-PUB-05, I2M-SUB-01 to 04)."""


def document() -> dict[str, Any]:
    """Return the AsyncAPI document; a new one with each call."""
    schemas: dict[str, Any] = {}
    for name in sorted({topic.payload for topic in TOPICS if topic.payload}):
        schemas |= _schemas(name)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "The IoT2MQTT connector contract",
            "version": _version(),
            "description": "What a connector publishes and is subscribed to. {base} may have several levels.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": {_operation_name(topic): _operation(topic) for topic in TOPICS},
        "components": {"messages": {topic.name: _message(topic) for topic in TOPICS}, "schemas": schemas},
    }


def _version() -> str:
    try:
        return version("iot2mqtt-sdk")
    except PackageNotFoundError:
        return "0"


def _channel(topic: Topic) -> dict[str, Any]:
    address = f"{{base}}/v1/{topic.suffix}"
    return {
        "address": address,
        "title": topic.title,
        "parameters": {name: dict(facts) for name, facts in PARAMETERS.items() if f"{{{name}}}" in address},
        "messages": {topic.name: {"$ref": f"#/components/messages/{topic.name}"}},
    }


def _operation_name(topic: Topic) -> str:
    return f"{'send' if topic.sent else 'receive'}_{topic.name}"


def _operation(topic: Topic) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "action": "send" if topic.sent else "receive",
        "channel": {"$ref": f"#/channels/{topic.name}"},
        "title": topic.title,
        "messages": [{"$ref": f"#/channels/{topic.name}/messages/{topic.name}"}],
        "bindings": {"mqtt": _binding(topic)},
    }
    if topic.reply is not None:
        operation["reply"] = {
            "channel": {"$ref": f"#/channels/{topic.reply}"},
            "messages": [{"$ref": f"#/channels/{topic.reply}/messages/{topic.reply}"}],
        }
    return operation


def _binding(topic: Topic) -> dict[str, Any]:
    """Return QoS and retain flag; those of a state are the environment's (I2M-ENV-06, I2M-ENV-07)."""
    if topic.retain is None:
        return {"bindingVersion": "0.2.0"}
    return {"qos": 1, "retain": topic.retain, "bindingVersion": "0.2.0"}


def _message(topic: Topic) -> dict[str, Any]:
    message: dict[str, Any] = {"name": topic.name, "title": topic.title}
    if topic.payload is None:
        return message
    message["payload"] = {"$ref": f"#/components/schemas/{topic.payload}"}
    if topic.payload == "status":
        message["contentType"] = "text/plain"  # the one payload that is no JSON (I2M-STATUS-07)
    return message


def _schemas(name: str) -> dict[str, Any]:
    """Return a schema and what it is made of, each under a name of its own.

    The payloads' schemas use nothing that AsyncAPI's own dialect, JSON Schema draft 7, reads differently, apart from
    the place of their parts.
    """
    whole = {key: item for key, item in schema(name).items() if key not in ("$schema", "$id")}
    parts = whole.pop("$defs", {})
    named: dict[str, Any] = _moved(whole, name)
    return {name: named, **{f"{name}_{part}": _moved(item, name) for part, item in parts.items()}}


def _moved(value: Any, name: str) -> Any:
    """Return a schema whose references lead to where its parts are in the document."""
    if isinstance(value, dict):
        return {
            key: item.replace("#/$defs/", f"#/components/schemas/{name}_") if key == "$ref" else _moved(item, name)
            for key, item in value.items()
        }
    return [_moved(item, name) for item in value] if isinstance(value, list) else value
