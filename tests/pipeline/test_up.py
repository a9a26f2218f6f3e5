"""`iot2mqtt-pipeline up`: everything in one process, on what pip brings or on given services."""

import logging
import signal
import threading
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry, generate_latest

from iot2mqtt_conformance.ports import free_port
from iot2mqtt_pipeline import live
from iot2mqtt_pipeline.adapters.mqtt_wire import NEVER, connect
from iot2mqtt_pipeline.adapters.prometheus import PrometheusFigures, StageFigures
from iot2mqtt_pipeline.cli import cli
from iot2mqtt_pipeline.cli._crew import keep
from iot2mqtt_pipeline.cli._running import Watch
from iot2mqtt_pipeline.cli._services import Services, _add_broker, _spare_others
from iot2mqtt_pipeline.cli._show import numbers
from iot2mqtt_pipeline.cli.up import _arrived
from iot2mqtt_pipeline.errors import FencedError
from iot2mqtt_pipeline.health import Health
from iot2mqtt_pipeline.live import Numbers, Trend
from iot2mqtt_pipeline.record import encode_raw
from iot2mqtt_pipeline.servers.kafka import LocalKafka
from iot2mqtt_pipeline.servers.postgres import LocalPostgres, running, temporary_folder
from iot2mqtt_pipeline.settings import Settings
from iot2mqtt_pipeline.stage import Stopped
from iot2mqtt_sdk.errors import ConfigurationError
from tests.mosquitto import running as running_broker
from tests.pipeline.brokers import Broker
from tests.pipeline.kafkas import Topics
from tests.pipeline.pipelines import started, until_said
from tests.waiting import DEADLINE

EMBEDDED = ("--broker", "embedded", "--kafka", "embedded")


@pytest.mark.slow
def test_with_nothing_but_pip_everything_that_is_simulated_is_stored_and_the_books_balance(tmp_path: Path) -> None:
    log = tmp_path / "up.log"
    words = [*EMBEDDED, "--simulate", "3", "--rate", "60", "--malformed", "0.1", "--duration", "3"]
    process = started("up", *words, env={}, log=log)
    assert process.wait(2 * DEADLINE) == 0, log.read_text(encoding="utf-8")
    said = log.read_text(encoding="utf-8")
    assert "embedded (amqtt)" in said
    assert "for trying out" in said
    assert "simulator" in said
    assert "celsius" in said.partition("iot_hourly_stats")[2]
    (total,) = [line.split() for line in said.splitlines() if line.startswith("all 3 ")]
    published, stored, dead, duplicates, missing = map(int, total[2:])
    assert published == stored + dead
    assert dead > 0
    assert (duplicates, missing) == (0, 0)
    assert "The books balance" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_given_services_are_used_as_they_are_and_what_kafka_held_before_is_stored_too(
    kafka: LocalKafka, tmp_path: Path
) -> None:
    topics = Topics(kafka)
    device = "f2-e4fd45f654be"
    topic = f"cmnd/{device}/sensor-mode/J3/sensor-3"
    held = [encode_raw(topic=topic, device_id=device, payload=b"1", arrived=1.7e9 + number) for number in range(3000)]
    topics.write(topics.raw, [(device.encode(), value) for value in held])
    log = tmp_path / "up.log"
    with (
        running_broker(Broker(tmp_path / "mosquitto")) as broker,
        temporary_folder() as folder,
        running(LocalPostgres(folder=folder / "data", durable=False)) as postgres,
    ):
        env = given(broker, topics, postgres)
        process = started("up", "--simulate", "2", "--rate", "100", "--duration", "2", env=env, log=log)
        code = process.wait(2 * DEADLINE)
    said = log.read_text(encoding="utf-8")
    assert code == 0, said
    where = f"127.0.0.1:{env['POSTGRES_PORT']}, as POSTGRES_HOST says"
    assert said.startswith(
        f"broker        127.0.0.1:{broker.port}, as MQTT_HOST says\n"
        f"Kafka         {kafka.bootstrap}, as KAFKA_BOOTSTRAP_SERVERS says\n"
        f"parameters    {where}\nmeasurements  {where}\n\n"
    )
    (total,) = [line.split() for line in said.splitlines() if line.startswith("all 3 ")]
    published, stored, *others = [int(number.replace(",", "")) for number in total[2:]]
    assert published == stored > len(held)
    assert others == [0, 0, 0]


def given(broker: Broker, topics: Topics, postgres: LocalPostgres) -> dict[str, str]:
    """Return the environment that leads to services."""
    where = postgres.connection()
    return {
        "MQTT_HOST": "127.0.0.1",
        "MQTT_PORT": str(broker.port),
        "KAFKA_BOOTSTRAP_SERVERS": topics.server.bootstrap,
        "KAFKA_RAW_TOPIC": topics.raw,
        "KAFKA_DECODED_TOPIC": topics.decoded,
        "POSTGRES_HOST": str(where["host"]),
        "POSTGRES_PORT": str(where["port"]),
        "POSTGRES_PASSWORD": str(where["password"]),
    }


def test_what_kafka_held_before_is_not_taken_for_what_has_come_since() -> None:
    behind = {"bridge": Numbers(received=5, forwarded=5), "sink": Numbers(received=9, forwarded=9)}
    assert not _arrived(behind | {"processor": Numbers(received=9, forwarded=9, lag=5)}, 5)
    assert _arrived(behind | {"processor": Numbers(received=9, forwarded=9)}, 5)


