"""Messages and records that nobody can carry, one of each kind."""

import json
import time
from collections.abc import Mapping
from contextlib import closing
from decimal import Decimal
from typing import Any

import psycopg

from iot2mqtt_pipeline.adapters.parameters import put
from iot2mqtt_pipeline.parameters import ParameterRow
from iot2mqtt_pipeline.record import Measurement
from tests.pipeline.kafkas import incompressible

NAME = "malformed, too large, not UTF-8, unknown encoding, wrong time, parameters that do not fit"
_DEVICE = "f2-badbadbadbad"
_MEGABYTE = 1024 * 1024


def _topic(component: str) -> str:
    return f"cmnd/{_DEVICE}/sensor-mode/J1/{component}"


MESSAGES = [
    (_topic("sensor-1"), b'"' + incompressible(10 * _MEGABYTE) + b'"'),
    (_topic("sensor-2"), b"\xff\xfe no UTF-8"),
    (_topic("sensor-3"), b'{"data": "0x1"}'),
    (_topic("sensor-4"), b'{"timestamp": "half past nine", "data": "0x1"}'),
    (_topic("sensor-5"), json.dumps({"timestamp": time.time() + 3 * 86_400, "data": "0x1"}).encode()),
    (_topic("sensor-6"), b'{"data": "maybe"}'),
    ("cmnd/not/ours", b"{}"),
]
"""Too large; no text for a decoder of numbers; an encoding that nobody knows; a time that nobody can read; a clock that
is three days ahead; parameters for another payload; a topic of nobody's."""

RAW = [(_DEVICE.encode(), b"{no JSON"), (_DEVICE.encode(), b"[]")]

DECODED = [
    (_DEVICE.encode(), b"\x00"),
    # The database refuses it: no index holds a name of this length. All others of its batch are stored.
    (
        _DEVICE.encode(),
        Measurement(
            time.time(),
            _DEVICE,
            "sensor-mode",
            "J1",
            incompressible(8000).decode(),
            None,
            1.0,
            None,
            "cmnd/x",
            b"{}",
            "none",
            None,
        ).encode(),
    ),
]

COUNT = len(MESSAGES) + len(RAW) + len(DECODED)
REASONS = {"too_large", "bad_value", "bad_parameters", "bad_time", "unknown_topic", "bad_json", "refused_by_database"}


def set_parameters(database: Mapping[str, Any]) -> None:
    """Add what decodes the messages, or does not."""

    def row(number: str, encoding: str) -> ParameterRow:
        return ParameterRow(_DEVICE, "sensor-mode", "sensor", number, encoding, "", Decimal(1), None)

    put(database, [row(number, "hex_to_float") for number in "1245"] + [row("6", "boolean")])
    with closing(psycopg.connect(**database, autocommit=True)) as connection:
        connection.execute(
            "INSERT INTO device_parameters VALUES (%s, 'sensor-mode', 'sensor', '3', 'smoke_signals', '', 1.0)",
            [_DEVICE],
        )
