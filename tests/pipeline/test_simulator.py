"""Controllers that do not exist."""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice, pairwise, takewhile

import orjson
import pytest

from iot2mqtt_pipeline.decoding import Decoder
from iot2mqtt_pipeline.errors import PermanentError
from iot2mqtt_pipeline.parameters import ParameterTable
from iot2mqtt_pipeline.record import encode_raw, read_raw, rows
from iot2mqtt_pipeline.simulator import MESSAGES_PER_ROUND, Fleet, Planned, Tally, parameter_rows, play
from iot2mqtt_pipeline.topics import origin_of
from iot2mqtt_sdk.clock import Clock

START = 1_750_032_000.0  # a midnight in UTC
DAY = 86_400.0
SAMPLED = 6.0
Said = dict[str, list[tuple[float, dict[str, object]]]]
KINDS = {"door-sensors", "exit-buttons", "strike", "reader", "motion-sensor", "siren", "sensor"}


class VirtualTime(Clock):
    """Time that passes only while somebody waits, and then by more than was asked for."""

    def __init__(self) -> None:
        self.passed = 1000.0

    def monotonic(self) -> float:
        return self.passed

    def wait(self, seconds: float) -> bool:
        self.passed += seconds + (0.004 if seconds else 0.0)
        return False


def heard(messages: Iterator[Planned]) -> Said:
    """Return what each component says, with the times."""
    said = defaultdict(list)
    for message in messages:
        said[message.topic.rpartition("/")[2]].append((message.due, orjson.loads(message.payload)))
    return said


def numbers(said: list[tuple[float, dict[str, object]]]) -> list[float]:
    return [int(str(payload["data"]), 16) / 10 for _, payload in said]


@pytest.fixture(scope="module")
def one_day() -> Said:
    fleet = Fleet(devices=1, interval=SAMPLED, start=START)
    return heard(takewhile(lambda message: message.due < START + DAY, fleet.messages()))


def test_the_same_seed_and_start_make_the_same_messages_and_another_seed_others() -> None:
    def some(seed: int) -> list[Planned]:
        return list(islice(Fleet(devices=3, interval=5, start=START, seed=seed, malformed=0.1).messages(), 2000))

    assert some(1) == some(1)
    assert some(1) != some(2)
    assert len(set(Fleet(devices=500, interval=1, start=START).device_ids)) == 500


def test_every_device_publishes_every_component_once_an_interval_evenly_spread() -> None:
    messages = list(islice(Fleet(devices=4, interval=8.0, start=START).messages(), 3 * 4 * MESSAGES_PER_ROUND))
    assert [message.due for message in messages] == [START + 0.2 * number for number in range(len(messages))]
    assert set(Counter(message.topic for message in messages).values()) == {3}
    assert {origin_of(message.topic).component_type for message in messages} == KINDS
    assert all(origin_of(message.topic).device_id == message.device_id for message in messages)


@pytest.mark.parametrize("malformed", [0.0, 0.3])
def test_the_parameters_decode_every_message_into_its_rows_and_refuse_every_malformed_one(malformed: float) -> None:
    fleet = Fleet(devices=2, interval=7.0, start=START, malformed=malformed)
    table = ParameterTable(templates=parameter_rows("f2"), assignments=dict.fromkeys(fleet.device_ids, "f2"))
    decoder = Decoder(table, "deadletter")
    messages = list(islice(fleet.messages(), 3000))
    identities = set()
    for message in messages:
        raw = encode_raw(
            topic=message.topic, device_id=message.device_id, payload=message.payload, arrived=message.due + 1
        )
        try:
            found = [row for part in decoder.measurements(read_raw(raw)) for row in rows(part)]
        except PermanentError:
            found = []
        assert len(found) == message.rows, message
        identities |= {row[:6] for row in found}
    assert len(identities) == sum(message.rows for message in messages)
    share = sum(not message.rows for message in messages) / len(messages)
    assert share == pytest.approx(malformed, abs=0.05)


def test_the_time_in_the_payload_is_when_the_message_is_due() -> None:
    messages = islice(Fleet(devices=1, interval=0.1, start=START + 0.25).messages(), 300)
    decoder = Decoder(ParameterTable(), "pass")
    for message in messages:
        raw = encode_raw(topic=message.topic, device_id="d", payload=message.payload, arrived=0.0 + START + 99)
        assert decoder.measurements(read_raw(raw))[0].timestamp == pytest.approx(message.due, abs=1e-6)


