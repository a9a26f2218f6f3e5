"""Making the clients of Kafka."""

from collections.abc import Mapping
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from iot2mqtt_pipeline.adapters.kafka_errors import cause, meaning
from iot2mqtt_pipeline.adapters.kafka_log import driver_log
from iot2mqtt_sdk.errors import ConfigurationError

_Client = TypeVar("_Client", AdminClient, Consumer, Producer)


def made(kind: type[_Client], config: Mapping[str, Any]) -> _Client:
    """Return a client; it connects on its own.

    Raises:
        ConfigurationError: The driver cannot work with these settings, as where the file of a certificate is wrong.
        TransientError: There is no room for another client now.
    """
    try:
        return kind(dict(config), logger=driver_log)
    except KafkaException as exception:
        error = cause(exception)
        if error.code() != KafkaError._INVALID_ARG:  # noqa: SLF001 - librdkafka's own codes carry a leading underscore
            raise meaning(error) from None
        raise ConfigurationError(
            f"Kafka cannot be spoken to as it is set up: {error.str()}; check KAFKA_SECURITY_PROTOCOL, KAFKA_USERNAME, "
            "KAFKA_PASSWORD and KAFKA_CA_CERTS"
        ) from None
