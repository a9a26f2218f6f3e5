"""The books of the pipeline: published = stored + dead-lettered + duplicates, device by device."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Account:
    """What became of what one device published, all in rows; a message that cannot be decoded counts as one.

    Attributes:
        published: Rows that were to be.
        stored: Rows in iot_measurements.
        dead_lettered: Records in the dead letters.
        duplicates: Rows that were there already.
    """

    published: int
    stored: int
    dead_lettered: int
    duplicates: int

    @property
    def missing(self) -> int:
        """How many rows are nowhere; below zero it is how many nobody published."""
        return self.published - self.stored - self.dead_lettered - self.duplicates


def accounts(
    *,
    published: Mapping[str, int],
    stored: Mapping[str, int],
    dead_lettered: Mapping[str, int],
    duplicates: Mapping[str, int],
) -> dict[str, Account]:
    """Return the account of every device that any of the counts knows, in the order of their names.

    Args:
        published: Rows by device.
        stored: Rows by device.
        dead_lettered: Records by device.
        duplicates: Rows by device.
    """
    counts = (published, stored, dead_lettered, duplicates)
    devices = sorted(set().union(*counts))
    return {device: Account(*(count.get(device, 0) for count in counts)) for device in devices}


def total(books: Mapping[str, Account]) -> Account:
    """Return the sum of all accounts. Its `missing` may be 0 while devices differ: look at each for that."""
    sums = [(book.published, book.stored, book.dead_lettered, book.duplicates) for book in books.values()]
    return Account(*(sum(column) for column in zip((0, 0, 0, 0), *sums, strict=True)))
