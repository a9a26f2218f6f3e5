"""What travels through Kafka: raw records, decoded measurements, and the rows that measurements become.

The payload of a device is embedded byte for byte and never written anew, so that no number loses a digit on its way to
the table. These are named tuples because the sink builds one or two for each of its rows.
"""

import base64
import binascii
from datetime import UTC, datetime
from math import isfinite
from operator import itemgetter
from types import NoneType
from typing import Any, NamedTuple

import orjson

from iot2mqtt_pipeline.errors import PermanentError

Scalar = bool | int | float | str
Value = Scalar | dict[str, Scalar] | None
"""What a decoder makes of a payload; None where nobody has said how to decode it."""

_LONGEST_SHALLOW = 500
"""Documents up to this many bytes cannot nest deeper than orjson writes, which is 254 levels."""

LARGEST_ROWS = 16 * 1024 * 1024
"""Bytes of raw data in all rows of a measurement: each key of a mapping repeats what the device sent."""

_RAW_MEMBERS = ("original_topic", "device_id", "payload", "timestamp")
_HEAD, _BEFORE_PAYLOAD, _AFTER_PAYLOAD = b'{"original_topic":"', b',"payload":', b',"timestamp":'
_NUMBERS = (float, int)
_TEXT = (str, NoneType)
_SCALAR = (bool, int, float, str)
_VALUE = (bool, int, float, str, dict, NoneType)


class RawRecord(NamedTuple):
    """What arrived on MQTT, as the processor reads it.

    Attributes:
        topic: The MQTT topic.
        device_id: The device that published it.
        payload: The JSON value; the text where it is no JSON; bytes where it is no text either.
        arrived: Unix seconds of arrival.
        payload_json: The payload as JSON text: its own bytes where they are JSON.
    """

    topic: str
    device_id: str
    payload: Any
    arrived: float
    payload_json: bytes


class Measurement(NamedTuple):
    """One decoded measurement, in the order of its JSON.

    Attributes:
        timestamp: Unix seconds of the event: the device's own where it tells them.
        device_id: The device, such as `f2-e4fd45f654be`.
        connector_mode: The mode, such as `sensor-mode`; `iot2mqtt` for connectors.
        connector: The plug, such as `J1`; the instance id for connectors.
        component_type: The component without its number; the property for connectors.
        component_id: Its number, or None.
        value: What was measured; a mapping has one row a key.
        unit: The unit, or None.
        original_topic: The MQTT topic.
        raw_data: What the device sent, as JSON text.
        decoder: The encoding that was used; `none` without parameters.
        parameters_version: The version of the parameters that were used, or None.
    """

    timestamp: float
    device_id: str
    connector_mode: str
    connector: str
    component_type: str
    component_id: str | None
    value: Value
    unit: str | None
    original_topic: str
    raw_data: bytes
    decoder: str
    parameters_version: int | None

    def encode(self) -> bytes:
        """Return the JSON text of the record.

        Raises:
            PermanentError: `bad_value`: the value holds something that JSON has no word for.
        """
        if not _finite(self.value):
            raise PermanentError("bad_value", f"the value of {self.original_topic} is not finite: {self.value!r}")
        fields = self._asdict()
        fields["raw_data"] = orjson.Fragment(self.raw_data)
        try:
            return orjson.dumps(fields)
        except TypeError as fault:
            raise PermanentError("bad_value", f"the value of {self.original_topic} is no JSON: {fault}") from fault


def _finite(value: Value) -> bool:
    """Return whether there is no number that JSON would write as null."""
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    return not isinstance(value, float) or isfinite(value)


_members = itemgetter(*Measurement._fields)


class Row(NamedTuple):
    """One row of iot_measurements, in the order of its columns; raw_data is JSON text in UTF-8."""

    timestamp: datetime
    device_id: str
    connector_mode: str
    connector: str
    component_type: str
    component_id: str | None
    value: float | None
    value_text: str | None
    unit: str | None
    raw_data: bytes


