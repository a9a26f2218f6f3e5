"""What is waited for on the wire: predicates of records."""

from collections.abc import Callable

from iot2mqtt_conformance.transcript import Record


def is_publish(record: Record, topic: str) -> bool:
    """Whether a record is a PUBLISH of the connector to a topic."""
    data = record.data
    return record.kind == "packet" and data["dir"] == "c2b" and data["type"] == "PUBLISH" and data["topic"] == topic


def is_online(record: Record, topic: str) -> bool:
    """Whether a record is the connector's `online`."""
    return is_publish(record, topic) and record.data.get("payload") == "online"


def publishing(topic: str) -> Callable[[Record], bool]:
    """Return a predicate: the connector publishes on a topic."""
    return lambda record: is_publish(record, topic)


def saying(topic: str) -> Callable[[Record], bool]:
    """Return a predicate: the connector publishes on a topic, and not for want of an acknowledgement."""
    return lambda record: is_publish(record, topic) and not record.data["dup"]


def acknowledging(message: Record) -> Callable[[Record], bool]:
    """Return a predicate: the broker has a message of the connector, which has QoS 1."""
    wanted = {"type": "PUBACK", "dir": "b2c", "conn": message.data["conn"], "id": message.data["id"]}
    return lambda record: record.kind == "packet" and wanted.items() <= record.data.items()
