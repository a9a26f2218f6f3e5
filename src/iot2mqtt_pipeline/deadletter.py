"""What is done with dead letters: list them, show one, and put them back where they came from."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from iot2mqtt_pipeline import letters
from iot2mqtt_pipeline.errors import PermanentError, PipelineError, TransientError
from iot2mqtt_pipeline.record import encode_raw
from iot2mqtt_pipeline.stage import DeadLetter, Done, Outgoing, Record
from iot2mqtt_pipeline.topics import device_of

_FLUSH = 30.0
"""Seconds that Kafka may take to confirm what it was given."""
_OFTEN = 500


class Cemetery(Protocol):
    """The dead letters of one topic, as they are now."""

    def records(self) -> Iterator[Record]:
        """Yield each of them, in order per partition, and end where the topic ends now.

        Raises:
            TransientError: Kafka is away.
        """


class Returns(Protocol):
    """Where replayed records go: the outbox of the bridge serves."""

    def send(self, record: Outgoing, done: Done) -> None:
        """Take a record; `done` is called by `serve` or `flush`.

        Raises:
            TransientError: Too many are waiting.
        """

    def serve(self, timeout: float) -> None:
        """Call `done` for what has been confirmed or refused."""

    def flush(self, timeout: float) -> int:
        """Wait for all that was sent, and return how many are still not confirmed."""


@dataclass(frozen=True, slots=True)
class Found:
    """A dead letter, and where it lies.

    Attributes:
        partition: The partition of the topic of the dead letters.
        offset: Its offset there; both together name it for `show` and `replay`.
        letter: What it says.
        replays: How often it had been replayed before it came here.
        cut: Whether only the beginning of the original was kept, so that it cannot be replayed.
    """

    partition: int
    offset: int
    letter: DeadLetter
    replays: int
    cut: bool


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a replay.

    Attributes:
        sent: How many records Kafka has again.
        failed: Those that it does not have, and why.
    """

    sent: int
    failed: Sequence[tuple[Found, str]]


def find(cemetery: Cemetery, *, wanted: Callable[[Found], bool] = lambda _found: True) -> Iterator[Found]:
    """Yield the dead letters that are wanted.

    Raises:
        TransientError: Kafka is away.
    """
    for record in cemetery.records():
        headers = record.headers
        cut = letters.is_cut(record)
        found = Found(record.partition, record.offset, letters.read(record), letters.replays(headers), cut)
        if wanted(found):
            yield found


def replayed(cemetery: Cemetery) -> set[str]:
    """Return the places of the letters whose replay has become a later letter: that one stands for them.

    Raises:
        TransientError: Kafka is away.
    """
    return {of for record in cemetery.records() if (of := letters.replay_of(record)) is not None}


def show(cemetery: Cemetery, *, partition: int, offset: int) -> Found:
    """Return one dead letter.

    Raises:
        PermanentError: There is none at this place.
        TransientError: Kafka is away.
    """
    for found in find(cemetery, wanted=lambda one: (one.partition, one.offset) == (partition, offset)):
        return found
    raise PermanentError("no_dead_letter", f"there is no dead letter at partition {partition}, offset {offset}")


def replay(chosen: Iterable[Found], returns: Returns, *, raw_topic: str) -> Replayed:
    """Put records back: those of Kafka on the topic that they were read from, those of the bridge on the raw topic.

    Args:
        chosen: What to replay, taken one by one; they stay among the dead letters.
        returns: Where they go.
        raw_topic: The raw topic.

    Raises:
        TransientError: Kafka has not confirmed all of it in time; what it has is there twice after another replay.
    """
    failed: list[tuple[Found, str]] = []

    def note(found: Found, error: PipelineError | None) -> None:
        if error is not None:
            failed.append((found, str(error)))

    count = 0
    for count, found in enumerate(chosen, 1):
        try:
            _send(_original(found, raw_topic), returns, partial(note, found))
        except PermanentError as error:
            note(found, error)
        if not count % _OFTEN:
            returns.serve(0)
    left = returns.flush(_FLUSH)
    if left:
        raise TransientError(f"Kafka has not confirmed {left} of {count} replayed records: try again")
    return Replayed(count - len(failed), failed)


def _send(record: Outgoing, returns: Returns, done: Done) -> None:
    """Send a record once there is room for it."""
    end = time.monotonic() + _FLUSH
    while True:
        try:
            returns.send(record, done)
        except TransientError:
            if time.monotonic() > end:
                raise
            returns.serve(1.0)
        else:
            return


def _arrival(letter: DeadLetter) -> float:
    """Return when a message came that never became a record."""
    told = next((value for name, value in letter.headers if name == letters.ARRIVED), b"")
    try:
        return float(told)
    except ValueError:
        return time.time()


def _original(found: Found, raw_topic: str) -> Outgoing:
    letter = found.letter
    if found.cut:
        raise PermanentError("cut", "only the beginning of it was kept, so it cannot be replayed")
    kept = [(name, value) for name, value in letter.headers if name != letters.REPLAYS]
    grave = f"{found.partition}/{found.offset}".encode()
    headers = [*kept, (letters.REPLAYS, str(found.replays + 1).encode()), (letters.REPLAY_OF, grave)]
    if letter.stage != "bridge":
        return Outgoing(letter.topic, letter.key or b"", letter.value, headers)
    device = device_of(letter.topic)
    value = encode_raw(topic=letter.topic, device_id=device, payload=letter.value, arrived=_arrival(letter))
    return Outgoing(raw_topic, device.encode(), value, headers)
