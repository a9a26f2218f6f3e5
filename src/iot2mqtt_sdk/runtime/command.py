"""What a received command says, and why it may be refused (clauses I2M-CMD-01 to 06, 12)."""

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from iot2mqtt_sdk.contract.time import parse_timestamp
from iot2mqtt_sdk.errors import CommandError, PayloadError
from iot2mqtt_sdk.jsontext import LARGEST, decode, plain

STALE = 30.0
"""Seconds after which a command is too old to be executed."""
REMEMBERED = 300.0
"""Seconds for which a command id is not executed a second time."""
IDS = 10_000
"""Command ids that are remembered at the most."""
TIMEOUT = 5.0
"""Seconds that a command may take where it does not say."""
LONGEST_TIMEOUT = 3_600_000
"""Milliseconds that a command may ask for at the most."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command that may be executed.

    Attributes:
        id: Names it in its response; None asks for none.
        values: Wanted value by property name.
        seconds: How long it may take.
    """

    id: str | None
    values: Mapping[str, Any]
    seconds: float


def command_id(document: Any) -> str | None:
    """Return the id of a document that may be a command, so that a refusal can be answered."""
    found = document.get("id") if isinstance(document, Mapping) else None
    return found if isinstance(found, str) and found else None


def rescued_id(payload: bytes) -> str | None:
    """Return the id of a command that is no strict JSON for a number such as 1e400 or NaN, so that it is answered."""
    if len(payload) > LARGEST:
        return None
    try:
        return command_id(json.loads(payload, parse_float=str))
    except (ValueError, RecursionError):
        return None


def parse(payload: bytes) -> Any:
    """Return a command's JSON document.

    Raises:
        CommandError: It is none.
    """
    try:
        return decode(payload)
    except ValueError as error:
        raise CommandError("invalid_command", str(error)) from None


def read(document: Any, now: datetime) -> Command:
    """Check a command's document.

    Args:
        document: The parsed payload.
        now: The time of day.

    Raises:
        CommandError: It is malformed, or more than 30 s old.
    """
    if not isinstance(document, Mapping):
        raise CommandError("invalid_command", "a command must be a JSON object with `values`")
    if document.get("id") is not None and command_id(document) is None:
        raise CommandError("invalid_command", "`id` must be a text that is not empty")
    values = document.get("values")
    if not isinstance(values, Mapping):
        raise CommandError("invalid_command", "`values` must be an object of property to value")
    try:
        plain(values)
    except PayloadError:
        raise CommandError("invalid_command", "`values` nest too deeply") from None
    _check_age(document.get("timestamp"), now)
    return Command(command_id(document), values, _seconds(document.get("timeout")))


def _check_age(stamp: Any, now: datetime) -> None:
    if stamp is None:
        return
    if not isinstance(stamp, str):
        raise CommandError("invalid_command", "`timestamp` must be an ISO 8601 text")
    try:
        age = (now - parse_timestamp(stamp)).total_seconds()
    except ValueError as error:
        raise CommandError("invalid_command", f"`timestamp`: {error}") from None
    if age > STALE:
        raise CommandError("stale_command", f"the command is {age:.0f} s old, and more than {STALE:.0f} s is too old")


def _seconds(timeout: Any) -> float:
    if timeout is None:
        return TIMEOUT
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= LONGEST_TIMEOUT:
        raise CommandError("invalid_command", f"`timeout` must be a number of milliseconds up to {LONGEST_TIMEOUT}")
    return timeout / 1000


class SeenIds:
    """Command ids of the last five minutes; used on one thread."""

    def __init__(self) -> None:
        # Hashes, because whoever sends commands chooses the length of their ids.
        self._seen: OrderedDict[int, float] = OrderedDict()

    def again(self, target: str, identity: str, now: float) -> bool:
        """Whether an id was seen before for a device or group; from now on it was.

        Args:
            target: The device's or group's topic.
            identity: The command's id.
            now: Monotonic seconds.
        """
        while self._seen and (next(iter(self._seen.values())) < now - REMEMBERED or len(self._seen) >= IDS):
            self._seen.popitem(last=False)
        key = hash((target, identity))
        if key in self._seen:
            return True
        self._seen[key] = now
        return False
