"""When the pipeline is judged, what it runs on, and what is said where that cannot be had."""

import asyncio
import sys
from pathlib import Path

import psycopg
import pytest

from iot2mqtt_conformance.contract import clauses
from iot2mqtt_conformance.declaration import Declaration, load
from iot2mqtt_conformance.judging import needed, not_applicable
from iot2mqtt_conformance.services.base import ServiceError
from iot2mqtt_conformance.services.choose import choose_warehouse
from iot2mqtt_conformance.services.warehouse import Warehouse
from iot2mqtt_conformance.suite import piped
from tests.conformance.suite_runs import REFERENCES, copy_of, run_suite

CLAUSES = ["I2M-PIPE-01", "I2M-PIPE-02"]


@pytest.fixture
def declaration() -> Declaration:
    return load(REFERENCES / "simple")


def test_kafka_is_started_for_those_who_ask_and_nobody_else(declaration: Declaration) -> None:
    declared = piped(declaration, "on")
    assert needed(declaration, CLAUSES) == needed(piped(declared, "off"), CLAUSES) == ["boot"]
    assert needed(declared, CLAUSES) == needed(piped(declared, "auto"), CLAUSES) == ["boot", "pipeline"]
    assert needed(declared, ["I2M-STATUS-01"]) != needed(declared, ["I2M-STATUS-01", *CLAUSES])


@pytest.mark.parametrize(
    ("asked", "reason"),
    [("auto", "the feature `pipeline` is not declared"), ("off", "left out by --iot2mqtt-pipeline=off"), ("on", None)],
)
def test_why_the_pipeline_is_not_judged_is_told(declaration: Declaration, asked: str, reason: str | None) -> None:
    assert {not_applicable(clauses()[clause], piped(declaration, asked)) for clause in CLAUSES} == {reason}


def test_a_package_that_is_missing_is_one_sentence_with_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ServiceError) as caught:
        choose_warehouse("auto")
    assert str(caught.value) == (
        "the clauses I2M-PIPE need psycopg: run pip install 'iot2mqtt-sdk[pipeline]', or leave them out"
        " with --iot2mqtt-pipeline=off"
    )


def test_a_kafka_that_cannot_start_ends_the_run_with_3_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run_suite(
        "--iot2mqtt-pipeline=on",
        "--iot2mqtt-services=local",
        "-k",
        "PIPE",
        cwd=copy_of("simple", tmp_path),
        IOT2MQTT_KAFKA_HOME=str(tmp_path / "empty"),
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "has no Kafka in it" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_what_was_started_from_pip_serves_and_is_gone_afterwards() -> None:
    async def scenario() -> None:
        warehouse = Warehouse("embedded")
        warehouse.begin()
        try:
            store = await warehouse.ready()
            with psycopg.connect(**store.database) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
            assert str(store.database["password"]) not in warehouse.said()
        finally:
            await warehouse.stop()
        await warehouse.stop()
        assert warehouse.ended.is_set()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(**store.database)

    asyncio.run(scenario())


def test_stopping_what_has_not_started_yet_does_not_wait_for_it() -> None:
    async def scenario() -> None:
        warehouse = Warehouse("local")
        warehouse.begin()
        await asyncio.wait_for(warehouse.stop(), 30)

    asyncio.run(scenario())


@pytest.mark.soak
def test_the_pipeline_is_judged_on_what_pip_alone_brings(tmp_path: Path) -> None:
    done = run_suite(
        "--iot2mqtt-pipeline=on",
        "--iot2mqtt-services=embedded",
        "--iot2mqtt-clauses=I2M-PIPE-*",
        cwd=copy_of("simple", tmp_path),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "simple: 2 pass" in done.stdout
