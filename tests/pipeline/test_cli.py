"""The command line on a whole pipeline that its tests share; each has devices of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from iot2mqtt_conformance.ports import free_port
from iot2mqtt_pipeline.servers.kafka import LocalKafka
from tests.mosquitto import running as running_broker
from tests.pipeline.brokers import Broker, publish
from tests.pipeline.kafkas import Topics, read_until
from tests.pipeline.pipelines import STAGES, Gate, Pipeline, health, running, started, until_ready
from tests.pipeline.postgres_server import Servers, prepare
from tests.waiting import DEADLINE, wait_until

pytestmark = pytest.mark.slow

F2 = "f2-e4fd45f654be"
PARAMETERS = """\
INSERT INTO device_parameters VALUES
('f2-e4fd45f654be', 'access-control-mode', 'door-sensors', NULL, 'boolean_map', 'state', 1.0),
('f2-e4fd45f654be', 'access-control-mode', 'strike', '1', 'boolean', 'state', 1.0),
('f2-e4fd45f654be', 'sensor-mode', 'sensor', '3', 'hex_to_float', 'celsius', 0.1),
('f2-e4fd45f654be', 'alarm-mode', 'motion-sensor', '1', 'boolean', 'presence', 1.0),
('f2-e4fd45f654be', 'access-control-mode', 'reader', '1', 'raw_string', 'text', 1.0);
"""
DOORS = f"cmnd/{F2}/access-control-mode/J1/door-sensors"
OPENED = b'{"timestamp": "2023-05-26T18:34:04.928538", "door-sensor-1": false, "door-sensor-2": true}'
SECRET = "correct horse battery"


def new_device() -> str:
    return f"f2-{uuid4().hex[:12]}"


def new_database(parameters: dict[str, Any]) -> str:
    name = f"cli_{uuid4().hex}"
    with closing(psycopg.connect(**parameters, autocommit=True)) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    prepare(parameters | {"dbname": name})
    return name


@pytest.fixture(scope="module")
def pipeline(
    kafka: LocalKafka, postgres_servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    folder = tmp_path_factory.mktemp("pipeline")
    parameters: dict[str, Any] = dict(postgres_servers("postgres").connection())
    parameters["dbname"] = new_database(parameters)
    password = folder / "password"
    password.write_text(parameters["password"] + "\n", encoding="utf-8")
    topics = Topics(kafka)
    with running_broker(Broker(folder / "broker")) as broker:
        host, _, port = kafka.bootstrap.partition(":")
        gates = {
            "mqtt": Gate("127.0.0.1", broker.port),
            "kafka": Gate(host, int(port)),
            "timescale": Gate("127.0.0.1", int(parameters["port"])),
        }
        env = {
            "MQTT_HOST": "127.0.0.1",
            "MQTT_PORT": str(gates["mqtt"].port),
            "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{gates['kafka'].port}",
            "KAFKA_RAW_TOPIC": topics.raw,
            "KAFKA_DECODED_TOPIC": topics.decoded,
            "POSTGRES_HOST": "127.0.0.1",
            "POSTGRES_PORT": str(parameters["port"]),
            "POSTGRES_DB": parameters["dbname"],
            "POSTGRES_PASSWORD_FILE": str(password),
            "TIMESCALE_PORT": str(gates["timescale"].port),
        }
        ports = {stage: free_port() for stage in STAGES}
        made = Pipeline(env, ports, gates, broker.port, parameters, topics.client)
        with running(made, folder):
            yield made


def say(pipeline: Pipeline, *messages: tuple[str, bytes]) -> None:
    publish(pipeline.broker, messages)


def until_followed(pipeline: Pipeline) -> None:
    """Wait until the processor has all parameters that were set before."""
    probe = new_device()
    pipeline.run("params", "set", probe, "sensor-mode", "sensor", "-", "hex_to_float")
    for number in range(1, 100):
        say(pipeline, (f"tele/{probe}/sensor-mode/J4/sensor-1", b'{"data": "0x0A"}'))
        if pipeline.rows(probe, number)[-1][2] is not None:
            return
    pytest.fail("the processor does not follow the parameters")


def test_the_example_of_the_documents_becomes_the_rows_that_they_print(pipeline: Pipeline) -> None:
    pipeline.query(PARAMETERS)
    until_followed(pipeline)
    silent = (f"stat/{F2}/alarm-mode/J1/motion-sensor-1", b'{"status": true}')
    say(pipeline, silent)
    pipeline.rows(F2, 1)
    sensor, strike = f"tele/{F2}/sensor-mode/J4/sensor-3", f"stat/{F2}/access-control-mode/J1/strike-1"
    reader = f"tele/{F2}/access-control-mode/J2/reader-1"
    stamp = b'"timestamp": "2023-05-26 18:34:05"'
    say(pipeline, (DOORS, OPENED), (strike, b"{%b, " % stamp + b'"status": true}'))
    say(pipeline, (sensor, b"{%b, " % stamp + b'"data": "0x12A"}'), (reader, b"{%b, " % stamp + b'"data": "04A1"}'))
    assert pipeline.rows(F2, 6)[:5] == [
        ("door-sensors", "door-sensor-1", 0.0, None, "state"),
        ("door-sensors", "door-sensor-2", 1.0, None, "state"),
        ("reader", "1", None, "04A1", "text"),
        ("sensor", "3", 29.8, None, "celsius"),
        ("strike", "1", 1.0, None, "state"),
    ]
    records = read_until(pipeline.kafka, pipeline.env["KAFKA_DECODED_TOPIC"], lambda found: len(found) >= 5)
    (doors,) = [found for one in records if (found := json.loads(one.value))["original_topic"] == DOORS]
    moment = datetime(2023, 5, 26, 18, 34, 4, 928538, UTC)
    assert datetime.fromtimestamp(doors.pop("timestamp"), UTC) == moment
    assert isinstance(doors.pop("parameters_version"), int)
    assert doors == {
        "device_id": F2,
        "connector_mode": "access-control-mode",
        "connector": "J1",
        "component_type": "door-sensors",
        "component_id": None,
        "value": {"door-sensor-1": False, "door-sensor-2": True},
        "unit": "state",
        "original_topic": DOORS,
        "raw_data": json.loads(OPENED),
        "decoder": "boolean_map",
    }
    statistics = "SELECT avg_value, measurement_count FROM iot_hourly_stats WHERE device_id = %s AND unit = 'celsius'"
    assert pipeline.query(statistics, F2) == [(29.8, 1)]


def test_parameters_that_are_set_serve_within_a_second(pipeline: Pipeline) -> None:
    device = new_device()
    topic = f"tele/{device}/sensor-mode/J4/sensor-1"
    say(pipeline, (topic, b'{"data": "0x0A"}'))
    assert pipeline.rows(device, 1)[0][2:4] == (None, None)
    said = pipeline.run("params", "set", device, "sensor-mode", "sensor", "-", "hex_to_float", "--scaling", "0.1")
    assert said.stdout == "set\n"
    since = time.monotonic()
    for number in range(2, 20):
        waited = time.monotonic() - since
        say(pipeline, (topic, b'{"data": "0x0A"}'))
        value = pipeline.rows(device, number)[-1][2]
        if value is not None:
            break
        assert waited < 1.0, "a message of more than a second later is decoded with the old parameters"
    assert value == 1.0
    assert f"{device},sensor-mode,sensor,,hex_to_float,,0.1," in pipeline.run("params", "list").stdout


def test_a_dead_letter_is_listed_shown_and_replayed_and_is_counted_once(pipeline: Pipeline) -> None:
    device = new_device()
    pipeline.run("params", "set", device, "sensor-mode", "sensor", "1", "integer")
    until_followed(pipeline)
    say(pipeline, (f"tele/{device}/sensor-mode/J4/sensor-1", b'{"value": "warm"}'))
    (letter,) = pipeline.letters(device, 1)
    assert (letter["stage"], letter["reason"]) == ("processor", "bad_value")
    assert pipeline.book(device) == {"published": 1, "stored": 0, "dead_lettered": 1, "duplicates": 0, "missing": 0}
    shown = json.loads(pipeline.run("dlq", "show", letter["place"]).stdout)
    assert "warm" in shown["payload"]
    # Replayed too early it dies again, and is one letter still.
    assert pipeline.run("dlq", "replay", "--device", device).stdout == "replayed 1\n"
    pipeline.letters(device, 2)
    assert pipeline.book(device)["dead_lettered"] == 1
    # Mended parameters and nothing else: the letter is one dead letter still, though it could be decoded now.
    pipeline.run("params", "set", device, "sensor-mode", "sensor", "1", "raw_string")
    assert pipeline.book(device)["dead_lettered"] == 1
    assert pipeline.book(device)["missing"] == 0
    until_followed(pipeline)
    again = pipeline.run("dlq", "replay", "--device", device)
    assert (again.exit_code, again.stdout) == (0, "replayed 1\n")
    assert pipeline.rows(device, 1)[0][3] == "warm"
    assert pipeline.book(device) == {"published": 1, "stored": 1, "dead_lettered": 0, "duplicates": 0, "missing": 0}


def test_a_replay_needs_to_be_told_what(pipeline: Pipeline) -> None:
    said = pipeline.run("dlq", "replay")
    assert said.exit_code == 2
    assert "say which" in said.output
    missing = pipeline.run("dlq", "replay", "0/999999")
    assert (missing.exit_code, missing.stdout) == (1, "replayed 0\n")


def test_what_the_simulator_publishes_is_in_the_books_to_the_last_row(pipeline: Pipeline) -> None:
    words = ["--devices", "3", "--rate", "2000", "--count", "240", "--malformed", "0.1", "--init-params", "--json"]
    said = pipeline.run("simulator", *words, "--seed", "7")
    assert said.exit_code == 0, said.output
    tally = json.loads(said.stdout)
    assert (tally["devices"], tally["messages"] + tally["malformed"], tally["unacknowledged"]) == (3, 240, 0)
    assert tally["malformed"] > 0

    books: dict[str, dict[str, int]] = {}

    def settled() -> bool:
        books.update(pipeline.books(tally["published"]))
        return all(book["missing"] == 0 for book in books.values())

    wait_until(settled)
    assert {device: book["published"] for device, book in books.items()} == tally["published"]
    assert sum(book["dead_lettered"] for book in books.values()) == tally["malformed"]
    assert sum(book["stored"] for book in books.values()) == tally["rows"]
    table = pipeline.run("ledger", "--all").stdout
    assert all(device in table for device in books)


def test_a_message_that_comes_twice_is_a_duplicate_in_the_books(pipeline: Pipeline) -> None:
    device = new_device()
    message = (f"tele/{device}/sensor-mode/J4/sensor-1", b'{"timestamp": "2024-01-01T00:00:00", "data": "0x0A"}')
    say(pipeline, message, message)
    wait_until(lambda: pipeline.book(device)["missing"] == 0)
    assert pipeline.book(device) == {"published": 2, "stored": 1, "dead_lettered": 0, "duplicates": 1, "missing": 0}


def test_an_unknown_topic_is_published_and_dead_lettered(pipeline: Pipeline) -> None:
    before = json.loads(pipeline.run("ledger", "--json").stdout)["devices"].get("(unknown)", {"published": 0})
    say(pipeline, ("cmnd/who/is/this", b"{}"))
    wait_until(lambda: "cmnd/who/is/this" in pipeline.run("dlq", "list", "--reason", "unknown_topic").stdout)
    after = pipeline.book("(unknown)")
    assert after["published"] == after["dead_lettered"] == before["published"] + 1


def test_the_ledger_ends_with_code_1_where_rows_are_missing(pipeline: Pipeline) -> None:
    device = new_device()
    say(pipeline, (f"tele/{device}/sensor-mode/J4/sensor-1", b"{}"))
    pipeline.rows(device, 1)
    said = pipeline.run("ledger", TIMESCALE_DB=new_database(pipeline.database))
    assert said.exit_code == 1
    (line,) = [line.split() for line in said.stdout.splitlines() if line.startswith(device)]
    assert line == [device, "1", "0", "0", "0", "1"]
    assert "devices differ" in said.stdout


@pytest.mark.parametrize(("service", "stage"), [("mqtt", "bridge"), ("kafka", "processor"), ("timescale", "sink")])
def test_a_stage_is_not_ready_while_its_server_is_away(pipeline: Pipeline, service: str, stage: str) -> None:
    port = pipeline.ports[stage]
    pipeline.gates[service].close()
    try:
        wait_until(lambda: health(port)[0] == 503)
        assert set(health(port)[1]["faults"]) == {service}
    finally:
        pipeline.gates[service].open()
    wait_until(lambda: health(port)[0] == 200)


def test_sigterm_ends_every_stage_with_code_0(pipeline: Pipeline, tmp_path: Path) -> None:
    ports = {stage: free_port() for stage in STAGES}
    mine = {"MQTT_CLIENT_ID": "second"}
    processes = []
    for stage, port in ports.items():
        words = [stage, "--name", "second"] if stage == "processor" else [stage]
        env = pipeline.env | mine | {"HTTP_PORT": str(port)}
        processes.append(started(*words, env=env, log=tmp_path / f"{stage}.log"))
    try:
        until_ready(ports.values(), tmp_path)
    finally:
        for process in processes:
            process.terminate()
        codes = [process.wait(DEADLINE) for process in processes]
    assert codes == [0, 0, 0], [log.read_text(encoding="utf-8") for log in tmp_path.glob("*.log")]


def test_check_config_shows_all_settings_and_no_secret(pipeline: Pipeline, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET, encoding="utf-8")
    kafka = {"KAFKA_PASSWORD_FILE": str(secret), "KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}
    for command in (*STAGES, "simulator", "up", "init-db"):
        said = pipeline.run(command, "--check-config", MQTT_PASSWORD=SECRET, **kafka)
        assert said.exit_code == 0, said.output
        shown = json.loads(said.stdout)
        assert shown["mqtt"]["port"] == pipeline.gates["mqtt"].port
        assert shown["mqtt"]["password"] == shown["kafka"]["password"] == "*" * 10
        assert SECRET not in said.output
        assert pipeline.database["password"] not in said.output


def test_init_db_run_twice_changes_nothing(pipeline: Pipeline) -> None:
    said = pipeline.run("init-db")
    assert said.exit_code == 0
    assert [line.rpartition(": ")[2] for line in said.stdout.splitlines()] == ["up to date", "up to date"]


def test_decode_tries_a_payload() -> None:
    words = ["decode", "--encoding", "hex_to_float", "--scaling", "0.1", "--payload", '{"data": "0x12A"}']
    said = command_line(*words)
    assert json.loads(said.stdout)["value"] == 29.8


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("POSTGRES_PASSWORD_FILE", "/no/such/file", "POSTGRES_PASSWORD_FILE=/no/such/file cannot be read"),
        ("MQTT_PORT", "many", "MQTT_PORT='many'"),
    ],
)
def test_a_setting_that_cannot_be_is_one_sentence(variable: str, value: str, sentence: str) -> None:
    said = command_line("sink", **{variable: value})
    assert said.returncode == 1
    assert said.stderr.startswith(f"Error: {sentence}")
    assert "Traceback" not in said.stderr


def test_a_simulator_without_a_broker_says_so_in_one_sentence() -> None:
    said = command_line("simulator", MQTT_HOST="127.0.0.1", MQTT_PORT=str(free_port()))
    assert said.returncode == 1
    assert said.stderr.startswith("Error: the broker 127.0.0.1:")
    assert len(said.stderr.splitlines()) == 1


def command_line(*words: str, **env: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "iot2mqtt_pipeline", *words]
    kept = {"PATH": os.environ["PATH"]}
    return subprocess.run(command, env=kept | env, capture_output=True, text=True, check=False, timeout=DEADLINE)


def test_a_simulation_ends_after_its_duration(pipeline: Pipeline) -> None:
    began = datetime.now(UTC)
    said = pipeline.run("simulator", "--devices", "1", "--rate", "50", "--duration", "0.4", "--seed", "99")
    assert said.exit_code == 0
    assert datetime.now(UTC) - began < timedelta(seconds=20)
    assert said.stdout.startswith("1 devices: ")
