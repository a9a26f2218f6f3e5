"""Edits of a transcript of the hostile connector that break a clause on states, errors, events or reachability."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from iot2mqtt_conformance.names import DISABLED
from iot2mqtt_conformance.transcript import Record
from tests.conformance.edited import Edit
from tests.conformance.tape import Tape

CLAUSES = (
    "I2M-STATE-01",
    "I2M-STATE-03",
    "I2M-STATE-04",
    "I2M-STATE-06",
    "I2M-STATE-07",
    "I2M-STATE-08",
    "I2M-ERR-01",
    "I2M-ERR-02",
    "I2M-ERR-03",
    "I2M-ERR-04",
    "I2M-ERR-05",
    "I2M-EVT-01",
    "I2M-EVT-02",
    "I2M-META-03",
    "I2M-META-04",
    "I2M-META-05",
    "I2M-ENV-15",
)
STRUCK = "light1"
OTHERS = ("light2", "outsider")
BREAKING: dict[str, dict[str, Edit]] = {clause: {} for clause in CLAUSES}


def breaking(clause: str) -> Callable[[Edit], Edit]:
    def register(edit: Edit) -> Edit:
        BREAKING[clause][edit.__name__] = edit
        return edit

    return register


def other(data: st.DataObject) -> str:
    return data.draw(st.sampled_from(OTHERS))


def one(data: st.DataObject, places: list[int]) -> int:
    assert places, "the transcript has nothing to edit"
    return data.draw(st.sampled_from(places))


# ---------------------------------------------------------------------- uptime
@breaking("I2M-META-03")
def uptime_is_in_a_greater_unit(tape: Tape, data: st.DataObject) -> None:
    measured(tape, 0.003)
    unit = data.draw(st.sampled_from([60, 3600]))
    for run in ("boot", "polling", "reconnect", "restart"):
        for place in tape.published(run, "meta/info"):
            tape.say(place, {**tape.value(place), "uptime": tape.value(place)["uptime"] / unit})


@breaking("I2M-META-03")
def uptime_begins_anew_with_the_connection(tape: Tape, _data: st.DataObject) -> None:
    measured(tape, 0.003)
    back = tape.records[tape.step("restart", "broker_back")].t
    for place in tape.published("restart", "meta/info"):
        tape.say(place, {**tape.value(place), "uptime": round(tape.records[place].t - back, 3)})


# ---------------------------------------------------------------------- states
@breaking("I2M-STATE-01")
def a_device_is_published_once_it_is_commanded(tape: Tape, _data: st.DataObject) -> None:
    asked = tape.step("boot", "send", probe="first")
    tape.drop(tape.published("boot", f"devices/{STRUCK}/state", before=asked))
    tape.drop(tape.published("restart", f"devices/{STRUCK}/state", before=tape.step("restart", "broker_down")))


@breaking("I2M-STATE-03")
def two_states_are_missing(tape: Tape, data: st.DataObject) -> None:
    device = data.draw(st.sampled_from([STRUCK, *OTHERS]))
    measured(tape, 0.0)
    places = tape.published("polling", f"devices/{device}/state", after=tape.step("polling", "rounds"))
    tape.drop(data.draw(st.lists(st.sampled_from(places), min_size=2, max_size=len(places), unique=True)))


@breaking("I2M-STATE-03")
def the_interval_is_another(tape: Tape, data: st.DataObject) -> None:
    measured(tape, 0.003)
    factor = data.draw(st.floats(1.7, 50) | st.floats(0.01, 0.3))
    tape.retime("polling", lambda t: t * factor)


@breaking("I2M-STATE-04")
def a_property_has_another_value(tape: Tape, data: st.DataObject) -> None:
    place = one(data, tape.published("commands", "state/", after=0))
    value = tape.value(place)
    tape.say(place, data.draw(st.sampled_from([None, str(value), "on", 99, 21.4, [], {}, [value], {"value": value}])))


@breaking("I2M-STATE-04")
def a_property_has_other_flags(tape: Tape, data: st.DataObject) -> None:
    place = one(data, tape.published("boot", "state/"))
    flags: list[dict[str, Any]] = [{"retain": False}, {"qos": 0}, {"qos": 2}]
    tape.change(place, **data.draw(st.sampled_from(flags)))


@breaking("I2M-STATE-04")
def a_property_is_never_told(tape: Tape, data: st.DataObject) -> None:
    device, name = data.draw(st.sampled_from([STRUCK, "light2"])), data.draw(st.sampled_from(["power", "brightness"]))
    tape.drop(tape.published("commands", f"devices/{device}/state/{name}"))


@breaking("I2M-STATE-06")
def a_device_is_not_published_again(tape: Tape, data: st.DataObject) -> None:
    back = tape.step("restart", "broker_back")
    tape.drop(tape.published("restart", f"devices/{other(data)}/state", after=back))


@breaking("I2M-STATE-06")
def a_device_is_published_again_once_it_is_commanded(tape: Tape, _data: st.DataObject) -> None:
    back = tape.step("restart", "broker_back")
    asked = tape.step("restart", "send", probe="after_reconnection")
    tape.drop(tape.published("restart", f"devices/{STRUCK}/state", after=back, before=asked))


@breaking("I2M-STATE-06")
def nothing_is_kept(tape: Tape, data: st.DataObject) -> None:
    for place in tape.published("restart", f"devices/{other(data)}/state", after=tape.step("restart", "broker_back")):
        tape.change(place, retain=False)


@breaking("I2M-STATE-07")
def a_lost_device_is_called_online(tape: Tape, data: st.DataObject) -> None:
    place = one(data, offline_states(tape, data.draw(st.sampled_from(["failing", "recovering"]))))
    value = tape.value(place)
    tape.say(place, {**value, "state": {"power": True, **data.draw(st.sampled_from([{}, {"online": True}]))}})


@breaking("I2M-STATE-07")
def a_lost_device_is_not_spoken_of(tape: Tape, data: st.DataObject) -> None:
    tape.drop(offline_states(tape, data.draw(st.sampled_from(["failing", "recovering"]))))


def offline_states(tape: Tape, run: str) -> list[int]:
    return [
        place for place in tape.published(run, f"devices/{STRUCK}/state") if not tape.value(place)["state"]["online"]
    ]


def measured(tape: Tape, seconds: float) -> None:
    """Let the machine be as quick as its first round trip says."""
    tape.change(tape.step("boot", "round_trip"), seconds=seconds)


@breaking("I2M-STATE-08")
def another_device_waits(tape: Tape, data: st.DataObject) -> None:
    measured(tape, 0.003)
    end = tape.step("slow", "stimulus_end")
    places = tape.published("slow", f"devices/{other(data)}/state", after=end)
    first = data.draw(st.integers(0, len(places) - 3))
    tape.drop(places[first : first + 2])


@breaking("I2M-STATE-08")
def everything_takes_longer(tape: Tape, data: st.DataObject) -> None:
    measured(tape, 0.003)
    factor = data.draw(st.floats(1.4, 10))
    tape.retime("slow", lambda t: t * factor)


@breaking("I2M-STATE-08")
def nobody_is_slow(tape: Tape, _data: st.DataObject) -> None:
    for place in reversed(tape.published("slow", "devices/light2/state", after=tape.step("slow", "stimulus_end"))):
        tape.repeat(place, topic=tape.records[place].data["topic"].replace("light2", STRUCK))


# ---------------------------------------------------------------------- messages of a form
def deform(tape: Tape, data: st.DataObject, place: int, keys: list[str]) -> None:
    value = tape.value(place)
    key = data.draw(st.sampled_from(keys))
    without = {name: item for name, item in value.items() if name != key}
    scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
    wrong = {**value, key: data.draw(st.sampled_from([None, True, 7, [], {}, ""]))} if key != "data" else without
    if key == "message" and wrong["message"] == "":
        wrong = without
    tape.say(place, data.draw(st.sampled_from([without, wrong, [value]]) | scalars))


@breaking("I2M-ERR-01")
def an_error_is_deformed(tape: Tape, data: st.DataObject) -> None:
    place = one(data, tape.published("failing", "error"))
    deform(tape, data, place, ["timestamp", "error_code", "message", "severity"])


@breaking("I2M-ERR-01")
def an_error_has_another_severity(tape: Tape, data: st.DataObject) -> None:
    place = one(data, tape.published("failing", "error"))
    word = data.draw(st.text(max_size=8).filter(lambda text: text not in ("info", "warning", "error", "critical")))
    tape.say(place, {**tape.value(place), "severity": word})


@breaking("I2M-ERR-01")
def an_error_has_other_flags(tape: Tape, data: st.DataObject) -> None:
    flags: list[dict[str, Any]] = [{"retain": True}, {"qos": 0}, {"qos": 2}]
    tape.change(one(data, tape.published("failing", "error")), **data.draw(st.sampled_from(flags)))


@breaking("I2M-EVT-01")
def an_event_is_deformed(tape: Tape, data: st.DataObject) -> None:
    run = data.draw(st.sampled_from(["commands", "event"]))
    deform(tape, data, one(data, tape.published(run, "events")), ["timestamp", "event", "data"])


@breaking("I2M-EVT-01")
def an_event_has_other_flags(tape: Tape, data: st.DataObject) -> None:
    flags: list[dict[str, Any]] = [{"retain": True}, {"qos": 0}, {"qos": 2}]
    tape.change(one(data, tape.published("commands", "events")), **data.draw(st.sampled_from(flags)))


@breaking("I2M-EVT-02")
def an_event_comes_late(tape: Tape, data: st.DataObject) -> None:
    end = tape.records[tape.step("event", "stimulus_end")].t
    seconds = data.draw(st.floats(4, 100))
    tape.retime("event", lambda t: t + seconds if t > end else t)
    for place in tape.published("event", "events", before=tape.step("event", "stimulus_end")):
        record = tape.records[place]
        tape.drop([place])
        tape.insert(tape.step("event", "stimulus_end") + 1, record.kind, **record.data)
        late = tape.step("event", "stimulus_end") + 1
        tape.records[late] = Record(0, end + seconds, "event", record.kind, record.data)


@breaking("I2M-EVT-02")
def an_event_does_not_come(tape: Tape, data: st.DataObject) -> None:
    places = tape.published("event", "events")
    if data.draw(st.booleans()):
        tape.drop(places)
    else:
        tape.change(places[0], topic=tape.records[places[0]].data["topic"].replace(STRUCK, other(data)))


# ---------------------------------------------------------------------- failures
@breaking("I2M-ERR-02")
def early_failures_are_not_told(tape: Tape, _data: st.DataObject) -> None:
    tape.drop(tape.published("failing", "error", before=tape.step("failing", "watched")))


@breaking("I2M-ERR-02")
def no_failure_is_told(tape: Tape, _data: st.DataObject) -> None:
    tape.drop(tape.published("failing", "error"))


def within_failure(tape: Tape, data: st.DataObject) -> int:
    begin, end = tape.step("failing", "stimulus_end"), tape.step("failing", "failing_end")
    return one(data, [place for place in tape.places("failing") if begin < place <= end])


@breaking("I2M-ERR-03")
def the_process_ends(tape: Tape, data: st.DataObject) -> None:
    tape.insert(within_failure(tape, data), "proc.exit", code=data.draw(st.integers(0, 255)))


@breaking("I2M-ERR-03")
def the_connection_is_lost(tape: Tape, data: st.DataObject) -> None:
    tape.insert(within_failure(tape, data), "conn.close", conn=1, by="c2b", clean=False)


@breaking("I2M-ERR-03")
def the_connector_calls_itself_offline(tape: Tape, data: st.DataObject) -> None:
    online = tape.records[tape.published("failing", "status")[0]].data
    tape.insert(within_failure(tape, data), "packet", **{**online, "payload": "offline"})


@breaking("I2M-ERR-03")
def another_device_is_forgotten(tape: Tape, data: st.DataObject) -> None:
    last = tape.step("failing", "send", probe="provoke")
    tape.drop(tape.published("failing", f"devices/{other(data)}/state", after=last))


@breaking("I2M-ERR-03")
def nothing_is_answered_any_more(tape: Tape, _data: st.DataObject) -> None:
    tape.drop(tape.published("failing", "meta/info", after=tape.step("failing", "send", probe="failing_end")))


@breaking("I2M-ERR-04")
def a_recovered_device_stays_away(tape: Tape, data: st.DataObject) -> None:
    back = tape.step("recovering", "stimulus", stimulus="device_recovers")
    states = tape.published("recovering", f"devices/{STRUCK}/state", after=back)
    if data.draw(st.booleans()):
        tape.drop(states)
        return
    for place in states:
        tape.say(place, {**tape.value(place), "state": {"online": False}})


@breaking("I2M-ERR-04")
def a_recovered_device_takes_its_time(tape: Tape, data: st.DataObject) -> None:
    end = tape.records[tape.step("recovering", "stimulus_end", stimulus="device_recovers")].t
    seconds = data.draw(st.floats(8, 1000))
    tape.retime("recovering", lambda t: t + seconds if t > end else t)


@breaking("I2M-ERR-05")
def a_failure_is_not_counted(tape: Tape, data: st.DataObject) -> None:
    place = one(data, tape.published("failing", "error", before=tape.step("failing", "watched")))
    value = tape.value(place)
    info: Any = data.draw(st.sampled_from([None, {}, {"attempt": "1"}, {"attempt": None}, {"attempt": True}, []]))
    tape.say(place, {**value, "retry_info": info})


@breaking("I2M-ERR-05")
def a_failure_is_told_twice(tape: Tape, data: st.DataObject) -> None:
    place = one(data, tape.published("failing", "error", before=tape.step("failing", "watched")))
    value = tape.value(place)
    attempt = value["retry_info"]["attempt"]
    tape.repeat(place)
    tape.say(place + 1, {**value, "retry_info": {"attempt": attempt + data.draw(st.integers(-3, 3))}})


@breaking("I2M-ERR-05")
def it_does_not_back_off(tape: Tape, data: st.DataObject) -> None:
    watched = tape.step("failing", "watched")
    first, *rest = tape.published("failing", "error", before=watched)
    begin, example, end = tape.records[first], tape.value(first), tape.records[watched]
    tape.drop(rest)
    pace = data.draw(st.floats(0.6, 1.4))
    count = int((end.t - begin.t) / pace)
    for number in range(count, 0, -1):
        tape.repeat(first)
        tape.say(first + 1, {**example, "timestamp": "soon", "retry_info": {"attempt": number + 1}})
        again = tape.records[first + 1]
        tape.records[first + 1] = Record(0, begin.t + number * pace, again.run, again.kind, again.data)


# ---------------------------------------------------------------------- questions
@breaking("I2M-META-04")
def an_answer_is_untrue(tape: Tape, data: st.DataObject) -> None:
    phase = data.draw(st.sampled_from(["before", "during", "after"]))
    places = tape.published("recovering", "meta/devices_list", after=tape.step("recovering", "send", probe=phase))
    lie(tape, places[0], STRUCK)


@breaking("I2M-META-04")
def another_device_is_called_offline(tape: Tape, data: st.DataObject) -> None:
    before, *later = tape.published("recovering", "meta/devices_list")
    place, device = one(data, [before, *later]), other(data)
    # Who has not been reached yet may be called offline in the first answer, but not to the end.
    for lied in [place] if place != before else [before, *later]:
        lie(tape, lied, device)


def lie(tape: Tape, place: int, device: str) -> None:
    entries = tape.value(place)
    tape.say(place, [{**e, "online": e["online"] ^ (e["device_id"] == device)} for e in entries])


@breaking("I2M-META-05")
def a_device_is_missing_afterwards(tape: Tape, data: st.DataObject) -> None:
    (place,) = tape.published("polling", "meta/devices_list", after=tape.step("polling", "send", probe="strange"))
    entries = tape.value(place)
    gone = data.draw(st.sampled_from(entries))
    tape.say(place, [entry for entry in entries if entry != gone])


@breaking("I2M-META-05")
def the_next_question_is_not_answered(tape: Tape, data: st.DataObject) -> None:
    topic = data.draw(st.sampled_from(["meta/info", "meta/devices_list"]))
    tape.drop(tape.published("polling", topic, after=tape.step("polling", "send", probe="strange")))


@breaking("I2M-META-05")
def a_strange_question_does_harm(tape: Tape, data: st.DataObject) -> None:
    begin, end = tape.step("polling", "send", probe="strange"), tape.step("polling", "polling_end")
    place = one(data, [place for place in tape.places("polling") if begin < place <= end])
    if data.draw(st.booleans()):
        tape.insert(place, "proc.exit", code=data.draw(st.integers(0, 255)))
    else:
        tape.insert(place, "conn.close", conn=1, by="c2b", clean=False)


@breaking("I2M-ENV-15")
def a_disabled_device_is_published(tape: Tape, data: st.DataObject) -> None:
    run = data.draw(st.sampled_from(["boot", "polling", "commands"]))
    place = one(data, tape.published(run, "light2/state") + tape.published(run, "light2/state/"))
    topic = tape.records[place].data["topic"]
    tape.repeat(place, topic=topic.replace("light2", data.draw(st.sampled_from([DISABLED, "spare"]))))
