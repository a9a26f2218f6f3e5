"""The stages: each is one process, and more of them share the work."""

import socket

import click

from iot2mqtt_pipeline.adapters.kafka_topics import ensure_topics
from iot2mqtt_pipeline.adapters.parameters import LiveParameters
from iot2mqtt_pipeline.cli import _wiring
from iot2mqtt_pipeline.cli._running import observed, settings, until_signal, with_check_config
from iot2mqtt_pipeline.decoders import add_decoders
from iot2mqtt_pipeline.patience import patiently
from iot2mqtt_pipeline.settings import Settings
from iot2mqtt_pipeline.stage import Stopped


def _prepare(found: Settings, stopped: Stopped) -> None:
    """Make the topics; with Kafka away, wait for it as the stages do."""
    patiently(lambda: ensure_topics(found.kafka.client(), _wiring.topics(found.kafka)), stopped)


@click.command(epilog="Example: MQTT_HOST=broker KAFKA_BOOTSTRAP_SERVERS=kafka:9092 iot2mqtt-pipeline bridge")
@with_check_config
def bridge() -> None:
    """Carry MQTT messages into the raw topic of Kafka.

    Of several bridges each has an MQTT_CLIENT_ID of its own, and all have the same MQTT_SHARE.
    """
    found = settings()
    with until_signal() as ending:
        checks = _wiring.Needs(found).of("bridge")
        with observed("bridge", at=found, checks=checks, stopped=ending.is_set) as (figures, stopped):
            _prepare(found, stopped)
            _wiring.bridge(found, figures).run(stopped)


@click.command(epilog="Example: POSTGRES_HOST=db iot2mqtt-pipeline processor --name a")
@click.option("--name", default=socket.gethostname, show_default="the host's name", help="Its own among processors.")
@with_check_config
def processor(name: str) -> None:
    """Decode raw records into measurements, exactly once.

    Processors that run at the same time have different names; one that takes another's place has the same.
    """
    found = settings()
    add_decoders()
    with until_signal() as ending, LiveParameters(parameters=found.postgres.connection()) as parameters:
        checks = _wiring.Needs(found).of("processor")
        with observed("processor", at=found, checks=checks, stopped=ending.is_set) as (figures, stopped):
            _prepare(found, stopped)
            _wiring.processor(found, figures, name=name, parameters=parameters).run(stopped)


@click.command(epilog="Example: TIMESCALE_HOST=db BATCH_SIZE=5000 iot2mqtt-pipeline sink")
@with_check_config
def sink() -> None:
    """Store measurements in iot_measurements, each exactly once. `init-db` makes the table."""
    found = settings()
    with until_signal() as ending:
        checks = _wiring.Needs(found).of("sink")
        with observed("sink", at=found, checks=checks, stopped=ending.is_set) as (figures, stopped):
            _prepare(found, stopped)
            _wiring.sink(found, figures).run(stopped)
