"""Timestamps of the contract: ISO 8601 in, UTC with milliseconds out."""

import re
from datetime import UTC, datetime

# The shape only: the days of a month are left to fromisoformat, which in turn reads far more than the contract allows.
# Years from 1000 to 2999, so that no offset can push a moment out of what datetime holds.
_SHAPE = re.compile(
    r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]+)?)?"
    r"(?P<offset>Z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?"
)


def parse_timestamp(text: str, *, need_offset: bool = False) -> datetime:
    """Read an ISO 8601 date and time (I2M-PUB-03, I2M-CMD-04, I2M-CMD-06).

    Args:
        text: Date and time, parted by `T` or a space, with `Z`, an offset such as `+09:00`, or neither.
        need_offset: Whether a text without offset is refused instead of being read as UTC.

    Returns:
        The moment in UTC, to the microsecond.

    Raises:
        ValueError: The text is no such timestamp; the message is one sentence without the text itself.
    """
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise ValueError("a timestamp must be an ISO 8601 date and time such as 2025-10-13T10:30:00.000Z")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("a timestamp must name a day that exists, such as 2025-10-13T10:30:00.000Z") from None
    if shape["offset"] is not None:
        return moment.astimezone(UTC)
    if need_offset:
        raise ValueError("a published timestamp must carry its UTC offset, as in 2025-10-13T10:30:00.000Z")
    return moment.replace(tzinfo=UTC)


def format_timestamp(moment: datetime) -> str:
    """Write a moment as the contract prefers it: `2025-10-13T10:30:00.000Z` (I2M-PUB-03).

    Args:
        moment: An aware datetime in any time zone; what is finer than a millisecond is cut off, never rounded up,
            so that stamps stay in order.

    Raises:
        ValueError: The datetime carries no UTC offset.
    """
    if moment.tzinfo is None:
        raise ValueError("a datetime without UTC offset cannot be published: use datetime.now(UTC)")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
