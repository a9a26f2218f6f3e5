"""Device parameters in a real database: the documents' statement, versions, changes that reach who follows them."""

import logging
import time
from collections.abc import Callable
from decimal import Decimal

import pytest
from pydantic import model_validator

from iot2mqtt_pipeline.adapters import parameters as adapter
from iot2mqtt_pipeline.adapters.migrate import migrate
from iot2mqtt_pipeline.adapters.parameters import LiveParameters, put, rows
from iot2mqtt_pipeline.adapters.postgres import Connection
from iot2mqtt_pipeline.decoders import DECODERS
from iot2mqtt_pipeline.decoders.raw_string import RawString
from iot2mqtt_pipeline.errors import TransientError
from iot2mqtt_pipeline.parameters import ParameterRow, ParameterTable
from iot2mqtt_pipeline.params import read_json, write_json
from iot2mqtt_pipeline.servers.postgres import LocalPostgres
from iot2mqtt_sdk.errors import ConfigurationError
from tests.pipeline.postgres_server import TestDatabase

DOCUMENTED = """
INSERT INTO device_parameters VALUES
('f2-e4fd45f654be', 'access-control-mode', 'door-sensors', NULL, 'boolean_map', 'state', 1.0),
('f2-e4fd45f654be', 'access-control-mode', 'strike', '1', 'boolean', 'state', 1.0),
('f2-e4fd45f654be', 'sensor-mode', 'sensor', '3', 'hex_to_float', 'celsius', 0.1),
('f2-e4fd45f654be', 'alarm-mode', 'motion-sensor', '1', 'boolean', 'presence', 1.0),
('f2-e4fd45f654be', 'access-control-mode', 'reader', '1', 'raw_string', 'text', 1.0);
"""
HUGE = """UPDATE device_parameters SET encoding_type = 'hex_registers',
decode = '{"points": [{"name": "a", "type": "int8", "scaling_factor": "1e9999999"}]}'
WHERE component_type = 'reader'"""
SENSOR = ("f2-e4fd45f654be", "sensor-mode", "sensor", "3")


class Hasty(RawString):
    """An encoding of somebody else, whose validator fails in its own way."""

    @model_validator(mode="before")
    @classmethod
    def _unit(cls, values: dict[str, str]) -> object:
        return values["unit"]


