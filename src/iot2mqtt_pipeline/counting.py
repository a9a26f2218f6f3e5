"""What was published and what was set aside, counted from the records that Kafka has.

Everything is counted in rows. A record that cannot be decoded is one, as is what lies in the dead letters of bridge and
processor. A letter that was replayed is no dead letter any more: what has become of the replay counts instead. The
first replay of a letter stands for the original; a second one of the same letter was published once more.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from iot2mqtt_pipeline import letters
from iot2mqtt_pipeline.decoding import Decoder
from iot2mqtt_pipeline.errors import PermanentError
from iot2mqtt_pipeline.record import Measurement, read_measurement, read_raw, rows
from iot2mqtt_pipeline.stage import DeadLetter, Record
from iot2mqtt_pipeline.topics import device_of

NOBODY = "(unknown)"
"""Whose messages those are that do not say which device published them."""

_Place = tuple[str, int, int]


@dataclass(slots=True)
class Counts:
    """Counts by device.

    Attributes:
        published: Rows that were to be.
        dead_lettered: What lies in the dead letters.
    """

    published: Counter[str] = field(default_factory=Counter)
    dead_lettered: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Buried:
    stage: str
    origin: _Place
    device: str
    rows: int


def count(
    *, raw: Iterable[Record], decoded: Iterable[Record], dead: dict[str, Iterable[Record]], decoder: Decoder
) -> Counts:
    """Count what was published and what was set aside.

    Args:
        raw: The records of the raw topic.
        decoded: Those of the decoded topic; only read where measurements have been set aside.
        dead: The dead letters of each of the two topics, by the name of the topic.
        decoder: Decodes with the parameters of now.
    """
    found = Counts()
    graves = {topic: _graves(records) for topic, records in dead.items()}
    lying = {(topic, place) for topic, buried in graves.items() for place in buried}
    settled: set[_Place] = {one.origin for buried in graves.values() for one in buried.values()}
    replayed: set[tuple[str, str]] = set()

    for record in raw:
        device, size = _published(record, decoder, settled)
        grave = _replay_of(record)
        if grave is None or (record.topic, grave) in replayed or (record.topic, grave) not in lying:
            found.published[device] += size
            continue
        replayed.add((record.topic, grave))
        one = graves[record.topic][grave]
        if one.stage == "bridge":
            found.published[device] += size
        else:
            # The original was counted as the one letter that it had become; now it is as many rows as its replay.
            found.published[device] += size - 1
    if any(one.stage == "sink" for buried in graves.values() for one in buried.values()):
        _count_decoded(found, decoded, graves, replayed)
    for topic, buried in graves.items():
        for place, one in buried.items():
            if (topic, place) not in replayed:
                found.dead_lettered[one.device] += one.rows
                found.published[one.device] += one.rows if one.stage == "bridge" else 0
    return found


def _count_decoded(
    found: Counts,
    decoded: Iterable[Record],
    graves: dict[str, dict[str, _Buried]],
    replayed: set[tuple[str, str]],
) -> None:
    """Take notice of measurements that were replayed, and of records that no processor has made."""
    for record in decoded:
        grave = _replay_of(record)
        key = (record.topic, grave or "")
        device, size, known = _measured(record.key, record.value)
        if key in replayed or not (known or grave):
            found.published[device] += size
        elif grave in graves.get(record.topic, {}):
            replayed.add(key)


def _graves(records: Iterable[Record]) -> dict[str, _Buried]:
    """Return the letters by their place; one that the sink wrote twice is there once."""
    found: dict[str, _Buried] = {}
    seen: set[_Place] = set()
    for record in records:
        letter = letters.read(record)
        origin = (letter.topic, letter.partition, letter.offset)
        if letter.stage == "bridge":
            found[letters.place(record)] = _Buried("bridge", origin, _device(letter), 1)
        elif origin not in seen:
            seen.add(origin)
            device, size, _known = _measured(letter.key, letter.value) if letter.stage == "sink" else ("", 1, True)
            found[letters.place(record)] = _Buried(letter.stage, origin, device or _device(letter), size)
    return found


def _published(record: Record, decoder: Decoder, settled: set[_Place]) -> tuple[str, int]:
    device = (record.key or b"").decode(errors="replace") or NOBODY
    if (record.topic, record.partition, record.offset) in settled:
        return device, 1
    try:
        return device, sum(map(_size, decoder.measurements(read_raw(record.value))))
    except Exception:  # noqa: BLE001 - the processor too makes one dead letter of whatever a decoder does not expect
        return device, 1


def _measured(key: bytes | None, value: bytes) -> tuple[str, int, bool]:
    """Return the device and the rows of a decoded record, and whether it is one."""
    device = (key or b"").decode(errors="replace") or NOBODY
    try:
        measurement = read_measurement(value)
    except PermanentError:
        return device, 1, False
    return measurement.device_id, _size(measurement), True


def _size(measurement: Measurement) -> int:
    """Return how many rows a measurement becomes; one that no table takes is a single dead letter."""
    try:
        return len(rows(measurement))
    except PermanentError:
        return 1


def _replay_of(record: Record) -> str | None:
    return next((value.decode(errors="replace") for name, value in record.headers if name == letters.REPLAY_OF), None)


def _device(letter: DeadLetter) -> str:
    if letter.stage != "bridge":
        return (letter.key or b"").decode(errors="replace") or NOBODY
    try:
        return device_of(letter.topic)
    except PermanentError:
        return NOBODY