def test_a_given_broker_that_is_away_is_said_at_once() -> None:
    port = str(free_port())
    said = CliRunner().invoke(cli, ["up"], env={"MQTT_HOST": "127.0.0.1", "MQTT_PORT": port})
    assert str(said.exception) == (
        f"the broker 127.0.0.1:{port} cannot be reached: Connection refused; "
        "start it, or unset MQTT_HOST to have one started here"
    )


OTHERS = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}


@pytest.mark.parametrize(
    ("env", "said"),
    [
        (OTHERS, "set POSTGRES_HOST, or KAFKA_RAW_TOPIC and KAFKA_DECODED_TOPIC to topics of your own"),
        (OTHERS | {"KAFKA_RAW_TOPIC": "mine"}, "records of others would be decoded without their parameters"),
        ({"MQTT_HOST": "127.0.0.1", "MQTT_SHARE": "bridges"}, "set KAFKA_BOOTSTRAP_SERVERS, or unset MQTT_SHARE"),
    ],
)
def test_nothing_is_taken_from_a_pipeline_that_runs_already(env: dict[str, str], said: str) -> None:
    found = CliRunner().invoke(cli, ["up"], env=env)
    assert isinstance(found.exception, ConfigurationError)
    assert said in str(found.exception)


def test_with_topics_of_its_own_a_given_kafka_is_used_without_a_given_database() -> None:
    env = OTHERS | {"KAFKA_RAW_TOPIC": "mine", "KAFKA_DECODED_TOPIC": "mine-too"}
    _spare_others(Settings.load(env), own_broker=False, own_kafka=False)
    _spare_others(Settings.load(OTHERS), own_broker=False, own_kafka=True)


def test_at_a_given_broker_it_has_a_session_of_its_own_that_does_not_stay(tmp_path: Path) -> None:
    with running_broker(Broker(tmp_path / "mosquitto")) as broker, ExitStack() as stack:
        env = {"MQTT_HOST": "127.0.0.1", "MQTT_PORT": str(broker.port)}
        made, named = (Services(Settings.load(env | more)) for more in ({}, {"MQTT_CLIENT_ID": "mine"}))
        _add_broker(made, stack, None)
        _add_broker(named, stack, None)
    assert made.settings.mqtt.client_id.startswith("iot2mqtt-up-")
    assert (named.settings.mqtt.client_id, named.expiry) == ("mine", NEVER)
    connecting = connect(
        version=5, client_id="", keepalive=60, username=None, password=None, window=1, expiry=made.expiry
    )
    assert b"\x11\x00\x00\x00\x3c" in connecting


@pytest.mark.slow
def test_ctrl_c_ends_it_in_order(tmp_path: Path) -> None:
    log = tmp_path / "up.log"
    process = started("up", *EMBEDDED, "--simulate", "1", "--rate", "50", env={"HTTP_PORT": str(free_port())}, log=log)
    try:
        until_said(log, "simulator 5", process)
    finally:
        process.send_signal(signal.SIGINT)
    assert process.wait(2 * DEADLINE) == 0, log.read_text(encoding="utf-8")
    assert "The books balance" in log.read_text(encoding="utf-8")


def watch() -> Watch:
    registry = CollectorRegistry()
    metrics = PrometheusFigures(registry)
    health = Health(checks={}, text=lambda: generate_latest(registry))
    return Watch(registry, lambda stage: StageFigures(metrics, stage), health)


def test_a_stage_that_dies_is_said_and_started_again(caplog: pytest.LogCaptureFixture) -> None:
    over, began = threading.Event(), []

    class Dying:
        def run(self, stopped: Stopped) -> None:
            began.append(stopped())
            if len(began) == 1:
                raise FencedError("another one writes")
            if len(began) == 2:
                raise ZeroDivisionError
            over.set()

    keep("sink", Dying, watch(), over)
    assert began == [False] * 3
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert errors[0].startswith("the sink has ended: another one writes; it starts again in ")
    assert errors[1].startswith("the sink has ended by a defect; ")


def test_the_view_is_fed_by_the_metrics() -> None:
    seen = watch()
    sink = seen.figures("sink")
    sink.received(7)
    sink.dead_letter("bad_time")
    sink.dead_letter("bad_value")
    sink.lag({("decoded", 0): 3, ("decoded", 1): 4})
    assert numbers(seen.registry)["sink"] == Numbers(received=7, dead_letters=2, lag=7)
    assert numbers(seen.registry)["bridge"] == Numbers()


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (200, 60)])
def test_the_view_fits_into_the_terminal(size: tuple[int, int]) -> None:
    trend = Trend()
    for second in range(40):
        trend.add({"bridge": Numbers(received=second * second), "sink": Numbers(dead_letters=1)}, float(second))
    row = (datetime.now(UTC), "f2-e4fd45f654be", "door-sensors", "door\x1b[31m", 1.0, None, "state")
    services = {"broker": "127.0.0.1:1883, " + "x" * 100}
    lines = live.screen(trend, status="x" * 300, services=services, newest=[row] * 80, notes=["w\x1b"] * 3, size=size)
    plain = [click.unstyle(line) for line in lines]
    assert len(plain) <= size[1]
    assert max(map(len, plain)) <= size[0]
    assert not any("\x1b" in line for line in plain)


def test_the_bars_grow_with_the_rate() -> None:
    assert live.sparks([0, 50, 100]) == "▁▅█"
    assert live.sparks([0, 0]) == "▁▁"
    trend = Trend()
    trend.add({"bridge": Numbers(received=10)}, 1.0)
    trend.add({"bridge": Numbers(received=30)}, 3.0)
    assert trend.rate("bridge") == 10.0
    assert live.plain(trend, 3.0).startswith("    3 s  bridge 10/s;")
