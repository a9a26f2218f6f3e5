"""What an MQTT topic says about the measurement under it."""

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from iot2mqtt_pipeline.errors import PermanentError

Verdict = Literal["carry", "ignore", "unknown"]
"""Carried into Kafka; known and of no concern to the pipeline; or neither, which is a dead letter."""

IOT2MQTT_MODE = "iot2mqtt"
"""The connector_mode of what IoT2MQTT connectors publish."""

_REMEMBERED = 65_536
"""Topics that are not parsed anew: more than a large site has, in some tens of megabytes."""

_LEVEL = r"[^/+#\x00-\x1f\x7f-\x9f\ud800-\udfff]+"
_CONTROLLER = re.compile(
    r"(?:cmnd|stat|tele)/(?P<device>f2-[0-9a-f]{12})/(?P<mode>[a-z][a-z0-9-]*)/(?P<connector>[A-Za-z0-9]+)"
    r"/(?P<component>[a-z][A-Za-z0-9_-]*)"
)
_INSTANCE = rf"{_LEVEL}(?:/{_LEVEL})*/v1/instances/(?P<instance>{_LEVEL})"
_STATE = re.compile(rf"{_INSTANCE}/devices/(?P<device>{_LEVEL})/state")
_OF_THE_CONTRACT = re.compile(
    rf"{_INSTANCE}/(?:status|discovered|meta/(?:request/{_LEVEL}|devices_list|info)"
    rf"|groups/{_LEVEL}/(?:state|cmd|cmd/response)"
    rf"|devices/{_LEVEL}/(?:state/{_LEVEL}|cmd|cmd/response|get|error|events|telemetry|availability))"
    rf"|{_LEVEL}(?:/{_LEVEL})*/v1/global/events"
)
_NUMBERED = re.compile(r"(?P<type>.+)-(?P<id>[0-9]+)")


class Origin(NamedTuple):
    """Where a message comes from.

    Attributes:
        device_id: The device, and the key of its records.
        connector_mode: The mode; `iot2mqtt` for connectors.
        connector: The plug; the instance id for connectors.
        component_type: The component without its number; empty for connectors, where the payload names the properties.
        component_id: Its number, or None.
        kind: `component` for what needs parameters, `state` for the state of a connector's device.
    """

    device_id: str
    connector_mode: str
    connector: str
    component_type: str
    component_id: str | None
    kind: Literal["component", "state"]


def filters(base: str) -> tuple[str, ...]:
    """Return what the bridge subscribes to.

    Everything that controllers publish, so that a mistaken topic becomes a dead letter instead of vanishing; of the
    connectors, which publish much besides, their states alone.

    Args:
        base: MQTT_BASE_TOPIC of the connectors, of one or more levels.
    """
    return "cmnd/#", "stat/#", "tele/#", f"{base.strip('/')}/v1/instances/+/devices/+/state"


def verdict_of(topic: str) -> Verdict:
    """Say whether messages under a topic are carried; `ignore` is for what the contract knows and we do not store."""
    try:
        origin_of(topic)
    except PermanentError:
        return "ignore" if _OF_THE_CONTRACT.fullmatch(topic) else "unknown"
    return "carry"


def device_of(topic: str) -> str:
    """Return the device that publishes under a topic.

    Raises:
        PermanentError: `unknown_topic`: no device of ours publishes there.
    """
    return origin_of(topic).device_id


@lru_cache(maxsize=_REMEMBERED)
def origin_of(topic: str) -> Origin:
    """Return where the messages of a topic come from.

    Raises:
        PermanentError: `unknown_topic`: no device of ours publishes measurements there.
    """
    controller = _CONTROLLER.fullmatch(topic)
    if controller is not None:
        component_type, component_id = component_of(controller["component"])
        return Origin(
            controller["device"], controller["mode"], controller["connector"], component_type, component_id, "component"
        )
    state = _STATE.fullmatch(topic)
    if state is not None:
        return Origin(state["device"], IOT2MQTT_MODE, state["instance"], "", None, "state")
    raise PermanentError(
        "unknown_topic",
        f"no measurements are known under {topic!r}: expected cmnd|stat|tele/f2-<mac>/<mode>/<connector>/<component> "
        "or <base>/v1/instances/<instance>/devices/<device>/state",
    )


def component_of(name: str) -> tuple[str, str | None]:
    """Split a component into what precedes a trailing `-<digits>`, and those digits: door-sensors has none."""
    numbered = _NUMBERED.fullmatch(name)
    return (name, None) if numbered is None else (numbered["type"], numbered["id"])
