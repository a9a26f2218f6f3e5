"""What an error of Kafka means to a stage."""

from confluent_kafka import KafkaError, KafkaException

from iot2mqtt_pipeline.errors import FencedError, PermanentError, PipelineError, TransientError

_TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE}
_BAD_RECORD = {KafkaError.INVALID_MSG}
_BAD_TIME = {KafkaError.INVALID_TIMESTAMP, KafkaError.INVALID_RECORD}
"""The second one is what Kafka says of each of several records; of ours it has no other reason to."""
_FENCED = {
    KafkaError._FENCED,  # noqa: SLF001 - librdkafka's own codes carry a leading underscore
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.FENCED_INSTANCE_ID,
}


def meaning(error: KafkaError) -> PipelineError:
    """Return what a stage raises or is told for an error of Kafka."""
    if error.code() in _TOO_LARGE:
        return PermanentError("too_large", f"Kafka does not take a record of this size: {error.str()}")
    if error.code() in _BAD_RECORD:
        return PermanentError("refused", f"Kafka does not take the record: {error.str()}")
    if error.code() in _BAD_TIME:
        return TransientError(
            "Kafka takes nothing that is written now, because its clock and the one of this host differ: set them, or "
            f"set message.timestamp.type of the topics to LogAppendTime ({error.str()})"
        )
    if error.fatal() or error.code() in _FENCED:
        return FencedError(f"Kafka has given this process up: {error.str()}")
    return TransientError(f"Kafka: {error.str()}")


def cause(exception: KafkaException) -> KafkaError:
    """Return the error that an exception carries."""
    found = exception.args[0]
    if not isinstance(found, KafkaError):
        raise TypeError(f"Kafka's driver raised {found!r} without a KafkaError") from exception
    return found
