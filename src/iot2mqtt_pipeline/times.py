"""When something happened, as its device tells it."""

from datetime import UTC, datetime

from iot2mqtt_pipeline.errors import PermanentError
from iot2mqtt_pipeline.wording import shown
from iot2mqtt_sdk.contract.time import parse_timestamp

EARLIEST = 978_307_200
"""2001-01-01. Clocks that nobody has set start in 1970, 1980 or 2000: what they stamp would be stored in a time that
retention drops at once, so it is a dead letter, from which it can be replayed."""

AHEAD = 86_400
"""How many seconds an event may lie ahead. A clock that shows local time without saying so is up to 14 hours ahead, and
is still believed; beyond a day it would stay the newest row of its device for good."""

_MILLISECONDS_FROM = 100_000_000_000
"""Read as seconds, this and more would be after the year 5000; read as milliseconds, less would be before 1974."""

_LENGTH = len("2023-05-26T18:34:04.928538")


def event_time(payload: object, arrived: float, now: float = 0.0) -> float:
    """Return the Unix seconds of a message: those of `timestamp` in its payload, or else of its arrival.

    The device's own time may be an ISO 8601 date and time (UTC where it has no offset), or a number of Unix seconds or
    milliseconds. A time that is wrong never becomes the arrival's.

    Args:
        payload: What was published.
        arrived: Unix seconds by the clock of the bridge.
        now: Unix seconds by the clock of who asks: where the bridge's was behind, an event is ahead of neither.

    Raises:
        PermanentError: `bad_time`: the device's time cannot be read, or cannot be true.
    """
    told = payload.get("timestamp") if isinstance(payload, dict) else None
    if told is None:
        return arrived
    seconds = _seconds(told)
    if not EARLIEST <= seconds <= max(arrived, now) + AHEAD:
        raise PermanentError(
            "bad_time",
            f"the time {shown(told)} is before 2001 or over a day ahead: set the clock of the device; where the one of "
            "this host is wrong, set that and replay it",
        )
    return seconds


def _seconds(told: object) -> float:
    if isinstance(told, str):
        try:
            return (_as_controllers_write(told) or parse_timestamp(told)).timestamp()
        except ValueError as fault:
            raise PermanentError("bad_time", f"the time {shown(told)} cannot be read: {fault}") from None
    if isinstance(told, int | float) and not isinstance(told, bool):
        return told / 1000 if told >= _MILLISECONDS_FROM else float(told)
    raise PermanentError("bad_time", f"the time {shown(told)} is neither a text nor a number")


def _as_controllers_write(text: str) -> datetime | None:
    """Read `2023-05-26T18:34:04.928538`, which most messages have, in a third of the time that the whole grammar takes.

    Raises:
        ValueError: It looks like this and is no time.
    """
    if len(text) != _LENGTH or text[10] not in "T " or text[19] != "." or not text[20:].isdecimal():
        return None
    if not text[4] == text[7] == "-" or not text[13] == text[16] == ":":
        return None
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
