"""The components of a simulated controller: where they are plugged in, what they send, how it is decoded."""

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from iot2mqtt_pipeline.parameters import ParameterRow
from iot2mqtt_pipeline.simulator.building import Building

_TENTH = Decimal("0.1")


class Component(NamedTuple):
    """A component.

    Attributes:
        place: Mode, connector and component, as in the topic.
        rows: How many rows one message becomes.
        members: What it sends after the timestamp, as JSON members.
    """

    place: str
    rows: int
    members: Callable[[Building], str]


class _Kind(NamedTuple):
    mode: str
    component_type: str
    component_id: str | None
    encoding: str
    unit: str
    scaling: Decimal = Decimal(1)


def _word(on: bool) -> str:
    return "true" if on else "false"


def _doors(b: Building) -> str:
    return f'"door-sensor-1": {_word(b.door_open(0))}, "door-sensor-2": {_word(b.door_open(1))}'


def _buttons(b: Building) -> str:
    return f'"exit-button-1": {_word(b.button_pressed(0))}, "exit-button-2": {_word(b.button_pressed(1))}'


COMPONENTS = (
    Component("access-control-mode/J1/door-sensors", 2, _doors),
    Component("access-control-mode/J1/exit-buttons", 2, _buttons),
    Component("access-control-mode/J1/strike-1", 1, lambda b: f'"status": {_word(b.strike_released(0))}'),
    Component("access-control-mode/J1/strike-2", 1, lambda b: f'"status": {_word(b.strike_released(1))}'),
    Component("access-control-mode/J2/reader-1", 1, lambda b: f'"data": "{b.badge_read()}"'),
    Component("alarm-mode/J3/motion-sensor-1", 1, lambda b: f'"status": {_word(b.motion())}'),
    Component("alarm-mode/J3/siren-1", 1, lambda b: f'"status": {_word(b.siren())}'),
    Component("sensor-mode/J4/sensor-1", 1, lambda b: f'"data": "0x{round(b.humidity() * 10):X}"'),
    Component("sensor-mode/J4/sensor-2", 1, lambda b: f'"data": "0x{round(b.pressure() * 10):X}"'),
    Component("sensor-mode/J4/sensor-3", 1, lambda b: f'"data": "0x{round(b.celsius() * 10):X}"'),
)

MESSAGES_PER_ROUND = len(COMPONENTS)
"""How many messages one device publishes every interval."""

_KINDS = (
    _Kind("access-control-mode", "door-sensors", None, "boolean_map", "state"),
    _Kind("access-control-mode", "exit-buttons", None, "boolean_map", "state"),
    _Kind("access-control-mode", "strike", None, "boolean", "state"),
    _Kind("access-control-mode", "reader", None, "raw_string", "text"),
    _Kind("alarm-mode", "motion-sensor", None, "boolean", "presence"),
    _Kind("alarm-mode", "siren", None, "boolean", "state"),
    _Kind("sensor-mode", "sensor", "1", "hex_to_float", "percent", _TENTH),
    _Kind("sensor-mode", "sensor", "2", "hex_to_float", "hPa", _TENTH),
    _Kind("sensor-mode", "sensor", "3", "hex_to_float", "celsius", _TENTH),
)


def parameter_rows(name: str) -> list[ParameterRow]:
    """Return the parameters that decode everything a simulated controller sends.

    Args:
        name: The device that they are for, or the template.
    """
    return [
        ParameterRow(name, kind.mode, kind.component_type, kind.component_id, kind.encoding, kind.unit, kind.scaling)
        for kind in _KINDS
    ]
