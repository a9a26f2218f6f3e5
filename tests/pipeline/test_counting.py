"""The counts that the ledger begins with, from records as they lie in Kafka."""

from collections.abc import Sequence

from iot2mqtt_pipeline import letters
from iot2mqtt_pipeline.counting import NOBODY, Counts, count
from iot2mqtt_pipeline.decoding import Decoder
from iot2mqtt_pipeline.parameters import ParameterRow, ParameterTable
from iot2mqtt_pipeline.record import encode_raw, read_raw
from iot2mqtt_pipeline.stage import DeadLetter, Record

DEVICE = "f2-000000000001"
DOORS = f"cmnd/{DEVICE}/access-control-mode/J1/door-sensors"
TWO_ROWS = b'{"door-sensor-1": false, "door-sensor-2": true}'
PARAMETERS = ParameterTable([ParameterRow(DEVICE, "access-control-mode", "door-sensors", None, "boolean_map")])
DECODER = Decoder(PARAMETERS, "pass")
Headers = Sequence[tuple[str, bytes]]


def raw(offset: int, payload: bytes = TWO_ROWS, headers: Headers = ()) -> Record:
    value = encode_raw(topic=DOORS, device_id=DEVICE, payload=payload, arrived=1_700_000_000.0)
    return Record("raw", 0, offset, DEVICE.encode(), value, headers)


def replayed(offset: int, grave: int, topic: str = "raw", value: bytes | None = None) -> Record:
    record = raw(offset, headers=[(letters.REPLAY_OF, f"0/{grave}".encode())])
    return record._replace(topic=topic, value=record.value if value is None else value)


def letter(grave: int, stage: str, topic: str, offset: int, value: bytes = b"?") -> Record:
    key = None if stage == "bridge" else DEVICE.encode()
    dead = DeadLetter(topic, -1 if stage == "bridge" else 0, offset, key, value, (), stage, "bad_value", "why")
    written = letters.outgoing(dead, "raw" if stage != "sink" else "decoded")
    return Record(written.topic, 0, grave, written.key, written.value, written.headers)


def counted(
    *records: Record, dead: Sequence[Record] = (), sink: Sequence[Record] = (), decoded: Sequence[Record] = ()
) -> Counts:
    return count(raw=records, decoded=decoded, dead={"raw": dead, "decoded": sink}, decoder=DECODER)


def decoded(offset: int) -> Record:
    (one,) = DECODER.measurements(read_raw(raw(0).value))
    return Record("decoded", 0, offset, DEVICE.encode(), one.encode())


def test_a_message_is_published_in_rows_and_a_malformed_one_is_one() -> None:
    assert counted(raw(0), raw(1, b'"broken"')).published == {DEVICE: 3}


def test_a_state_that_is_cleared_is_nothing_that_was_published() -> None:
    topic = "IoT2mqtt/v1/instances/hue/devices/light1/state"
    value = encode_raw(topic=topic, device_id="light1", payload=b"", arrived=1_700_000_000.0)
    found = counted(raw(0)._replace(key=b"light1", value=value))
    assert (found.published.total(), found.dead_lettered.total()) == (0, 0)


def test_a_letter_is_one_even_where_it_could_be_decoded_by_now() -> None:
    found = counted(raw(0), dead=[letter(0, "processor", "raw", 0)])
    assert (found.published, found.dead_lettered) == ({DEVICE: 1}, {DEVICE: 1})


def test_a_letter_that_was_replayed_counts_as_what_its_replay_became() -> None:
    found = counted(raw(0), replayed(1, 0), dead=[letter(0, "processor", "raw", 0)])
    assert (found.published, found.dead_lettered) == ({DEVICE: 2}, {})


def test_a_replay_that_dies_again_is_one_letter() -> None:
    dead = [letter(0, "processor", "raw", 0), letter(1, "processor", "raw", 1)]
    found = counted(raw(0), replayed(1, 0), dead=dead)
    assert (found.published, found.dead_lettered) == ({DEVICE: 1}, {DEVICE: 1})


def test_a_second_replay_of_the_same_letter_was_published_once_more() -> None:
    found = counted(raw(0), replayed(1, 0), replayed(2, 0), dead=[letter(0, "processor", "raw", 0)])
    assert found.published == {DEVICE: 4}


def test_what_the_bridge_set_aside_was_published_and_so_was_what_became_of_it() -> None:
    unknown = letter(1, "bridge", "who/is/this", -1)
    assert counted(dead=[unknown]).published == counted(dead=[unknown]).dead_lettered == {NOBODY: 1}
    found = counted(replayed(0, 0), dead=[letter(0, "bridge", DOORS, -1)])
    assert (found.published, found.dead_lettered) == ({DEVICE: 2}, {})


def test_a_measurement_that_no_table_takes_counts_in_rows_and_only_once() -> None:
    one = decoded(0)
    twice = [letter(0, "sink", "decoded", 0, one.value), letter(1, "sink", "decoded", 0, one.value)]
    found = counted(raw(0), sink=twice, decoded=[one])
    assert (found.published, found.dead_lettered) == ({DEVICE: 2}, {DEVICE: 2})


def test_a_measurement_that_was_replayed_is_no_letter_any_more() -> None:
    one = decoded(0)
    again = replayed(1, 0, "decoded", one.value)
    sink = [letter(0, "sink", "decoded", 0, one.value)]
    found = counted(raw(0), sink=sink, decoded=[one, again])
    assert (found.published, found.dead_lettered) == ({DEVICE: 2}, {})


def test_what_somebody_else_wrote_among_the_measurements_was_published_too() -> None:
    foreign = decoded(0)._replace(value=b"no measurement")
    found = counted(sink=[letter(0, "sink", "decoded", 0, foreign.value)], decoded=[foreign])
    assert (found.published, found.dead_lettered) == ({DEVICE: 1}, {DEVICE: 1})
