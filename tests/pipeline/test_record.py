"""Raw records, decoded records and rows."""

import json
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iot2mqtt_pipeline.errors import PermanentError
from iot2mqtt_pipeline.record import Measurement, Scalar, Value, encode_raw, read_measurement, read_raw, rows

TOPIC = "cmnd/f2-e4fd45f654be/access-control-mode/J1/door-sensors"
DEVICE = "f2-e4fd45f654be"
ARRIVED = 1_684_863_244.928

SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]))
PAYLOADS = st.one_of(
    st.binary(),
    st.text(st.characters(exclude_categories=["Cs"])).map(str.encode),
    st.dictionaries(NAMES, SCALARS).map(lambda value: json.dumps(value).encode()),
    st.integers(1, 2000).map(lambda depth: b"[" * depth + b"]" * depth),
    st.integers(-(10**40), 10**40).map(lambda number: str(number).encode()),
)


def raw(payload: bytes) -> bytes:
    return encode_raw(topic=TOPIC, device_id=DEVICE, payload=payload, arrived=ARRIVED)


def measured(value: Value, raw_data: bytes = b'{"status": true}', **fields: Any) -> Measurement:
    measurement = Measurement(
        timestamp=1_685_126_044.928538,
        device_id=DEVICE,
        connector_mode="access-control-mode",
        connector="J1",
        component_type="strike",
        component_id="1",
        value=value,
        unit="state",
        original_topic=TOPIC,
        raw_data=raw_data,
        decoder="boolean",
        parameters_version=3,
    )
    return measurement._replace(**fields)


def test_a_raw_record_has_the_members_of_the_documents_in_their_order() -> None:
    record = orjson.loads(raw(b'{"door-sensor-1": false}'))
    assert list(record.items()) == [
        ("original_topic", TOPIC),
        ("device_id", DEVICE),
        ("payload", {"door-sensor-1": False}),
        ("timestamp", ARRIVED),
    ]


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b'{"a": [1, null]}', {"a": [1, None]}),
        (b" true\n", True),
        (b"on", "on"),
        (b"", ""),
        (b"NaN", "NaN"),
        (b'{"a": NaN}', '{"a": NaN}'),
        (b"1e999", "1e999"),
        ("Grüße".encode(), "Grüße"),
        (b"\xff\xfe", b"\xff\xfe"),
        (b"a\x00b", b"a\x00b"),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'1,"payload":2', '1,"payload":2'),
    ],
)
def test_a_payload_is_read_as_json_or_else_as_text_or_else_as_bytes(payload: bytes, value: object) -> None:
    record = read_raw(raw(payload))
    assert record[:4] == (TOPIC, DEVICE, value, ARRIVED)


@pytest.mark.parametrize(
    "payload",
    [b"123456789012345678901234567890", b'{"a": 1, "a": 2}', b'{ "n" : 1.10 }', b'{"timestamp":1,"payload":2}'],
)
def test_json_reaches_the_table_byte_for_byte(payload: bytes) -> None:
    kept = read_raw(raw(payload)).payload_json
    assert kept == payload
    decoded = read_measurement(measured(1.5, kept).encode())
    assert rows(decoded)[0].raw_data == payload


@given(PAYLOADS)
def test_any_payload_comes_back(payload: bytes) -> None:
    record = read_raw(raw(payload))
    try:
        json_value = orjson.loads(payload)
    except orjson.JSONDecodeError:
        json_value = None
    if isinstance(record.payload, bytes):
        assert record.payload == payload
    elif isinstance(record.payload, str) and record.payload != json_value:
        assert record.payload.encode() == payload
    else:
        assert record.payload == json_value
        assert record.payload_json == payload
    orjson.loads(record.payload_json)


@given(
    value=st.none() | SCALARS | st.dictionaries(NAMES | st.just("raw_data"), SCALARS),
    payload=PAYLOADS,
    topic=NAMES,
    unit=st.none() | NAMES,
)
def test_any_measurement_comes_back(value: Value, payload: bytes, topic: str, unit: str | None) -> None:
    kept = read_raw(raw(payload)).payload_json
    before = measured(value, kept, original_topic=topic, unit=unit)
    after = read_measurement(before.encode())
    assert after._replace(raw_data=b"") == before._replace(raw_data=b"")
    assert orjson.loads(after.raw_data) == orjson.loads(kept)


