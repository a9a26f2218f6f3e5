"""Where `up` takes its services from: those of the settings, of this machine, or of pip."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import click

from iot2mqtt_pipeline.adapters.checks import mqtt_fault
from iot2mqtt_pipeline.adapters.kafka_topics import ensure_topics
from iot2mqtt_pipeline.adapters.mqtt_wire import NEVER
from iot2mqtt_pipeline.cli import _wiring
from iot2mqtt_pipeline.errors import TransientError
from iot2mqtt_pipeline.servers import embedded, kafka_jars, mosquitto
from iot2mqtt_pipeline.servers.kafka import LocalKafka
from iot2mqtt_pipeline.servers.kafka import running as running_kafka
from iot2mqtt_pipeline.servers.postgres import LocalPostgres, programs, temporary_folder
from iot2mqtt_pipeline.servers.postgres import running as running_postgres
from iot2mqtt_pipeline.settings import Database, Kafka, Mqtt, Settings
from iot2mqtt_sdk.errors import ConfigurationError

Kind = Literal["local", "embedded"]

_PASSING = 60
"""Seconds for which a given broker keeps a session that nobody has named: longer than a connection is away."""


@dataclass(slots=True)
class Services:
    """What the stages run on.

    Attributes:
        settings: The settings that lead there.
        said: For each service, one line on which it is.
        variables: What other commands need in their environment to reach those that were started here.
        trial: Whether one of them is for trying out only.
        expiry: Seconds for which the broker keeps the session of the bridge without it.
    """

    settings: Settings
    said: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    trial: bool = False
    expiry: int = NEVER


@contextmanager
def services(found: Settings, *, broker: Kind | None, kafka: Kind | None) -> Iterator[Services]:
    """Start what the settings do not name, and stop it in the end.

    Args:
        found: The settings; an address in them is taken as it is.
        broker: Mosquitto or amqtt; where it is None, Mosquitto if there is one.
        kafka: A local one or the embedded one; where it is None, a local one if Java and its files are here already.

    Raises:
        ConfigurationError: Something is missing, or does not start; or what is given serves others, from whom
            something would be taken.
        TransientError: A service of the settings is away.
    """
    _spare_others(found, own_broker=broker is not None, own_kafka=kafka is not None)
    made = Services(found)
    with ExitStack() as stack:
        _add_broker(made, stack, broker)
        _add_kafka(made, stack, kafka)
        _add_databases(made, stack)
        yield made


def _spare_others(found: Settings, *, own_broker: bool, own_kafka: bool) -> None:
    """Refuse to share the work of a pipeline that runs already, and to lose this part of it."""
    given_kafka = "bootstrap_servers" in found.kafka.model_fields_set and not own_kafka
    if found.mqtt.share and _is_given(found.mqtt) and not own_broker and not given_kafka:
        raise ConfigurationError(
            "MQTT_SHARE is set and KAFKA_BOOTSTRAP_SERVERS is not: messages would be taken from the bridges that share "
            "them, into a Kafka that forgets them; set KAFKA_BOOTSTRAP_SERVERS, or unset MQTT_SHARE"
        )
    if (
        given_kafka
        and not _is_given(found.postgres)
        and not {"raw_topic", "decoded_topic"} <= (found.kafka.model_fields_set)
    ):
        raise ConfigurationError(
            "KAFKA_BOOTSTRAP_SERVERS is set and POSTGRES_HOST is not: records of others would be decoded without their "
            "parameters; set POSTGRES_HOST, or KAFKA_RAW_TOPIC and KAFKA_DECODED_TOPIC to topics of your own"
        )


def _add_broker(made: Services, stack: ExitStack, kind: Kind | None) -> None:
    given = made.settings.mqtt
    path = mosquitto.program() if kind != "embedded" else None
    if _is_given(given) and kind is None:
        fault = mqtt_fault(given.host, given.port)
        if fault is not None:
            raise TransientError(f"{fault}; start it, or unset MQTT_HOST to have one started here", server="mqtt")
        made.said["broker"] = f"{given.host}:{given.port}, as MQTT_HOST says"
        if "client_id" not in given.model_fields_set:
            # The default one is that of a bridge which may run: its session would be taken over, and what is in it.
            named = given.model_copy(update={"client_id": f"iot2mqtt-up-{secrets.token_hex(4)}"})
            made.settings = made.settings.model_copy(update={"mqtt": named})
            made.expiry = _PASSING
        return
    if path is not None:
        port = stack.enter_context(mosquitto.running(path))
        made.said["broker"] = f"127.0.0.1:{port}, Mosquitto of this machine ({path})"
    else:
        port = stack.enter_context(embedded.broker())
        made.said["broker"] = f"127.0.0.1:{port}, embedded (amqtt)"
        made.trial = True
    kept = {"base_topic": given.base_topic, "client_id": given.client_id}
    # amqtt says nothing at all to who speaks MQTT 5.
    used = Mqtt(host="127.0.0.1", port=port, version="5" if path is not None else "3.1.1", **kept)
    made.settings = made.settings.model_copy(update={"mqtt": used})
    made.variables |= {"MQTT_HOST": "127.0.0.1", "MQTT_PORT": str(port)}


def _add_kafka(made: Services, stack: ExitStack, kind: Kind | None) -> None:
    given = made.settings.kafka
    topics = _wiring.topics(given)
    if "bootstrap_servers" in given.model_fields_set and kind is None:
        made.said["Kafka"] = f"{given.bootstrap_servers}, as KAFKA_BOOTSTRAP_SERVERS says"
        try:
            ensure_topics(given.client(), topics)
        except TransientError as error:
            advice = "start it, or unset KAFKA_BOOTSTRAP_SERVERS to have one started here"
            raise TransientError(f"{given.bootstrap_servers}: {error}; {advice}") from None
        return
    named: dict[str, Any] = given.model_dump(include={"raw_topic", "decoded_topic", "partitions"})
    if kind == "local" or (kind is None and kafka_jars.at_hand()):
        if not kafka_jars.at_hand():
            click.echo("Maven brings Kafka's files, 45 MB, which may take minutes", err=True)
        folder = stack.enter_context(temporary_folder()) / "kafka"
        address = stack.enter_context(running_kafka(LocalKafka(folder=folder))).bootstrap
        ensure_topics({"bootstrap.servers": address}, topics)
        made.said["Kafka"] = f"{address}, Kafka of this machine"
    else:
        address = stack.enter_context(embedded.kafka(topics))
        made.said["Kafka"] = f"{address}, embedded (the mock cluster of librdkafka, in memory)"
        made.trial = True
    used = Kafka(bootstrap_servers=address, **named)
    made.settings = made.settings.model_copy(update={"kafka": used})
    made.variables["KAFKA_BOOTSTRAP_SERVERS"] = address


def _add_databases(made: Services, stack: ExitStack) -> None:
    """Start one server for what has no address: parameters, measurements, or both."""
    missing = [part for part in ("postgres", "timescale") if not _is_given(getattr(made.settings, part))]
    if missing:
        folder = stack.enter_context(temporary_folder()) / "postgres"
        server = stack.enter_context(running_postgres(LocalPostgres(folder=folder, durable=False)))
        used = _database(server.connection())
        made.settings = made.settings.model_copy(update=dict.fromkeys(missing, used))
        # What TIMESCALE_* does not say, POSTGRES_* does.
        prefix = missing[0].upper()
        made.variables |= {f"{prefix}_HOST": used.host, f"{prefix}_PORT": str(used.port)}
        made.variables[f"{prefix}_PASSWORD_FILE"] = str(folder / "password")
    for part, name in (("postgres", "parameters"), ("timescale", "measurements")):
        database: Database = getattr(made.settings, part)
        said = "POSTGRES" if database == made.settings.postgres else "TIMESCALE"
        where = f"PostgreSQL started here ({programs()})" if part in missing else f"as {said}_HOST says"
        made.said[name] = f"{database.host}:{database.port}, {where}"


def _database(connection: dict[str, str | int]) -> Database:
    named: dict[str, Any] = {"host": connection["host"], "port": connection["port"], "db": connection["dbname"]}
    return Database(**named, user=str(connection["user"]), password=connection["password"])


def _is_given(part: Mqtt | Database) -> bool:
    return bool({"host", "port"} & part.model_fields_set)
