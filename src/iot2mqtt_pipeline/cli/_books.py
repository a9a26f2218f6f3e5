"""The ledger of a whole pipeline: gathered from Kafka and the database, and shown."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from iot2mqtt_pipeline.adapters.counts import stored
from iot2mqtt_pipeline.adapters.kafka_letters import KafkaLetters
from iot2mqtt_pipeline.adapters.parameters import load
from iot2mqtt_pipeline.adapters.postgres import connect, translated
from iot2mqtt_pipeline.counting import count
from iot2mqtt_pipeline.decoding import Decoder
from iot2mqtt_pipeline.ledger import Account, accounts, total
from iot2mqtt_pipeline.letters import SUFFIX
from iot2mqtt_pipeline.parameters import ParameterTable
from iot2mqtt_pipeline.settings import Settings

_HEAD = ("device", "published", "stored", "dead-lettered", "duplicates", "missing")


@dataclass(frozen=True, slots=True)
class Books:
    """What became of everything.

    Attributes:
        devices: The account of each device.
        expired: How many records Kafka has dropped already, so that nobody can count them.
    """

    devices: Mapping[str, Account]
    expired: int

    @property
    def differing(self) -> dict[str, Account]:
        """The accounts that do not balance."""
        return {device: book for device, book in self.devices.items() if book.missing}

    @property
    def balanced(self) -> bool:
        """Whether every account balances."""
        return not self.differing


def gather(found: Settings) -> Books:
    """Read Kafka and the database, and return the books.

    Raises:
        TransientError: One of them is away.
        ConfigurationError: The tables are missing.
    """
    raw, decoded = found.kafka.raw_topic, found.kafka.decoded_topic
    # The database first: what is stored meanwhile is in Kafka too, and must not look as if it came from nowhere.
    rows, duplicates = stored(found.timescale.connection())
    topics = {name: _topic(found, name) for name in (raw, decoded, raw + SUFFIX, decoded + SUFFIX)}
    counts = count(
        raw=topics[raw].records(),
        decoded=topics[decoded].records(),
        dead={topic: topics[topic + SUFFIX].records() for topic in (raw, decoded)},
        decoder=Decoder(_parameters(found), found.unknown, time.time()),
    )
    books = accounts(published=counts.published, stored=rows, dead_lettered=counts.dead_lettered, duplicates=duplicates)
    # Those that did not have to be read have dropped nothing that matters.
    return Books(books, sum(topic.dropped for topic in topics.values()))


def lines(books: Books, *, everyone: bool) -> Iterator[str]:
    """Yield the table: devices that differ, or all of them, and the sum of all."""
    shown = books.devices if everyone else books.differing
    table = [_HEAD, *(_cells(device, book) for device, book in shown.items())]
    table.append(_cells(f"all {len(books.devices)}", total(books.devices)))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for device, *numbers in table:
        yield "  ".join([device.ljust(widths[0]), *map(str.rjust, numbers, widths[1:])])
    if books.expired:
        yield f"Kafka has dropped {books.expired} records already, which nobody can count: the books may not balance"
    yield verdict(books)


def verdict(books: Books) -> str:
    """Return one sentence on the books."""
    if books.balanced:
        return "The books balance: published = stored + dead-lettered + duplicates, device by device."
    number, of = len(books.differing), len(books.devices)
    return f"{number} of {of} devices differ. What is under way is missing until it is stored."


def document(books: Books) -> dict[str, Any]:
    """Return the books for machines."""
    devices = {device: asdict(book) | {"missing": book.missing} for device, book in books.devices.items()}
    whole = total(books.devices)
    sums = asdict(whole) | {"missing": whole.missing}
    return {"balanced": books.balanced, "expired": books.expired, "total": sums, "devices": devices}


def _cells(name: str, book: Account) -> tuple[str, ...]:
    numbers = (book.published, book.stored, book.dead_lettered, book.duplicates, book.missing)
    return (name, *(f"{number:,}" for number in numbers))


def _topic(found: Settings, topic: str) -> KafkaLetters:
    return KafkaLetters(client=found.kafka.client(), topic=topic)


def _parameters(found: Settings) -> ParameterTable:
    where = found.postgres.connection()
    with connect(where, name="iot2mqtt ledger") as connection, translated(where):
        return load(connection)
