"""Edits of a transcript of the hostile connector that break a clause on commands, questions or groups."""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from iot2mqtt_conformance.names import STRANGE
from iot2mqtt_conformance.transcript import Record
from tests.conformance.edited import Edit
from tests.conformance.tape import Tape

CLAUSES = (
    "I2M-CMD-01",
    "I2M-CMD-02",
    "I2M-CMD-03",
    "I2M-CMD-05",
    "I2M-CMD-06",
    "I2M-CMD-09",
    "I2M-CMD-10",
    "I2M-CMD-11",
    "I2M-CMD-12",
    "I2M-CMD-13",
    "I2M-CMD-14",
    "I2M-CMD-15",
    "I2M-CMD-16",
    "I2M-CMD-17",
    "I2M-GET-03",
    "I2M-GET-04",
    "I2M-GROUP-01",
    "I2M-GROUP-02",
    "I2M-GROUP-03",
    "I2M-GROUP-04",
)
MEMBERS = ("light1", "light2")
REFUSED = ("rejected", "refused_stale", "refused_unknown", "refused_disabled", "refused_malformed", "unreadable")
BREAKING: dict[str, dict[str, Edit]] = {clause: {} for clause in CLAUSES}


def breaking(*clauses: str) -> Callable[[Edit], Edit]:
    def register(edit: Edit) -> Edit:
        for clause in clauses:
            BREAKING[clause][edit.__name__] = edit
        return edit

    return register


def one(data: st.DataObject, places: list[int]) -> int:
    assert places, "the transcript has nothing to edit"
    return data.draw(st.sampled_from(places))


def sent(tape: Tape, run: str, *probes: str) -> list[int]:
    """Return the places where commands with an id were sent whose probes begin like these."""

    def fits(record: Record) -> bool:
        facts = record.data
        return record.kind == "step" and bool(facts.get("id")) and str(facts.get("probe")).startswith(probes)

    return tape.places(run, fits)


def refused(tape: Tape) -> list[int]:
    places = sent(tape, "refusals", *REFUSED)
    return [place for place in places if not tape.records[place].data["probe"].endswith(("_barrier", "_after"))]


def answer(tape: Tape, place: int) -> int:
    """Return the place of the first response to a command."""
    record = tape.records[place]
    target, command_id = record.data["suffix"], record.data["id"]
    found = tape.published(record.run, f"{target}/response")
    return next(found_at for found_at in found if tape.value(found_at)["cmd_id"] == command_id)


def amend(tape: Tape, place: int, **members: Any) -> None:
    tape.say(place, {**tape.value(place), **members})


def lose(tape: Tape, place: int, key: str) -> None:
    tape.say(place, {name: item for name, item in tape.value(place).items() if name != key})


def show(tape: Tape, place: int, device: str, **properties: Any) -> None:
    """Put a state of a device with other values of some properties before a record."""
    run = tape.records[place].run
    last = tape.published(run, f"devices/{device}/state", before=place)[-1]
    value = tape.value(last)
    copy = tape.records[last]
    tape.insert(place, "packet", **copy.data)
    tape.say(place, {**value, "state": {**value["state"], **properties}})


def between(tape: Tape, data: st.DataObject, first: int, last: int) -> int:
    """Return the place of a record of the same launch, behind one record and before or at another one."""
    return one(data, [place for place in tape.places(tape.records[first].run) if first < place <= last])


# ---------------------------------------------------------------------- execution
@breaking("I2M-CMD-01")
def a_value_is_echoed_and_not_there(tape: Tape, data: st.DataObject) -> None:
    begin = one(data, sent(tape, "commands", "writable"))
    facts = tape.records[begin].data
    later = tape.places("commands", lambda r: r.kind == "step" and r.data["name"] == "send")
    asked, end = [place for place in later if place > begin][:2]
    for place in tape.published("commands", f"devices/{facts['device']}/state", after=asked, before=end):
        amend(tape, place, state={**tape.value(place)["state"], **dict.fromkeys(facts["values"], 7)})


# ---------------------------------------------------------------------- responses
@breaking("I2M-CMD-02")
def a_command_is_answered_twice(tape: Tape, data: st.DataObject) -> None:
    run = data.draw(st.sampled_from(["commands", "refusals", "bursts", "trouble.timeout", "trouble.failing"]))
    places = [place for place in sent(tape, run, "") if tape.records[place].data["suffix"].startswith("devices/")]
    often = [place for place in places if tape.records[place].data["probe"].startswith("repeated")]
    first = answer(tape, one(data, [place for place in places if place not in often]))
    tape.repeat(first)


