"""From a raw record to measurements: the topic says what it is, the parameters how it is read."""

from dataclasses import dataclass
from typing import Any, Literal

import orjson

from iot2mqtt_pipeline.errors import PermanentError
from iot2mqtt_pipeline.parameters import ParameterTable, parse
from iot2mqtt_pipeline.record import Measurement, RawRecord, Value, encode_raw, read_raw
from iot2mqtt_pipeline.times import event_time
from iot2mqtt_pipeline.topics import IOT2MQTT_MODE, Origin, origin_of
from iot2mqtt_sdk.errors import ConfigurationError

UNDECODED = "none"
"""The decoder of a record for which there are no parameters."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """Decodes raw records.

    Args:
        table: The parameters.
        unknown: What becomes of a component without parameters: `pass` lets it go on as it is, with the decoder `none`.
        now: Unix seconds; 0 where the time of arrival alone says which times lie too far ahead.
    """

    table: ParameterTable
    unknown: Literal["pass", "deadletter"]
    now: float = 0.0

    def measurements(self, raw: RawRecord) -> list[Measurement]:
        """Return the measurements of a record, always the same ones for the same record and parameters.

        Only which times lie too far ahead depends on `now`.

        Raises:
            PermanentError: `unknown_topic`, `bad_time`, `bad_value`, `bad_parameters`, or `no_parameters` where unknown
                components are dead letters.
        """
        origin = origin_of(raw.topic)
        moment = event_time(raw.payload, raw.arrived, self.now)
        if origin.kind == "state":
            return _properties(raw, origin, moment)
        return self._components(raw, origin, moment)

    def _components(self, raw: RawRecord, origin: Origin, moment: float) -> list[Measurement]:
        parameters = self.table.find(*origin[:2], origin.component_type, origin.component_id)
        if parameters is None:
            if self.unknown == "deadletter":
                raise PermanentError("no_parameters", f"there are no parameters for {raw.topic}: add a row for it")
            return [_measured(raw, origin, moment, origin.component_id, None, None, UNDECODED, None)]
        unit, name, version = parameters.unit, parameters.encoding, parameters.version
        decoded = parameters.decoder.decode(raw.payload, parameters.scaling)
        if not isinstance(decoded, list):
            return [_measured(raw, origin, moment, origin.component_id, decoded, unit, name, version)]
        prefix = "" if origin.component_id is None else f"{origin.component_id}/"
        return [
            _measured(raw, origin, moment, prefix + point, value, unit if own is None else own, name, version)
            for point, value, own in decoded
        ]


def _measured(  # noqa: PLR0917
    raw: RawRecord,
    origin: Origin,
    moment: float,
    component_id: str | None,
    value: Value,
    unit: str | None,
    decoder: str,
    version: int | None,
) -> Measurement:
    device, mode, connector, component_type, _, _ = origin
    return Measurement(
        moment,
        device,
        mode,
        connector,
        component_type,
        component_id,
        value,
        unit,
        raw.topic,
        raw.payload_json,
        decoder,
        version,
    )


def _properties(raw: RawRecord, origin: Origin, moment: float) -> list[Measurement]:
    """Return a measurement for each number and boolean in the state of a connector's device (I2M-STATE-02).

    There is none in an empty payload, with which a connector clears the state of a device that it has no more.
    """
    if raw.payload == "":
        return []
    state = raw.payload.get("state") if isinstance(raw.payload, dict) else None
    if not isinstance(state, dict):
        raise PermanentError("bad_value", f"the payload of {raw.topic} is no state message: it has no object `state`")
    return [
        Measurement(
            timestamp=moment,
            device_id=origin.device_id,
            connector_mode=origin.connector_mode,
            connector=origin.connector,
            component_type=name,
            component_id=None,
            value=value,
            unit=None,
            original_topic=raw.topic,
            raw_data=orjson.dumps({name: value}),
            decoder=IOT2MQTT_MODE,
            parameters_version=None,
        )
        for name, value in state.items()
        if isinstance(value, bool | int | float)
    ]


def try_decode(encoding: str, payload: str, scaling: str, decode: str | None) -> list[dict[str, Any]]:
    """Decode one payload as a row of device_parameters would, for trying parameters out.

    Args:
        encoding: encoding_type.
        payload: What the device publishes.
        scaling: scaling_factor, as a decimal number.
        decode: `decode`, as JSON text; None where the row has none.

    Returns:
        The values, each an object with `value`, `name` (None where the payload holds only one) and `unit` (None where
        it is that of the row).

    Raises:
        ConfigurationError: There is no such encoding, or its options are wrong.
        PermanentError: The payload cannot be decoded.
    """
    try:
        options = None if decode is None else orjson.loads(decode)
        parameters = parse(encoding, None, scaling, options, 1)
    except ValueError as fault:
        raise ConfigurationError(f"these parameters cannot be used: {fault}") from None
    raw = read_raw(encode_raw(topic="", device_id="", payload=payload.encode(errors="surrogateescape"), arrived=0.0))
    decoded = parameters.decoder.decode(raw.payload, parameters.scaling)
    if isinstance(decoded, list):
        return [reading._asdict() for reading in decoded]
    return [{"name": None, "value": decoded, "unit": None}]
