"""Whether a server answers just now, for /health/ready. Each returns why not, or None, within a few seconds."""

import socket
from collections.abc import Mapping

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from iot2mqtt_pipeline.adapters.kafka_client import made
from iot2mqtt_pipeline.adapters.kafka_errors import cause
from iot2mqtt_pipeline.adapters.mqtt import explain
from iot2mqtt_pipeline.adapters.postgres import connect
from iot2mqtt_pipeline.errors import TransientError
from iot2mqtt_sdk.errors import ConfigurationError

_PATIENCE = 3.0


def kafka_fault(client: Mapping[str, str]) -> str | None:
    """Ask Kafka for its brokers."""
    try:
        made(AdminClient, client).list_topics(timeout=_PATIENCE)
    except (TransientError, ConfigurationError) as error:
        return str(error)
    except KafkaException as exception:
        return f"Kafka at {client['bootstrap.servers']} does not answer: {cause(exception).str()}"
    return None


def database_fault(parameters: Mapping[str, str | int]) -> str | None:
    """Connect to the database."""
    try:
        connect({**parameters, "connect_timeout": int(_PATIENCE)}, name="iot2mqtt health").close()
    except (TransientError, ConfigurationError) as error:
        return str(error)
    return None


def mqtt_fault(host: str, port: int) -> str | None:
    """Open a connection to the broker, and close it again."""
    try:
        socket.create_connection((host, port), _PATIENCE).close()
    except (OSError, UnicodeError) as error:
        return f"the broker {host}:{port} cannot be reached: {explain(error)}"
    return None