def test_records_of_somebody_else_are_read_whatever_their_order_and_spaces() -> None:
    foreign = {"timestamp": 5, "device_id": DEVICE, "payload": {"payload": 1}, "original_topic": TOPIC, "extra": None}
    record = read_raw(json.dumps(foreign).encode())
    assert record == (TOPIC, DEVICE, {"payload": 1}, 5.0, b'{"payload":1}')
    ours = measured(True)
    again = json.dumps(dict(reversed(orjson.loads(ours.encode()).items()))).encode()
    assert read_measurement(again) == ours._replace(raw_data=b'{"status":true}')
    # The same without spaces, and with others behind raw_data.
    moved = orjson.loads(ours.encode())
    for name in ("raw_data", "value", "unit", "decoder", "parameters_version"):
        moved[name] = moved.pop(name)
    assert read_measurement(orjson.dumps(moved)) == ours._replace(raw_data=b'{"status":true}')


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"timestamp": None}, "bad_record"),
        ({"timestamp": True}, "bad_record"),
        ({"original_topic": 5}, "bad_record"),
        ({"device_id": None}, "bad_record"),
        ({"payload_encoding": "gzip"}, "bad_record"),
        ({"payload_encoding": "base64", "payload": "&"}, "bad_record"),
        ({"payload_encoding": "base64", "payload": "ü"}, "bad_record"),
        ({"payload_encoding": "base64", "payload": 5}, "bad_record"),
    ],
)
def test_a_raw_record_that_is_none_is_refused(change: dict[str, object], reason: str) -> None:
    record = orjson.loads(raw(b"1")) | change
    with pytest.raises(PermanentError) as caught:
        read_raw(orjson.dumps(record))
    assert caught.value.reason == reason


@pytest.mark.parametrize("missing", ["original_topic", "device_id", "payload", "timestamp"])
def test_a_raw_record_without_a_member_is_refused_by_its_name(missing: str) -> None:
    record = orjson.loads(raw(b"1"))
    del record[missing]
    with pytest.raises(PermanentError, match=f"has no {missing}"):
        read_raw(orjson.dumps(record))


@pytest.mark.parametrize(
    "change",
    [
        {"timestamp": "now"},
        {"timestamp": False},
        {"device_id": None},
        {"decoder": 1},
        {"component_id": 1},
        {"unit": []},
        {"value": [1]},
        {"value": {"a": None}},
    ],
)
def test_a_decoded_record_that_is_none_is_refused(change: dict[str, object]) -> None:
    record = orjson.loads(measured(True).encode()) | change
    with pytest.raises(PermanentError) as caught:
        read_measurement(orjson.dumps(record))
    assert caught.value.reason == "bad_record"


@pytest.mark.parametrize("value", [b"", b"\xff", b"{", b"[]", b'"text"', b"null", b"5"])
def test_what_is_no_json_object_is_no_record(value: bytes) -> None:
    for read in (read_raw, read_measurement):
        with pytest.raises(PermanentError) as caught:
            read(value)
        assert caught.value.reason == "bad_json"


@pytest.mark.parametrize(
    ("value", "number", "text"),
    [
        (True, 1.0, None),
        (False, 0.0, None),
        (29.8, 29.8, None),
        (7, 7.0, None),
        ("badge", None, "badge"),
        (None, None, None),
    ],
)
def test_one_value_is_one_row(value: Value, number: float | None, text: str | None) -> None:
    [row] = rows(measured(value))
    moment = datetime(2023, 5, 26, 18, 34, 4, 928_538, tzinfo=UTC)
    place = (DEVICE, "access-control-mode", "J1", "strike", "1")
    assert row == (moment, *place, number, text, "state", b'{"status": true}')


def test_a_mapping_has_a_row_a_key_each_with_an_identity_of_its_own() -> None:
    value: dict[str, bool | int | float | str] = {"door-sensor-1": False, "door-sensor-2": True}
    found = rows(measured(value, component_type="door-sensors", component_id=None))
    assert [(row.component_id, row.value) for row in found] == [("door-sensor-1", 0.0), ("door-sensor-2", 1.0)]
    assert [row.component_id for row in rows(measured(value))] == ["1/door-sensor-1", "1/door-sensor-2"]


@pytest.mark.parametrize(
    "measurement",
    [
        measured("a\0b"),
        measured({"a": "\0"}),
        measured(1, rb'{"a": [{"b": "\u0000"}]}'),
        measured(1, rb'{"\u0000": 1}'),
    ],
)
def test_a_nul_character_which_no_database_stores_is_refused(measurement: Measurement) -> None:
    with pytest.raises(PermanentError) as caught:
        rows(measurement)
    assert caught.value.reason == "bad_text"


def test_a_backslash_before_u0000_is_no_nul_character() -> None:
    assert len(rows(measured(1, rb'{"a": "\\u0000"}'))) == 1


@pytest.mark.parametrize("moment", [1e18, -1e18, 1e300])
def test_a_time_beyond_what_a_database_stores_is_refused(moment: float) -> None:
    with pytest.raises(PermanentError) as caught:
        rows(measured(1, timestamp=moment))
    assert caught.value.reason == "bad_time"


@pytest.mark.parametrize("value", [2**70, float("nan"), float("inf"), {"a": 1.0, "b": float("-inf")}])
def test_a_value_that_json_has_no_word_for_is_refused(value: Value) -> None:
    with pytest.raises(PermanentError) as caught:
        measured(value).encode()
    assert caught.value.reason == "bad_value"


def test_a_mapping_whose_rows_repeat_too_much_is_refused() -> None:
    contacts: dict[str, Scalar] = {f"door-sensor-{number}": True for number in range(2000)}
    whole = measured(contacts, orjson.dumps(contacts))
    with pytest.raises(PermanentError, match=r"2000 values of .* make rows of over 16 MiB") as caught:
        rows(whole)
    assert caught.value.reason == "too_large"
    assert len(rows(whole._replace(value=dict(list(contacts.items())[:300])))) == 300
