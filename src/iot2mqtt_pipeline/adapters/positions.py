"""Where the sink goes on: the offsets beside the rows, each of one log.

An offset says nothing of another log: it would skip what the new one begins with, or wait for ever for its turn.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from iot2mqtt_pipeline.adapters.postgres import SERVER, Connection
from iot2mqtt_pipeline.errors import TransientError
from iot2mqtt_pipeline.stage import Move, Partition

_log = logging.getLogger("iot2mqtt.pipeline.store")

UNNAMED = ""
"""The log of offsets that were stored before the name of the log was."""

_FIND = (
    "SELECT topic, partition, log, next_offset FROM iot_sink_offsets JOIN"
    " unnest(%s::text[], %s::int[], %s::text[]) AS asked (topic, partition, name) USING (topic, partition)"
    " WHERE log IN (name, %s) ORDER BY log"
)
_NAME = (
    "WITH unnamed AS (DELETE FROM iot_sink_offsets WHERE topic = %s AND partition = %s AND log = %s"
    " RETURNING topic, partition, next_offset) "
    "INSERT INTO iot_sink_offsets (topic, partition, next_offset, log) SELECT *, %s FROM unnamed ON CONFLICT DO NOTHING"
)
_DROP = "DELETE FROM iot_sink_offsets WHERE topic = %s AND partition = %s AND log = %s AND next_offset = %s"
_MOVE = (
    "WITH moved AS (SELECT * FROM unnest(%s::text[], %s::int[], %s::text[], %s::bigint[], %s::bigint[])"
    " AS given (topic, partition, log, expected, next_offset)) "
    "INSERT INTO iot_sink_offsets AS known (topic, partition, log, next_offset)"
    " SELECT topic, partition, log, next_offset FROM moved ORDER BY topic, partition"
    " ON CONFLICT (topic, partition, log) DO UPDATE SET next_offset = EXCLUDED.next_offset"
    " WHERE known.next_offset = (SELECT expected FROM moved"
    " WHERE moved.topic = known.topic AND moved.partition = known.partition)"
)


class Log(NamedTuple):
    """The log that a partition is just now.

    Attributes:
        name: What no other log of this topic is called, here or in another Kafka.
        end: The offset that its next record gets.
    """

    name: str
    end: int


Logs = Callable[[Sequence[Partition]], Mapping[Partition, Log]]
"""Tells the logs of partitions; it raises TransientError where nobody answers."""


def find(connection: Connection, logs: Mapping[Partition, Log], ask: Logs) -> dict[Partition, int]:
    """Return the next offset of each log; those of which nothing was stored are left out.

    What was stored past the end of a log is forgotten: the log has lost its end, or it is another one than the offset
    was stored for. It is read from its beginning, and rows that are there already are known by their identity.

    Args:
        connection: The database.
        logs: What the partitions are.
        ask: Tells it again: a log may have grown, and been stored by another sink, since it was told.
    """
    asked = [(topic, number, log.name) for (topic, number), log in logs.items()]
    columns = [list(column) for column in zip(*asked, strict=True)]
    found: dict[Partition, int] = {}
    with connection.transaction():
        # Those without a name come first, and one of the log itself counts more.
        for topic, number, name, offset in connection.execute(_FIND, [*columns, UNNAMED]).fetchall():
            log = logs[topic, number]
            if offset > log.end and offset > ask([(topic, number)])[topic, number].end:
                connection.execute(_DROP, [topic, number, name, offset])
                _log.warning(
                    "%s/%d ends at %d in Kafka, but was stored up to %d: it is read from its beginning",
                    *(topic, number, log.end, offset),
                )
                continue
            if name != log.name:
                connection.execute(_NAME, [topic, number, name, log.name])
            found[topic, number] = offset
    return found


def move(connection: Connection, moves: Mapping[Partition, Move], names: Mapping[Partition, str]) -> None:
    """Move offsets of logs from where they are believed to be.

    Raises:
        TransientError: Another sink has moved one.
    """
    given = [(*partition, names.get(partition, UNNAMED), *one) for partition, one in moves.items()]
    moved = connection.execute(_MOVE, [list(column) for column in zip(*given, strict=True)])
    if moved.rowcount != len(moves):
        raise TransientError(f"another sink has stored what this one has read of {_named(moves)}", server=SERVER)


def unnamed(partitions: Sequence[Partition]) -> Mapping[Partition, Log]:
    """Tell logs where there is only one of each partition, without an end."""
    return dict.fromkeys(partitions, Log(UNNAMED, 2**63 - 1))


def _named(moves: Mapping[Partition, Move]) -> str:
    return ", ".join(f"{topic}/{number}" for topic, number in moves)