@breaking("I2M-CMD-02")
def a_device_that_answers_after_the_timeout_makes_it_a_success(tape: Tape, _data: st.DataObject) -> None:
    first = answer(tape, tape.step("trouble.timeout", "send", probe="slow_timeout"))
    tape.repeat(first)
    amend(tape, first + 1, status="success", result={})


@breaking("I2M-CMD-03")
def a_command_without_an_id_is_refused_aloud(tape: Tape, data: st.DataObject) -> None:
    run = data.draw(st.sampled_from(["commands", "staleness.utc", "staleness.kolkata", "refusals"]))
    first = one(data, tape.published(run, "cmd/response"))
    tape.repeat(first)
    amend(tape, first + 1, cmd_id=data.draw(st.sampled_from([None, "", "unnamed", 7, ["unnamed"]])), status="error")


@breaking("I2M-CMD-14")
def a_command_is_given_up_at_once(tape: Tape, data: st.DataObject) -> None:
    asked = tape.step("trouble.timeout", "send", probe="slow_timeout")
    first = answer(tape, asked)
    old = tape.records[first]
    time = tape.records[asked].t + data.draw(st.floats(0, 0.39))
    tape.records[first] = Record(old.i, time, old.run, old.kind, old.data)


# ---------------------------------------------------------------------- refusals
@breaking("I2M-CMD-05")
def a_refusal_is_silent(tape: Tape, data: st.DataObject) -> None:
    # Whoever cannot read the number of this one cannot read its id.
    heard = [place for place in refused(tape) if tape.records[place].data["probe"] != "unreadable_overflow"]
    tape.drop([answer(tape, one(data, heard))])


@breaking("I2M-CMD-05")
def a_refusal_has_another_code(tape: Tape, data: st.DataObject) -> None:
    place = answer(tape, one(data, refused(tape)))
    error = tape.value(place)["error"]
    words = st.sampled_from(["error", "invalid", "device_error", error["code"].upper()]) | st.text(max_size=9)
    amend(tape, place, error={**error, "code": data.draw(words)})


@breaking("I2M-CMD-05")
def a_refusal_is_deformed(tape: Tape, data: st.DataObject) -> None:
    place = answer(tape, one(data, refused(tape)))
    error = tape.value(place)["error"]
    key = data.draw(st.sampled_from(["code", "message", "retriable"]))
    less = {name: item for name, item in error.items() if name != key}
    amend(tape, place, error=data.draw(st.sampled_from([less, {**error, key: 7}, None, str(error), [error], {}])))


@breaking("I2M-CMD-05")
def a_refusal_lacks_its_error(tape: Tape, data: st.DataObject) -> None:
    lose(tape, answer(tape, one(data, refused(tape))), "error")


@breaking("I2M-CMD-05")
def a_refusal_is_called_success(tape: Tape, data: st.DataObject) -> None:
    amend(tape, answer(tape, one(data, refused(tape))), status=data.draw(st.sampled_from(["success", "ok", None])))


@breaking("I2M-CMD-06")
def a_command_without_a_timestamp_shows_no_effect(tape: Tape, _data: st.DataObject) -> None:
    (begin,) = sent(tape, "refusals", "untimed")[1:] or sent(tape, "refusals", "untimed")
    end = sent(tape, "refusals", "unreadable")[0]
    tape.drop(tape.published("refusals", "devices/light1/state", after=begin, before=end))


@breaking("I2M-CMD-06")
def an_unreadable_timestamp_is_read(tape: Tape, data: st.DataObject) -> None:
    begin = one(data, unreadable(tape))
    facts = tape.records[begin].data
    probe = facts["probe"]
    end = tape.published(
        "refusals", "devices/light1/state", after=tape.step("refusals", "send", probe=f"{probe}_after")
    )[0]
    show(tape, between(tape, data, begin, end), "light1", **facts["values"])


def unreadable(tape: Tape) -> list[int]:
    return [place for place in sent(tape, "refusals", "unreadable") if "stamp" in tape.records[place].data]


@breaking("I2M-CMD-06")
def an_unreadable_timestamp_is_a_success(tape: Tape, data: st.DataObject) -> None:
    amend(tape, answer(tape, one(data, unreadable(tape))), status="success")


@breaking("I2M-CMD-06")
def nobody_answers_after_an_unreadable_timestamp(tape: Tape, data: st.DataObject) -> None:
    probe = tape.records[one(data, unreadable(tape))].data["probe"]
    tape.drop([answer(tape, tape.step("refusals", "send", probe=f"{probe}_barrier"))])


@breaking("I2M-CMD-09")
def a_rejected_value_is_not_answered(tape: Tape, data: st.DataObject) -> None:
    tape.drop([answer(tape, one(data, sent(tape, "refusals", "rejected")))])


