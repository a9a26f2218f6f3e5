"""Which devices does the Zigbee2MQTT at this broker have? Asked by the setup flow before it writes an instance."""

import json
import math
import queue
import time
from typing import Annotated, Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from pydantic import Field

from iot2mqtt_sdk.actions import ActionError, action


def found(entry: dict[str, Any]) -> dict[str, str]:
    """Return what a setup flow wants to know of a device."""
    model = (entry.get("definition") or {}).get("model") or entry.get("model_id") or "unknown"
    return {"address": entry["ieee_address"], "name": entry["friendly_name"], "model": str(model)}


def kept(topic: str, address: tuple[str, int], login: tuple[str, str], timeout: float) -> bytes:
    """Return what a broker keeps on a topic."""
    place, deadline = f"{address[0]}:{address[1]}", time.monotonic() + timeout
    news: queue.SimpleQueue[bytes | ActionError] = queue.SimpleQueue()
    client = paho.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
    if login[0]:
        client.username_pw_set(*login)
    client.connect_timeout = timeout

    def connected(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            news.put(ActionError("refused", f"the broker {place} refuses the connection: {reason}"))
        else:
            client.subscribe(topic, 0)

    client.on_connect = connected
    client.on_message = lambda _client, _data, message: news.put(bytes(message.payload))
    try:
        client.connect(*address, keepalive=math.ceil(timeout))
        client.loop_start()
        answer = news.get(timeout=max(0.01, deadline - time.monotonic()))
    except OSError as error:
        raise ActionError("unreachable", f"no broker answers at {place} ({error})", retriable=True) from error
    except queue.Empty:
        message = f"nothing is kept on {topic} at {place}: does Zigbee2MQTT run, and is that its base topic?"
        raise ActionError("unreachable", message, retriable=True) from None
    finally:
        client.disconnect()
        client.loop_stop()
    if isinstance(answer, ActionError):
        raise answer
    return answer


@action
def discover(
    host: Annotated[str, Field(min_length=1)],
    port: Annotated[int, Field(ge=1, le=65535)] = 1883,
    *,
    username: str = "",
    password: str = "",
    base_topic: Annotated[str, Field(pattern=r"^[^+#]+$")] = "zigbee2mqtt",
    timeout: Annotated[float, Field(gt=0, le=20)] = 5.0,
) -> dict[str, Any]:
    """Return the devices of the Zigbee network, each with its address, name and model."""
    payload = kept(f"{base_topic}/bridge/devices", (host, port), (username, password), timeout)
    try:
        entries = json.loads(payload)
        devices = [found(entry) for entry in entries if entry.get("type") != "Coordinator"]
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ActionError("not_zigbee2mqtt", f"{base_topic}/bridge/devices holds no list of devices") from error
    return {"devices": devices}
