"""Device parameters in CSV and JSON: every fault with its line and column, and files that come back as they went."""

import json
from decimal import Decimal

import pytest

from iot2mqtt_pipeline.parameters import ParameterRow
from iot2mqtt_pipeline.params import parse, read_csv, read_json, write_csv, write_json
from iot2mqtt_sdk.errors import ConfigurationError

ROWS = [
    ParameterRow("f2-0", "access-control-mode", "door-sensors", None, "boolean_map", "state", Decimal(1)),
    ParameterRow("f2-0", "sensor-mode", "sensor", "3", "hex_to_float", '°C, "dry"', Decimal("0.1")),
    ParameterRow("f2-0", "sensor-mode", "sensor", "4", "hex_to_float", None, Decimal("1E-7"), {"signed": True}),
]
HEADER = "device_id,connector_mode,component_type,component_id,encoding_type,units,scaling_factor,decode\n"


def test_what_is_exported_is_imported_as_it_was() -> None:
    assert read_csv(write_csv(ROWS), name="x.csv") == ROWS
    assert read_json(write_json(ROWS), name="x.json") == ROWS


def test_a_spreadsheets_file_with_a_byte_order_mark_is_read() -> None:
    text = "\ufeff" + write_csv(ROWS).replace("\n", "\r\n")
    assert read_csv(text, name="x.csv") == ROWS
    assert read_json("\ufeff" + write_json(ROWS), name="x.json") == ROWS


def test_columns_may_be_left_out_and_in_any_order() -> None:
    text = "encoding_type,component_type,connector_mode,device_id\nfloat,sensor,sensor-mode,f2-0\n"
    assert read_csv(text, name="x.csv") == [ParameterRow("f2-0", "sensor-mode", "sensor", None, "float")]


@pytest.mark.parametrize(
    ("line", "column", "said"),
    [
        ("f2-0,sensor-mode,sensor,1,magic,,,", "encoding_type", "encoding_type 'magic' is none of boolean, "),
        ("f2-0,sensor-mode,sensor,1,float,,zero,", "scaling_factor", "'zero' is no number"),
        ("f2-0,sensor-mode,sensor,1,float,,0,", "scaling_factor", "scaling_factor 0 is 0 or outside of"),
        ("f2-0,sensor-mode,sensor,1,float,,1e9999999,", "scaling_factor", "is 0 or outside of"),
        ("f2-0,sensor-mode,sensor,1,float,,,{x", "decode", "no JSON"),
        ("f2-0,sensor-mode,sensor,1,float,,,[1]", "decode", "not a JSON object"),
        (",sensor-mode,sensor,1,float,,,", "device_id", "missing"),
        ("f2-1,sensor-mode,sensor,1,float,,,", "component_id", "the same component is in line 2"),
    ],
)
def test_a_fault_in_csv_is_named_with_its_line_and_column(line: str, column: str, said: str) -> None:
    text = f"{HEADER}f2-1,sensor-mode,sensor,1,float,,,\n{line}\n"
    with pytest.raises(ConfigurationError) as raised:
        read_csv(text, name="x.csv")
    assert f"x.csv, line 3, column {column}: " in str(raised.value)
    assert said in str(raised.value)
    assert "nothing was changed" in str(raised.value)


def test_all_faults_of_a_file_are_named_at_once() -> None:
    text = HEADER + "f2-0,m,sensor,1,magic,,,\nf2-0,m,sensor,2,float,,,\nf2-0,m,sensor,3,float,,x,\n"
    with pytest.raises(ConfigurationError, match=r"(?s)line 2, column encoding_type.*line 4, column scaling_factor"):
        read_csv(text, name="x.csv")


def test_a_foreign_column_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match=r"x\.csv, line 1: unknown or missing unit, encoding_type; columns are"
    ):
        read_csv("device_id,connector_mode,component_type,unit\n", name="x.csv")


def test_a_row_with_more_cells_than_columns_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"x\.csv, line 2: "):
        read_csv(HEADER + "f2-0,m,sensor,1,float,,,,surplus\n", name="x.csv")


def test_a_fault_in_json_is_named_with_its_line_and_column() -> None:
    good = '{"device_id": "a", "connector_mode": "m", "component_type": "sensor", "encoding_type": "float"}'
    text = "[\n" + good + ",\n  " + good.replace('"a"', "7") + "\n]"
    with pytest.raises(ConfigurationError, match=r"x\.json, line 3, column device_id: 7 is no text"):
        read_json(text, name="x.json")


def test_the_same_component_twice_is_refused_also_on_one_line() -> None:
    text = json.dumps(json.loads(write_json(ROWS[:1] * 2)))
    with pytest.raises(ConfigurationError, match=r"x\.json, line 1, column component_id: the same .* is in line 1"):
        read_json(text, name="x.json")


@pytest.mark.parametrize("text", ["", "{}", "[", "[1]", "[{}]", "null"])
def test_what_is_no_array_of_objects_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^x\.json, line 1"):
        read_json(text, name="x.json")


def test_a_number_in_json_loses_no_digit() -> None:
    text = write_json(ROWS[:1]).replace('"1"', "0.1")
    assert read_json(text, name="x.json")[0].scaling_factor == Decimal("0.1")


def test_one_row_given_by_hand_is_checked_too() -> None:
    given = {"device_id": "a", "connector_mode": "m", "component_type": "sensor", "encoding_type": "float"}
    assert parse(given) == ParameterRow("a", "m", "sensor", None, "float")
    with pytest.raises(ConfigurationError, match="encoding_type"):
        parse(given | {"encoding_type": "magic"})
