"""How a dead letter is written in Kafka: the original bytes as the value, and what is known of it in headers."""

from collections.abc import Sequence

from iot2mqtt_pipeline.stage import DeadLetter, Outgoing, Record

SUFFIX = ".dlq"
"""What the topic of the dead letters adds to the name of the topic that they were meant for or read from."""
LARGEST = 15 * 1024 * 1024
"""Bytes of a dead letter that are kept; what is longer is cut."""
REPLAYS = "dlq-replays"
"""The header that counts how often a record has been replayed."""
REPLAY_OF = "dlq-replay-of"
"""The header that names the place of the letter that a record is a replay of, so that it is not counted twice."""
ARRIVED = "mqtt-arrived"
"""The header of a letter of the bridge that says in Unix seconds when the message came."""
_PREFIX = "dlq-"
_CUT = "dlq-cut"


def outgoing(letter: DeadLetter, topic: str, *, stub: bool = False) -> Outgoing:
    """Return the record to write.

    Args:
        letter: What cannot be carried.
        topic: The topic whose dead letters it joins.
        stub: Whether to leave the bytes out, because Kafka did not take them.
    """
    largest = 0 if stub else LARGEST
    headers = [
        *letter.headers,
        ("dlq-topic", letter.topic.encode()),
        ("dlq-partition", str(letter.partition).encode()),
        ("dlq-offset", str(letter.offset).encode()),
        ("dlq-stage", letter.stage.encode()),
        ("dlq-reason", letter.reason.encode()),
        ("dlq-error", letter.error.encode(errors="replace")),
    ]
    value = letter.value
    if len(value) > largest:
        headers.append((_CUT, str(len(value)).encode()))
        value = value[:largest]
    return Outgoing(topic + SUFFIX, letter.key or b"", value, headers)


def read(record: Record) -> DeadLetter:
    """Return the dead letter that a record holds; what its headers do not say is empty, or -1."""
    facts = {name: value.decode(errors="replace") for name, value in record.headers if name.startswith(_PREFIX)}
    return DeadLetter(
        topic=facts.get("dlq-topic", ""),
        partition=_number(facts.get("dlq-partition")),
        offset=_number(facts.get("dlq-offset")),
        key=record.key or None,
        value=record.value,
        headers=_original(record.headers),
        stage=facts.get("dlq-stage", ""),
        reason=facts.get("dlq-reason", ""),
        error=facts.get("dlq-error", ""),
    )


def place(record: Record) -> str:
    """Return where a letter lies among the dead letters of its topic, as `dlq list` shows it."""
    return f"{record.partition}/{record.offset}"


def replay_of(record: Record) -> str | None:
    """Return the place of the letter whose replay has become this one."""
    return next((value.decode(errors="replace") for name, value in record.headers if name == REPLAY_OF), None)


def is_cut(record: Record) -> bool:
    """Whether only the beginning of the original was kept."""
    return any(name == _CUT for name, _ in record.headers)


def replays(headers: Sequence[tuple[str, bytes]]) -> int:
    """Return how often a record has been replayed."""
    return max((_number(value.decode(errors="replace")) for name, value in headers if name == REPLAYS), default=0)


def _original(headers: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return [(name, value) for name, value in headers if name == REPLAYS or not name.startswith(_PREFIX)]


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.lstrip("-").isdecimal() else -1