def until(condition: Callable[[], bool], seconds: float = 30.0) -> float:
    """Wait for a condition, and return how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not come true in time"
        time.sleep(0.01)
    return time.monotonic() - began


def known(live: LiveParameters) -> bool:
    try:
        live.current()
    except TransientError:
        return False
    return True


def unit(live: LiveParameters) -> str | None:
    found = live.current().find(*SENSOR)
    return None if found is None else found.unit


@pytest.mark.parametrize("variant", ["postgres"], indirect=True)
class TestTables:
    def test_the_documents_statement_works_as_it_stands_and_its_rows_decode(self, database: TestDatabase) -> None:
        database.query(DOCUMENTED)
        assert len(database.query("SELECT * FROM device_parameters")) == 5
        with LiveParameters(parameters=database.parameters) as live:
            until(lambda: known(live))
            table = live.current()
        assert table.faults() == []
        found = table.find(*SENSOR)
        assert found is not None
        assert (found.encoding, found.unit, found.scaling) == ("hex_to_float", "celsius", Decimal("0.1"))
        assert table.find("f2-e4fd45f654be", "access-control-mode", "door-sensors", None) is not None

    def test_the_same_component_has_one_row_also_without_id(self, database: TestDatabase) -> None:
        row = ParameterRow("f2-0", "access-control-mode", "door-sensors", None, "boolean_map", "state")
        assert put(database.parameters, [row, row._replace(units="open")]) == 2
        assert [one.units for one in rows(database.parameters)] == ["open"]

    def test_a_version_names_one_state_of_one_row_for_ever(self, database: TestDatabase) -> None:
        row = ParameterRow(*SENSOR, "hex_to_float", "celsius", Decimal("0.1"))
        put(database.parameters, [row])
        first = rows(database.parameters)[0].version
        assert put(database.parameters, [row]) == 0
        assert rows(database.parameters)[0].version == first
        put(database.parameters, [row._replace(units="kelvin")])
        second = rows(database.parameters)[0].version
        database.query("DELETE FROM device_parameters")
        put(database.parameters, [row])
        assert first < second < rows(database.parameters)[0].version
        history = database.query("SELECT parameters->>'units' FROM parameter_history ORDER BY version")
        assert history == [("celsius",), ("kelvin",), ("celsius",)]

    def test_one_row_that_the_database_refuses_leaves_all_as_it_was(self, database: TestDatabase) -> None:
        good = ParameterRow("f2-0", "sensor-mode", "sensor", "1", "float")
        with pytest.raises(Exception, match=r"0x00|NUL"):
            put(database.parameters, [good, good._replace(component_id="\0")])
        assert rows(database.parameters) == []

    def test_fractions_in_decode_are_stored_from_json(self, database: TestDatabase) -> None:
        given = [ParameterRow("f2-0", "sensor-mode", "sensor", "1", "enum_map", decode={"values": {"0": 0.5}})]
        put(database.parameters, read_json(write_json(given), name="x.json"))
        assert rows(database.parameters) == given

    def test_rows_are_listed_in_order_and_by_device(self, database: TestDatabase) -> None:
        given = [
            ParameterRow(device, "sensor-mode", "sensor", number, "float")
            for device, number in [("b", "2"), ("b", None), ("a", "1")]
        ]
        put(database.parameters, given)
        assert [one[0:4:3] for one in rows(database.parameters)] == [("a", "1"), ("b", None), ("b", "2")]
        assert [one.component_id for one in rows(database.parameters, device_id="b")] == [None, "2"]

    def test_without_tables_the_message_says_what_to_do(self, empty_database: TestDatabase) -> None:
        with pytest.raises(ConfigurationError, match="run `iot2mqtt-pipeline init-db`"):
            rows(empty_database.parameters)


@pytest.mark.parametrize("variant", ["postgres"], indirect=True)
class TestFollowing:
    def test_a_change_is_there_within_a_second(self, database: TestDatabase) -> None:
        database.query(DOCUMENTED)
        with LiveParameters(parameters=database.parameters) as live:
            until(lambda: known(live))
            database.query("UPDATE device_parameters SET units = 'kelvin' WHERE component_type = 'sensor'")
            assert until(lambda: unit(live) == "kelvin") < 1
            database.query("DELETE FROM device_parameters")
            assert until(lambda: unit(live) is None) < 1

    def test_a_device_without_rows_of_its_own_uses_its_template(self, database: TestDatabase) -> None:
        with LiveParameters(parameters=database.parameters) as live:
            until(lambda: known(live))
            database.query(
                "INSERT INTO parameter_templates VALUES ('probe', 'sensor-mode', 'sensor', NULL, 'float', 'bar')"
            )
            database.query("INSERT INTO device_templates VALUES ('f2-e4fd45f654be', 'probe')")
            assert until(lambda: unit(live) == "bar") < 1

    def test_a_row_that_cannot_be_used_is_told_and_spares_the_others(
        self, database: TestDatabase, caplog: pytest.LogCaptureFixture
    ) -> None:
        database.query(DOCUMENTED)
        database.query("UPDATE device_parameters SET encoding_type = 'magic' WHERE component_type = 'strike'")
        with caplog.at_level(logging.WARNING), LiveParameters(parameters=database.parameters) as live:
            until(lambda: known(live))
            assert unit(live) == "celsius"
        assert "/strike-1 are wrong: encoding_type 'magic' is none of" in caplog.text

    def test_a_row_on_which_an_encoding_of_somebody_else_fails_spares_the_others(
        self, database: TestDatabase, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(DECODERS, "hasty", Hasty)
        database.query(DOCUMENTED)
        database.query("UPDATE device_parameters SET encoding_type = 'hasty' WHERE component_type = 'strike'")
        database.query(HUGE)
        with LiveParameters(parameters=database.parameters) as live:
            until(lambda: known(live))
            assert unit(live) == "celsius"
        assert "/strike-1 are wrong: decode cannot be checked by hasty: KeyError: 'unit'" in caplog.text
        assert "/reader-1 are wrong: decode, " in caplog.text

    def test_a_defect_while_parameters_are_read_is_said_and_not_the_end(
        self, database: TestDatabase, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failing = iter([True])

        def load(connection: Connection) -> ParameterTable:
            if next(failing, False):
                raise KeyError("what nobody expects")
            return real(connection)

        real = adapter.load
        monkeypatch.setattr(adapter, "load", load)
        with LiveParameters(parameters=database.parameters) as live:
            until(lambda: known(live))
        assert "device parameters cannot be read: KeyError: 'what nobody expects'; waiting for them" in caplog.text

    def test_without_tables_it_waits_until_they_are_made(self, empty_database: TestDatabase) -> None:
        with LiveParameters(parameters=empty_database.parameters) as live:
            with pytest.raises(TransientError, match="device parameters"):
                live.current()
            migrate(empty_database.parameters, part="parameters")
            until(lambda: known(live))


def test_the_last_parameters_serve_while_the_database_is_away(
    own_postgres: LocalPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    parameters = own_postgres.connection()
    put(parameters, [ParameterRow(*SENSOR, "hex_to_float", "celsius")])
    with LiveParameters(parameters=parameters) as live:
        until(lambda: known(live))
        own_postgres.kill()
        until(lambda: "the last ones serve" in caplog.text)
        assert unit(live) == "celsius"
        own_postgres.start()
        put(parameters, [ParameterRow(*SENSOR, "hex_to_float", "kelvin")])
        until(lambda: unit(live) == "kelvin")


def test_a_start_without_a_database_waits_and_says_so(
    own_postgres: LocalPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    parameters = own_postgres.connection()
    own_postgres.stop()
    with LiveParameters(parameters=parameters) as live:
        until(lambda: "waiting for them" in caplog.text)
        with pytest.raises(TransientError, match=r"cannot be read: the database iot2mqtt at 127\.0\.0\.1"):
            live.current()
        own_postgres.start()
        until(lambda: known(live))
