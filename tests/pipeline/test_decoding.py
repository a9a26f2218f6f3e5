"""From raw records to measurements."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iot2mqtt_pipeline.decoding import Decoder
from iot2mqtt_pipeline.errors import PermanentError
from iot2mqtt_pipeline.parameters import ParameterRow, ParameterTable, parse_row
from iot2mqtt_pipeline.record import Measurement, encode_raw, read_measurement, read_raw, rows

DEVICE = "f2-e4fd45f654be"
ARRIVED = 1_685_126_045.5
ACCESS, SENSOR, ALARM = "access-control-mode", "sensor-mode", "alarm-mode"
DOCUMENTED = [
    ParameterRow(DEVICE, ACCESS, "door-sensors", None, "boolean_map", "state", Decimal("1.0")),
    ParameterRow(DEVICE, ACCESS, "strike", "1", "boolean", "state", Decimal("1.0")),
    ParameterRow(DEVICE, SENSOR, "sensor", "3", "hex_to_float", "celsius", Decimal("0.1")),
    ParameterRow(DEVICE, ALARM, "motion-sensor", "1", "boolean", "presence", Decimal("1.0")),
    ParameterRow(DEVICE, ACCESS, "reader", "1", "raw_string", "text", Decimal("1.0")),
]
"""The statement of the source documents."""


def decode(
    place: str, payload: bytes, *, table: Sequence[ParameterRow] = DOCUMENTED, strict: bool = False
) -> list[Measurement]:
    topic = f"cmnd/{DEVICE}/{place}"
    raw = read_raw(encode_raw(topic=topic, device_id=DEVICE, payload=payload, arrived=ARRIVED))
    return Decoder(ParameterTable(table), "deadletter" if strict else "pass").measurements(raw)


def decode_state(payload: bytes) -> list[Measurement]:
    raw = encode_raw(
        topic="site/a/v1/instances/hue/devices/light1/state", device_id="light1", payload=payload, arrived=1.8e9
    )
    return Decoder(ParameterTable(), "deadletter").measurements(read_raw(raw))


def test_the_example_of_the_documents_comes_out_as_they_print_it() -> None:
    payload = b'{"timestamp": "2023-05-26T18:34:04.928538", "door-sensor-1": false, "door-sensor-2": true}'
    [measurement] = decode(f"{ACCESS}/J1/door-sensors", payload)
    assert list(orjson.loads(measurement.encode()).items()) == [
        ("timestamp", 1_685_126_044.928538),
        ("device_id", "f2-e4fd45f654be"),
        ("connector_mode", "access-control-mode"),
        ("connector", "J1"),
        ("component_type", "door-sensors"),
        ("component_id", None),
        ("value", {"door-sensor-1": False, "door-sensor-2": True}),
        ("unit", "state"),
        ("original_topic", "cmnd/f2-e4fd45f654be/access-control-mode/J1/door-sensors"),
        ("raw_data", orjson.loads(payload)),
        ("decoder", "boolean_map"),
        ("parameters_version", 1),
    ]


@pytest.mark.parametrize(
    ("place", "payload", "value", "unit"),
    [
        (f"{ACCESS}/J1/strike-1", b'{"status": true}', b"true", "state"),
        (f"{SENSOR}/J4/sensor-3", b'{"timestamp": 1685126044.9, "data": "0x12A"}', b"29.8", "celsius"),
        (f"{ALARM}/J3/motion-sensor-1", b"off", b"false", "presence"),
        (f"{ACCESS}/J2/reader-1", b'{"data": "04A1"}', b'"04A1"', "text"),
    ],
)
def test_the_statement_of_the_documents_decodes_each_of_its_components(
    place: str, payload: bytes, value: bytes, unit: str
) -> None:
    [measurement] = decode(place, payload)
    assert b'"value":%b,"unit":"%b"' % (value, unit.encode()) in measurement.encode()


def test_the_row_of_an_id_goes_before_the_row_for_every_id() -> None:
    table = [
        ParameterRow(DEVICE, SENSOR, "sensor", None, "hex_to_float", "bar"),
        ParameterRow(DEVICE, SENSOR, "sensor", "3", "hex_to_float", "celsius", 0.1, None, 7),
    ]
    [third] = decode(f"{SENSOR}/J4/sensor-3", b"0x12A", table=table)
    [fourth] = decode(f"{SENSOR}/J4/sensor-4", b"0x12A", table=table)
    assert (third.value, third.unit, third.parameters_version) == (29.8, "celsius", 7)
    assert (fourth.value, fourth.unit, fourth.component_id) == (298.0, "bar", "4")


def test_the_row_of_an_id_serves_neither_another_id_nor_the_component_without_one() -> None:
    table = ParameterTable(DOCUMENTED)
    assert table.find(DEVICE, ACCESS, "strike", "2") is None
    assert table.find(DEVICE, ACCESS, "strike", None) is None
    assert table.find(DEVICE, ALARM, "strike", "1") is None
    assert table.find("f2-000000000000", ACCESS, "strike", "1") is None


def test_a_template_serves_the_devices_that_it_is_assigned_to_after_their_own_rows() -> None:
    table = ParameterTable(
        [ParameterRow("own", SENSOR, "sensor", None, "integer", "own")],
        templates=[
            ParameterRow("thermometer", SENSOR, "sensor", "3", "hex_to_float", "celsius"),
            ParameterRow("thermometer", SENSOR, "sensor", None, "hex_to_float", "bar"),
        ],
        assignments={"own": "thermometer", "plain": "thermometer", "lost": "no such template"},
    )
    found = {
        (device, number): table.find(device, SENSOR, "sensor", number)
        for device in ("own", "plain", "lost", "thermometer")
        for number in ("3", "4")
    }
    assert {place: parameters.unit for place, parameters in found.items() if parameters} == {
        ("own", "3"): "own",
        ("own", "4"): "own",
        ("plain", "3"): "celsius",
        ("plain", "4"): "bar",
    }


BAD_ROWS: list[tuple[dict[str, Any], str]] = [
    ({"encoding_type": "hex"}, "encoding_type 'hex' is none of"),
    ({"scaling_factor": 0}, "scaling_factor 0 is 0"),
    ({"scaling_factor": Decimal("NaN")}, "scaling_factor NaN"),
    ({"scaling_factor": None}, "scaling_factor None is no number"),
    ({"decode": {"sined": True}}, "decode, sined"),
    ({"decode": [1]}, "decode, "),
]


@pytest.mark.parametrize(("change", "words"), BAD_ROWS)
def test_a_row_that_cannot_be_used_costs_the_records_of_its_component_and_no_others(
    change: dict[str, Any], words: str
) -> None:
    bad = DOCUMENTED[2]._replace(**change)
    table = [*DOCUMENTED[:2], bad]
    with pytest.raises(PermanentError, match=words) as caught:
        decode(f"{SENSOR}/J4/sensor-3", b"0x12A", table=table)
    assert caught.value.reason == "bad_parameters"
    assert f"{DEVICE}/sensor-mode/sensor-3" in str(caught.value)
    assert len(decode(f"{ACCESS}/J1/strike-1", b"on", table=table)) == 1
    assert ParameterTable(table).faults() == [str(caught.value)]
    with pytest.raises(ValueError, match=words):
        parse_row(bad)


def test_a_component_without_parameters_goes_on_with_its_raw_data_or_is_a_dead_letter() -> None:
    [measurement] = decode(f"{SENSOR}/J4/sensor-9", b'{"data": "0x12A"}')
    assert measurement[4:8] == ("sensor", "9", None, None)
    assert measurement[9:] == (b'{"data": "0x12A"}', "none", None)
    with pytest.raises(PermanentError) as caught:
        decode(f"{SENSOR}/J4/sensor-9", b'{"data": "0x12A"}', strict=True)
    assert caught.value.reason == "no_parameters"


def test_several_points_of_a_frame_are_several_measurements() -> None:
    options = {
        "crc": "modbus",
        "points": [
            {"name": "humidity", "offset": 3, "type": "uint16", "unit": "percent"},
            {"name": "temperature", "offset": 5, "type": "int16"},
        ],
    }
    table = [ParameterRow(DEVICE, SENSOR, "sensor", None, "hex_registers", "celsius", Decimal("0.1"), options)]
    found = decode(f"{SENSOR}/J4/sensor-3", b'{"data": "01 03 04 01 F4 00 EA 3B B2"}', table=table)
    assert [(part.component_id, part.value, part.unit) for part in found] == [
        ("3/humidity", 50.0, "percent"),
        ("3/temperature", 23.4, "celsius"),
    ]


def test_each_number_and_boolean_of_a_connectors_state_is_a_measurement() -> None:
    state = b'{"power": true, "brightness": 75, "t": 21.5, "mode": "heat", "rgb": [1, 2], "none": null, "x": {"y": 1}}'
    found = decode_state(b'{"timestamp": "2025-10-13T10:30:00.000Z", "device_id": "light1", "state": %b}' % state)
    assert [(part.component_type, part.value, part.raw_data) for part in found] == [
        ("power", True, b'{"power":true}'),
        ("brightness", 75, b'{"brightness":75}'),
        ("t", 21.5, b'{"t":21.5}'),
    ]
    assert {part[:4] for part in found} == {(1_760_351_400.0, "light1", "iot2mqtt", "hue")}
    assert {(part.component_id, part.unit, part.decoder, part.parameters_version) for part in found} == {
        (None, None, "iot2mqtt", None)
    }


def test_a_state_that_is_cleared_is_no_measurement_and_no_fault() -> None:
    assert decode_state(b"") == []


@pytest.mark.parametrize("payload", [b" ", b"[]", b'"online"', b'{"state": 5}', b'{"power": true}'])
def test_what_is_no_state_message_is_refused(payload: bytes) -> None:
    with pytest.raises(PermanentError) as caught:
        decode_state(payload)
    assert caught.value.reason == "bad_value"


def test_an_unreadable_time_is_refused_with_and_without_parameters() -> None:
    for place in (f"{ACCESS}/J1/strike-1", f"{SENSOR}/J4/sensor-9"):
        with pytest.raises(PermanentError) as caught:
            decode(place, b'{"timestamp": "noon", "status": true}')
        assert caught.value.reason == "bad_time"


PLACES = [f"{ACCESS}/J1/door-sensors", f"{ACCESS}/J1/strike-1", f"{SENSOR}/J4/sensor-3", f"{ALARM}/J3/siren-9"]
TOLD = st.one_of(
    st.floats(9.8e8, 1.6e9),
    st.integers(10**12, 1_600_000_000_000),
    st.datetimes().map(str),
    st.none(),
)


@given(
    place=st.sampled_from(PLACES),
    told=TOLD,
    value=st.sampled_from([True, "0x12A", 0, "no"]),
    arrived=st.floats(1.6e9, 2e9),
)
def test_decoding_a_record_again_gives_rows_of_the_same_identity(
    place: str, told: object, value: object, arrived: float
) -> None:
    payload = orjson.dumps({"timestamp": told, "data": value})
    record = encode_raw(topic=f"cmnd/{DEVICE}/{place}", device_id=DEVICE, payload=payload, arrived=arrived)
    decoder = Decoder(ParameterTable(DOCUMENTED), "pass")
    try:
        first = decoder.measurements(read_raw(record))
    except PermanentError:
        return
    again = [read_measurement(part.encode()) for part in decoder.measurements(read_raw(record))]
    assert again == first
    stored = [row for part in again for row in rows(part)]
    assert stored == [row for part in first for row in rows(part)]
    assert len({row[:6] for row in stored}) == len(stored)