@breaking("I2M-CMD-09")
def a_rejected_value_is_a_success(tape: Tape, data: st.DataObject) -> None:
    place = answer(tape, one(data, sent(tape, "refusals", "rejected")))
    if data.draw(st.booleans()):
        tape.repeat(place)
    amend(tape, place, status="success")


@breaking("I2M-CMD-09")
def a_rejected_value_shows(tape: Tape, data: st.DataObject) -> None:
    device = data.draw(st.sampled_from(MEMBERS))
    asked = tape.step("refusals", "send", probe="rejects_before", device=device)
    begin = tape.published("refusals", f"devices/{device}/state", after=asked)[0]
    asked_again = tape.step("refusals", "send", probe="rejects_after", device=device)
    end = tape.published("refusals", f"devices/{device}/state", after=asked_again)[0]
    faults: list[dict[str, Any]] = [{"power": False}, {"power": 1}, {"brightness": 80}, {STRANGE: 1}]
    wrong = data.draw(st.sampled_from(faults))
    show(tape, between(tape, data, begin, end), device, **wrong)


# ---------------------------------------------------------------------- bursts
@breaking("I2M-CMD-10")
def two_commands_change_places(tape: Tape, data: st.DataObject) -> None:
    device = data.draw(st.sampled_from(MEMBERS))
    places = [place for place in sent(tape, "bursts", "burst") if tape.records[place].data["device"] == device]
    pair = data.draw(st.lists(st.sampled_from(places), min_size=2, max_size=2, unique=True))
    first, second = (answer(tape, place) for place in pair)
    texts = [tape.records[place].data["payload"] for place in (first, second)]
    tape.change(first, payload=texts[1])
    tape.change(second, payload=texts[0])


@breaking("I2M-CMD-10")
def the_last_command_did_not_win(tape: Tape, data: st.DataObject) -> None:
    device = data.draw(st.sampled_from(MEMBERS))
    asked = tape.step("bursts", "send", probe="burst_after", device=device)
    for place in tape.published("bursts", f"devices/{device}/state", after=asked):
        state = tape.value(place)["state"]
        amend(tape, place, state={**state, "power": not state["power"]})


@breaking("I2M-CMD-11")
def some_commands_are_not_answered(tape: Tape, data: st.DataObject) -> None:
    places = sent(tape, "bursts", "burst")
    lost = data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=len(places), unique=True))
    tape.drop([answer(tape, place) for place in lost])


@breaking("I2M-CMD-11")
def a_response_names_another_command(tape: Tape, data: st.DataObject) -> None:
    amend(tape, answer(tape, one(data, sent(tape, "bursts", "burst"))), cmd_id=data.draw(st.text(max_size=20)))


@breaking("I2M-CMD-12")
def a_repeated_command_shows_again(tape: Tape, data: st.DataObject) -> None:
    first = sent(tape, "bursts", "repeated_first")[0]
    begin = tape.places("bursts", lambda r: r.data.get("probe") == "repeated")[0]
    asked = tape.step("bursts", "send", probe="repeated_after")
    end = tape.published("bursts", "devices/light1/state", after=asked)[0]
    show(tape, between(tape, data, begin, end), "light1", power=tape.records[first].data["value"])


@breaking("I2M-CMD-12")
def nobody_answers_after_the_repeats(tape: Tape, data: st.DataObject) -> None:
    if data.draw(st.booleans()):
        tape.drop([answer(tape, tape.step("bursts", "send", probe="repeated_barrier"))])
    else:
        asked = tape.step("bursts", "send", probe="repeated_after")
        tape.drop(tape.published("bursts", "devices/light1/state", after=asked))


@breaking("I2M-CMD-13")
def a_kept_command_is_answered(tape: Tape, data: st.DataObject) -> None:
    run = data.draw(st.sampled_from(["retained.one", "retained.other"]))
    facts = tape.records[one(data, tape.places(run, lambda r: r.data.get("probe") == "retained"))].data
    place = tape.published(run, "devices/light1/cmd/response")[0]
    tape.repeat(place, topic=tape.records[place].data["topic"].replace("devices/light1/cmd", facts["suffix"]))
    amend(tape, place + 1, cmd_id=json.loads(facts["kept"])["id"], status="success")
    if facts["suffix"].startswith("groups"):
        status, results = data.draw(st.sampled_from(["success", "partial"])), {"light1": {"status": "success"}}
        amend(tape, place + 1, status=status, results=results)


@breaking("I2M-CMD-13")
def kept_commands_show(tape: Tape, _data: st.DataObject) -> None:
    for run in ("retained.one", "retained.other"):
        value = tape.records[tape.step(run, "kept")].data["value"]
        for place in tape.published(run, "devices/light1/state"):
            amend(tape, place, state={**tape.value(place)["state"], "power": value})