def test_doors_open_and_stay_open_for_seconds_and_are_mostly_closed(one_day: Said) -> None:
    for door in ("door-sensor-1", "door-sensor-2"):
        states = [bool(payload[door]) for _, payload in one_day["door-sensors"]]
        runs = "".join("o" if state else "." for state in states).strip(".").split(".")
        lengths = [len(run) for run in runs if run]
        assert len(lengths) > 50
        assert 2 * SAMPLED <= max(lengths) * SAMPLED <= 15 + SAMPLED
        assert sum(lengths) < len(states) / 5


def test_a_strike_is_released_by_a_button_or_a_badge_and_a_door_opens_only_after_that(one_day: Said) -> None:
    buttons, doors = one_day["exit-buttons"], one_day["door-sensors"]
    pressed = 0
    for door in ("1", "2"):
        released = [bool(payload["status"]) for _, payload in one_day[f"strike-{door}"]]
        for number, (_, payload) in enumerate(buttons):
            if payload[f"exit-button-{door}"]:
                pressed += 1
                assert released[number]
        opened = [bool(payload[f"door-sensor-{door}"]) for _, payload in doors]
        for number in range(1, len(opened)):
            if opened[number] and not opened[number - 1]:
                assert any(released[number - 1 : number + 1])
    assert pressed > 50


def test_days_are_warm_and_nights_are_cool(one_day: dict[str, list[tuple[float, dict[str, object]]]]) -> None:
    celsius = numbers(one_day["sensor-3"])
    hour = len(celsius) // 24
    afternoon, night = celsius[14 * hour : 16 * hour], celsius[2 * hour : 4 * hour]
    assert min(afternoon) > max(night) + 2
    assert all(abs(after - before) < 1 for before, after in pairwise(celsius))
    assert all(20 < percent < 80 for percent in numbers(one_day["sensor-1"]))
    assert all(950 < pressure < 1050 for pressure in numbers(one_day["sensor-2"]))


def test_sirens_sound_at_night_only_and_people_move_by_day(one_day: Said) -> None:
    sounding = {int((due - START) // 3600) for due, payload in one_day["siren-1"] if payload["status"]}
    moving = Counter(int((due - START) // 3600) for due, payload in one_day["motion-sensor-1"] if payload["status"])
    assert sounding
    assert sounding <= {*range(8), *range(20, 24)}
    assert moving[12] > moving[3]


def test_readers_send_badge_numbers_some_of_which_come_back(one_day: Said) -> None:
    badges = Counter(str(payload["data"]) for _, payload in one_day["reader-1"])
    assert all(len(badge) == 10 and int(badge, 16) >= 0 for badge in badges)
    assert 10 <= sum(count > 1 for count in badges.values()) <= 40


def test_what_is_late_goes_out_at_once_so_that_no_delay_adds_up() -> None:
    time = VirtualTime()
    sent: list[float] = []
    messages = islice(Fleet(devices=1, interval=1.0, start=START).messages(), 1001)
    play(messages, publish=lambda *_: sent.append(time.passed), wait=time.wait, clock=time, tally=Tally())
    late = [moment - 1000.0 - 0.1 * number for number, moment in enumerate(sent)]
    assert min(late) > -1e-6
    assert max(late) < 0.005


def test_what_was_published_is_counted_by_device_the_malformed_apart() -> None:
    fleet = Fleet(devices=2, interval=1.0, start=START, malformed=0.2)
    messages = list(islice(fleet.messages(), 400))
    sent: list[tuple[str, bytes]] = []
    tally, time = Tally(), VirtualTime()
    play(messages, publish=lambda *what: sent.append(what), wait=time.wait, clock=time, tally=tally)
    assert sent == [(message.topic, message.payload) for message in messages]
    for device in fleet.device_ids:
        own = [message for message in messages if message.device_id == device]
        assert tally.messages[device] == sum(message.rows > 0 for message in own)
        assert tally.malformed[device] == sum(message.rows == 0 for message in own) > 0
        assert tally.published()[device] == sum(message.rows or 1 for message in own)


def test_what_could_not_be_published_is_not_counted() -> None:
    def refuse(_topic: str, _payload: bytes) -> None:
        raise ConnectionError

    tally, time = Tally(), VirtualTime()
    with pytest.raises(ConnectionError):
        play(
            Fleet(devices=1, interval=1, start=START).messages(),
            publish=refuse,
            wait=time.wait,
            clock=time,
            tally=tally,
        )
    assert not tally.published()


def test_a_stop_ends_it_at_once_even_while_it_is_behind() -> None:
    stop, sent = threading.Event(), []

    def publish(topic: str, _payload: bytes) -> None:
        sent.append(topic)
        if len(sent) == 5:
            stop.set()

    fleet = Fleet(devices=1, interval=1e-6, start=START)
    play(fleet.messages(), publish=publish, wait=stop.wait, clock=Clock(), tally=Tally())
    assert len(sent) == 5