def encode_raw(*, topic: str, device_id: str, payload: bytes, arrived: float) -> bytes:
    """Return the raw record of an MQTT message.

    Args:
        topic: The MQTT topic.
        device_id: The device that published it.
        payload: Any bytes. JSON is embedded as it is, UTF-8 text as a string (as is JSON of over 254 levels); other
            bytes, and text with NUL characters, which no database stores, in base64.
        arrived: Unix seconds.
    """
    head = {"original_topic": topic, "device_id": device_id}
    if _is_json(payload):
        return orjson.dumps(head | {"payload": orjson.Fragment(payload), "timestamp": arrived})
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text:
        return orjson.dumps(head | {"payload": text, "timestamp": arrived})
    encoded = base64.b64encode(payload).decode()
    return orjson.dumps(head | {"payload": encoded, "timestamp": arrived, "payload_encoding": "base64"})


def _is_json(payload: bytes) -> bool:
    try:
        document = orjson.loads(payload)
        if len(payload) > _LONGEST_SHALLOW:
            orjson.dumps(document)
    except (orjson.JSONDecodeError, TypeError):
        return False
    return True


def read_raw(value: bytes) -> RawRecord:
    """Read a raw record, also one that somebody else wrote.

    Raises:
        PermanentError: `bad_json` where it is no JSON object, `bad_record` where a member is missing or mistyped.
    """
    record = _object(value, "raw")
    try:
        topic, device_id = record["original_topic"], record["device_id"]
        payload, arrived = record["payload"], record["timestamp"]
    except KeyError as missing:
        raise PermanentError("bad_record", f"the raw record has no {missing.args[0]}") from None
    if type(topic) is not str or type(device_id) is not str or type(arrived) not in _NUMBERS:
        raise PermanentError("bad_record", "the topic, device or time of the raw record is of a wrong type")
    if "payload_encoding" in record:
        encoded = orjson.dumps({"payload_encoding": "base64", "payload": payload})
        unpacked = _unpacked(record["payload_encoding"], payload)
        return RawRecord(topic, device_id, unpacked, float(arrived), encoded)
    return RawRecord(topic, device_id, payload, float(arrived), _payload_json(value, record))


def _payload_json(value: bytes, record: dict[str, Any]) -> bytes:
    """Cut the payload out of a raw record of ours; write it anew where the record is somebody else's.

    What precedes it are two texts, in which a quotation mark is escaped; what follows it is a number.
    """
    start, end = value.find(_BEFORE_PAYLOAD), value.rfind(_AFTER_PAYLOAD)
    if start < end and value.startswith(_HEAD) and tuple(record) == _RAW_MEMBERS:
        return value[start + len(_BEFORE_PAYLOAD) : end]
    return _dumped(record["payload"])


def _unpacked(encoding: object, payload: object) -> bytes:
    if encoding != "base64" or type(payload) is not str:
        raise PermanentError("bad_record", "the payload_encoding of the raw record is not base64 of a text")
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        raise PermanentError("bad_record", "the payload of the raw record is no base64") from None


def read_measurement(value: bytes) -> Measurement:
    """Read a decoded record.

    Raises:
        PermanentError: `bad_json` where it is no JSON object, `bad_record` where a member is missing or mistyped.
    """
    record = _object(value, "decoded")
    try:
        moment, device, mode, connector, kind, number, found, unit, topic, raw, decoder, version = _members(record)
    except KeyError as missing:
        raise PermanentError("bad_record", f"the decoded record has no {missing.args[0]}") from None
    if not type(device) is type(mode) is type(connector) is type(kind) is type(topic) is type(decoder) is str:
        raise PermanentError("bad_record", "a name in the decoded record is no text")
    if type(moment) not in _NUMBERS or not isinstance(number, _TEXT) or not isinstance(unit, _TEXT):
        raise PermanentError("bad_record", "the time, unit or component_id of the decoded record is of a wrong type")
    if type(found) is dict and not all(isinstance(part, _SCALAR) for part in found.values()):
        raise PermanentError("bad_record", "a part of the value of the decoded record is of a wrong type")
    if not isinstance(found, _VALUE):
        raise PermanentError("bad_record", "the value of the decoded record is of a wrong type")
    data = _raw_data(value, topic, found, raw) if tuple(record) == Measurement._fields else _dumped(raw)
    return Measurement(moment, device, mode, connector, kind, number, found, unit, topic, data, decoder, version)


