"""Edits of a transcript that break no clause on states, errors, events or reachability."""

from collections.abc import Iterator

from hypothesis import strategies as st

from iot2mqtt_conformance.transcript import Record
from tests.conformance.edited import Edit
from tests.conformance.tape import Tape


def other_layout(tape: Tape, data: st.DataObject) -> None:
    """The same JSON, written in another way, and with keys that nobody knows."""
    indent, extra = data.draw(st.sampled_from([None, 0, 2])), data.draw(st.booleans())
    for place in topics(tape, "state", "error", "events", "devices_list"):
        value = tape.value(place)
        more = {"friendly_name": "Lamp"} if extra and isinstance(value, dict) else {}
        tape.say(place, {**more, **value} if isinstance(value, dict) else value, indent=indent, sort_keys=bool(indent))


def topics(tape: Tape, *levels: str) -> Iterator[int]:
    for place, record in enumerate(tape.records):
        data = record.data
        sent = record.kind == "packet" and data["type"] == "PUBLISH" and data["dir"] == "c2b"
        if sent and data["topic"].rpartition("/")[2] in levels:
            yield place


def more_topics(tape: Tape, data: st.DataObject) -> None:
    """Telemetry, availability and group states between the other messages."""
    states = list(topics(tape, "state"))
    for place in sorted(data.draw(st.lists(st.sampled_from(states), max_size=8, unique=True)), reverse=True):
        topic = tape.records[place].data["topic"]
        word = data.draw(st.sampled_from(["telemetry", "availability"]))
        payload = '"online"' if word == "availability" else '{"power_w": 3.5}'
        tape.repeat(place, topic=f"{topic.removesuffix('state')}{word}", payload=payload)


def other_order(tape: Tape, data: st.DataObject) -> None:
    """Messages of different devices that follow each other at once change places; their times stay where they are."""
    for _ in range(data.draw(st.integers(1, 20))):
        pairs = [place for place in topics(tape, "state") if independent(tape.records[place : place + 2])]
        if not pairs:
            return
        place = data.draw(st.sampled_from(pairs))
        first, second = tape.records[place : place + 2]
        tape.records[place] = Record(0, first.t, first.run, first.kind, second.data)
        tape.records[place + 1] = Record(0, second.t, second.run, second.kind, first.data)


def independent(records: list[Record]) -> bool:
    """Whether two records are messages of two devices of one launch, at nearly the same time."""
    if len(records) < 2 or any(r.kind != "packet" or r.data["type"] != "PUBLISH" for r in records):
        return False
    first, second = records
    devices = [r.data["topic"].partition("/devices/")[2].partition("/")[0] for r in records]
    return first.run == second.run and second.t - first.t < 0.1 and all(devices) and devices[0] != devices[1]


def some_delay(tape: Tape, data: st.DataObject) -> None:
    """Everything comes a little later than it did, some of it later still."""
    # Little, because what was recorded on a busy machine may have come late already.
    delays = data.draw(st.lists(st.floats(0, 0.05), min_size=1, max_size=10))
    for run in {record.run for record in tape.records}:
        last = 0.0
        for number, place in enumerate(tape.places(run)):
            record = tape.records[place]
            last = max(last, record.t + delays[number % len(delays)])
            tape.records[place] = Record(0, last, run, record.kind, record.data)


def delivered_twice(tape: Tape, data: st.DataObject) -> None:
    """A message is sent again, because its acknowledgement was lost."""
    sent = [place for place in topics(tape, "state", "error", "power", "events") if tape.records[place].data["qos"]]
    for place in sorted(data.draw(st.lists(st.sampled_from(sent), max_size=3, unique=True)), reverse=True):
        tape.repeat(place, dup=True)


def no_chatter(tape: Tape, _data: st.DataObject) -> None:
    """Acknowledgements, pings and output are not written down."""
    tape.records = [r for r in tape.records if r.kind != "out" and r.data.get("type") not in ("PUBACK", "PINGREQ")]


def another_clean_connection(tape: Tape, data: st.DataObject) -> None:
    """A second connection for publishing comes and goes, as that of a command line does."""
    place = data.draw(st.sampled_from(list(topics(tape, "state"))))
    tape.insert(place, "conn.close", conn=99, by="c2b", clean=True)


HARMLESS: dict[str, Edit] = {
    edit.__name__: edit
    for edit in (
        other_layout,
        more_topics,
        other_order,
        some_delay,
        delivered_twice,
        no_chatter,
        another_clean_connection,
    )
}