def _raw_data(value: bytes, topic: str, found: Value, raw: object) -> bytes:
    """Cut the device's own JSON out of a decoded record with our members; write it anew where others wrote it."""
    before = b',"original_topic":"%b","raw_data":' % topic.encode()
    start, end = value.find(before) + len(before), value.rfind(b',"decoder":"')
    if not len(before) <= start < end or (type(found) is dict and "raw_data" in found):
        return _dumped(raw)
    return value[start:end]


def rows(measurement: Measurement) -> list[Row]:
    """Return the rows of a measurement: one, or one a key where the value is a mapping.

    The key of a mapping becomes the component id (after the id and a slash, where there is one), so that each row has
    an identity of its own. Booleans are stored as 1 and 0, texts in value_text.

    Raises:
        PermanentError: `bad_time` where no datetime holds the time, `bad_text` where a text holds a NUL character,
            `too_large` where the rows of a mapping are more than a table should bear.
    """
    try:
        moment = datetime.fromtimestamp(measurement.timestamp, UTC)
    except (ValueError, OverflowError, OSError):
        raise PermanentError("bad_time", f"{measurement.timestamp} is no time that can be stored") from None
    if b"\\u0000" in measurement.raw_data and "\0" in _strings(orjson.loads(measurement.raw_data)):
        raise PermanentError("bad_text", f"a text from {measurement.device_id} holds a NUL character")
    value, component_id = measurement.value, measurement.component_id
    if not isinstance(value, dict):
        return [_row(moment, measurement, component_id, value)]
    if len(value) * len(measurement.raw_data) > LARGEST_ROWS:
        raise PermanentError(
            "too_large",
            f"{len(value)} values of {measurement.device_id} in {len(measurement.raw_data)} bytes make rows of over "
            f"{LARGEST_ROWS // 1024**2} MiB, because each keeps all of them: let it send fewer in a message",
        )
    prefix = "" if component_id is None else f"{component_id}/"
    return [_row(moment, measurement, prefix + key, part) for key, part in value.items()]


def _row(moment: datetime, measurement: Measurement, component_id: str | None, value: Scalar | None) -> Row:
    number, text = (None, value) if isinstance(value, str) else (value, None)
    if text is not None and "\0" in text:
        raise PermanentError("bad_text", f"the value of {measurement.device_id} holds a NUL character")
    return Row(
        moment,
        measurement.device_id,
        measurement.connector_mode,
        measurement.connector,
        measurement.component_type,
        component_id,
        None if number is None else float(number),
        text,
        measurement.unit,
        measurement.raw_data,
    )


def _object(value: bytes, what: str) -> dict[str, Any]:
    try:
        record = orjson.loads(value)
    except orjson.JSONDecodeError as fault:
        raise PermanentError("bad_json", f"the {what} record is no JSON: {fault}") from None
    if type(record) is not dict:
        raise PermanentError("bad_json", f"the {what} record is no JSON object")
    return record


def _dumped(document: object) -> bytes:
    try:
        return orjson.dumps(document)
    except TypeError as fault:
        raise PermanentError("bad_record", f"the payload of the record cannot be written as JSON: {fault}") from None


def _strings(document: object) -> str:
    """Return all texts of a JSON value in one."""
    parts, heap = [], [document]
    while heap:
        item = heap.pop()
        if isinstance(item, dict):
            heap += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            heap += item
        elif isinstance(item, str):
            parts.append(item)
    return "".join(parts)
