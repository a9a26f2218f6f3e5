"""Edits that break a clause on devices in trouble, results, partial questions or groups; see command_edits as well."""

from hypothesis import strategies as st

from iot2mqtt_conformance.names import DISABLED, GROUP_ALL, UNKNOWN
from iot2mqtt_conformance.transcript import Record
from tests.conformance.command_edits import BREAKING, MEMBERS, amend, answer, between, breaking, lose, one, sent, show
from tests.conformance.tape import Tape

__all__ = ["BREAKING"]


# ---------------------------------------------------------------------- trouble
@breaking("I2M-CMD-14")
def the_limit_is_missed(tape: Tape, data: st.DataObject) -> None:
    place = answer(tape, sent(tape, "trouble.timeout", "slow_timeout")[0])
    record, late = tape.records[place], data.draw(st.floats(5, 60))
    tape.records[place] = Record(0, record.t + late, record.run, record.kind, record.data)


@breaking("I2M-CMD-14")
def the_limit_has_another_code(tape: Tape, data: st.DataObject) -> None:
    place = answer(tape, sent(tape, "trouble.timeout", "slow_timeout")[0])
    error = tape.value(place)["error"]
    amend(tape, place, error={**error, "code": data.draw(st.text(max_size=9))})


@breaking("I2M-CMD-14", "I2M-CMD-15")
def trouble_is_not_answered(tape: Tape, data: st.DataObject) -> None:
    del data
    for run, probe in (("trouble.timeout", "slow_timeout"), ("trouble.failing", "failing_command")):
        tape.drop([answer(tape, sent(tape, run, probe)[0])])


@breaking("I2M-CMD-14", "I2M-CMD-15")
def trouble_is_called_success(tape: Tape, data: st.DataObject) -> None:
    del data
    for run, probe in (("trouble.timeout", "slow_timeout"), ("trouble.failing", "failing_command")):
        amend(tape, answer(tape, sent(tape, run, probe)[0]), status="success")


@breaking("I2M-CMD-15")
def a_failure_is_not_told(tape: Tape, data: st.DataObject) -> None:
    places = tape.published("trouble.failing", "devices/light1/error")
    if data.draw(st.booleans()):
        tape.drop(places)
        return
    for place in places:
        tape.change(place, topic=tape.records[place].data["topic"].replace("light1", "light2"))


@breaking("I2M-CMD-16")
def another_command_waits(tape: Tape, data: st.DataObject) -> None:
    slow = tape.records[sent(tape, "trouble.beside", "slow_command")[0]].data
    quick = sent(tape, "trouble.beside", "beside_slow")[0]
    place = between(tape, data, quick, answer(tape, quick))
    record = tape.records[answer(tape, quick)]
    topic = record.data["topic"].replace("light2", "light1")
    tape.insert(place, "packet", **{**record.data, "topic": topic})
    amend(tape, place, cmd_id=slow["id"], status=data.draw(st.sampled_from(["success", "error"])))
    delay = data.draw(st.floats(0.3, 10))
    tape.records[place:] = [Record(r.i, r.t + delay, r.run, r.kind, r.data) for r in tape.records[place:]]


@breaking("I2M-CMD-16")
def another_command_is_not_carried_out(tape: Tape, data: st.DataObject) -> None:
    quick = answer(tape, sent(tape, "trouble.beside", "beside_slow")[0])
    if data.draw(st.booleans()):
        tape.drop([quick])
    else:
        amend(tape, quick, status="error")


@breaking("I2M-CMD-17")
def a_result_is_missing(tape: Tape, data: st.DataObject) -> None:
    place = answer(tape, one(data, sent(tape, "commands", "writable")))
    if data.draw(st.booleans()):
        lose(tape, place, "result")
    else:
        amend(tape, place, result=data.draw(st.sampled_from([None, {}, [], "done", True, {"other": 1}])))


@breaking("I2M-CMD-17")
def a_result_is_wrong(tape: Tape, data: st.DataObject) -> None:
    place = answer(tape, one(data, sent(tape, "commands", "writable")))
    ((name, value),) = tape.value(place)["result"].items()
    wrong = [None, str(value), [value], not value if isinstance(value, bool) else value + 1, 77.5]
    amend(tape, place, result={name: data.draw(st.sampled_from(wrong))})


# ---------------------------------------------------------------------- questions
@breaking("I2M-GET-03")
def a_part_is_retained(tape: Tape, data: st.DataObject) -> None:
    tape.change(partial(tape, one(data, tape.places("get", lambda r: r.data.get("probe") == "partial"))), retain=True)


def partial(tape: Tape, asked: int) -> int:
    device = tape.records[asked].data["device"]
    return tape.published("get", f"devices/{device}/state", after=asked)[0]


@breaking("I2M-GET-03")
def what_is_kept_is_not_whole(tape: Tape, data: st.DataObject) -> None:
    place = one(data, tape.places("get", lambda r: r.data.get("name") == "retained_state"))
    kept = data.draw(st.sampled_from([None, "", "null", "[]", '{"state": {}}', '{"state": {"power": true}}']))
    tape.change(place, payload=kept)


@breaking("I2M-GET-03")
def nobody_looked_what_is_kept(tape: Tape, _data: st.DataObject) -> None:
    tape.drop(tape.places("get", lambda r: r.data.get("name") == "retained_state"))


@breaking("I2M-GET-04")
def an_unknown_device_has_a_state(tape: Tape, data: st.DataObject) -> None:
    place = one(data, tape.published("get", "devices/light1/state"))
    ending = data.draw(st.sampled_from(["state", "state/power"]))
    tape.repeat(place, topic=tape.records[place].data["topic"].replace("light1/state", f"{UNKNOWN}/{ending}"))


@breaking("I2M-GET-04")
def nobody_answers_after_the_unknown(tape: Tape, data: st.DataObject) -> None:
    device = data.draw(st.sampled_from([*MEMBERS, "outsider"]))
    asked = tape.step("get", "send", probe="get_unknown_after", device=device)
    tape.drop(tape.published("get", f"devices/{device}/state", after=asked))


# ---------------------------------------------------------------------- groups
def window(tape: Tape, first: str, last: str) -> tuple[int, int]:
    return sent(tape, "groups", first)[0], tape.places("groups", lambda r: r.data.get("probe") == last)[0]


@breaking("I2M-GROUP-01", "I2M-GROUP-02")
def a_member_does_not_obey(tape: Tape, data: st.DataObject) -> None:
    begin, end = window(tape, "group_all", "group_one")
    device = data.draw(st.sampled_from(MEMBERS))
    tape.drop(tape.published("groups", f"devices/{device}/state", after=begin, before=end))


@breaking("I2M-GROUP-01")
def an_outsider_obeys(tape: Tape, data: st.DataObject) -> None:
    begin, end = window(tape, "group_one", "group_unknown")
    values = tape.records[begin].data["values"]
    show(tape, between(tape, data, begin, end), "light2", **values)


@breaking("I2M-GROUP-02")
def a_stranger_has_a_state(tape: Tape, data: st.DataObject) -> None:
    place = one(data, tape.published("groups", "devices/light1/state"))
    stranger = data.draw(st.sampled_from([DISABLED, UNKNOWN]))
    tape.repeat(place, topic=tape.records[place].data["topic"].replace("light1", stranger))


def ignored(tape: Tape, data: st.DataObject, begin: int) -> None:
    """Let a member show what a command wants that is to be ignored, or let it be called a success."""
    facts = tape.records[begin].data
    device = data.draw(st.sampled_from(MEMBERS))
    if data.draw(st.booleans()):
        amend(tape, answer(tape, begin), status="success")
        return
    asked = tape.step("groups", "send", probe=f"{facts['probe']}_after", device=device)
    end = tape.published("groups", f"devices/{device}/state", after=asked)[0]
    show(tape, between(tape, data, begin, end), device, **facts["values"])


@breaking("I2M-GROUP-02")
def an_unknown_group_obeys(tape: Tape, data: st.DataObject) -> None:
    ignored(tape, data, tape.step("groups", "send", probe="group_unknown"))


@breaking("I2M-GROUP-02")
def nobody_answers_after_an_unknown_group(tape: Tape, data: st.DataObject) -> None:
    device = data.draw(st.sampled_from(MEMBERS))
    tape.drop([answer(tape, tape.step("groups", "send", probe="group_unknown_barrier_device", device=device))])


@breaking("I2M-GROUP-03")
def an_old_group_command_is_obeyed(tape: Tape, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["35", "day", "east"]))
    ignored(tape, data, tape.step("groups", "send", probe=f"group_old_{kind}"))


@breaking("I2M-GROUP-03")
def a_fresh_group_command_is_not_obeyed(tape: Tape, data: st.DataObject) -> None:
    device = data.draw(st.sampled_from(MEMBERS))
    begin, end = window(tape, "group_fresh_25", "group_refused")
    tape.drop(tape.published("groups", f"devices/{device}/state", after=begin, before=end))


def group_answer(tape: Tape, data: st.DataObject, *probes: str) -> int:
    places = [tape.step("groups", "send", probe=probe) for probe in ("group_all", "group_refused", "group_unknown")]
    places.append(tape.step("trouble.failing", "send", probe="group_partial"))
    return answer(tape, one(data, [p for p in places if not probes or tape.records[p].data["probe"] in probes]))


@breaking("I2M-GROUP-04")
def a_group_command_is_not_answered(tape: Tape, data: st.DataObject) -> None:
    tape.drop([group_answer(tape, data)])


@breaking("I2M-GROUP-04")
def a_group_command_is_answered_twice(tape: Tape, data: st.DataObject) -> None:
    place = group_answer(tape, data)
    topic = tape.records[place].data["topic"]
    other = topic.replace(f"groups/{GROUP_ALL}", "devices/light1")
    tape.repeat(place, topic=data.draw(st.sampled_from([topic, other])))


@breaking("I2M-GROUP-04")
def a_group_response_has_other_flags(tape: Tape, data: st.DataObject) -> None:
    tape.change(group_answer(tape, data), retain=True)


@breaking("I2M-GROUP-04")
def a_group_response_lacks_something(tape: Tape, data: st.DataObject) -> None:
    lose(tape, group_answer(tape, data), data.draw(st.sampled_from(["cmd_id", "status", "timestamp", "results"])))


@breaking("I2M-GROUP-04")
def a_group_response_has_another_status(tape: Tape, data: st.DataObject) -> None:
    place = group_answer(tape, data)
    others = [word for word in ("success", "partial", "error", "ok", None) if word != tape.value(place)["status"]]
    amend(tape, place, status=data.draw(st.sampled_from(others)))


@breaking("I2M-GROUP-04")
def a_member_is_not_in_the_results(tape: Tape, data: st.DataObject) -> None:
    place = group_answer(tape, data, "group_all", "group_refused", "group_partial")
    gone = data.draw(st.sampled_from(MEMBERS))
    results = {name: result for name, result in tape.value(place)["results"].items() if name != gone}
    amend(tape, place, results=results)


@breaking("I2M-GROUP-04")
def a_stranger_is_in_the_results(tape: Tape, data: st.DataObject) -> None:
    place = group_answer(tape, data)
    stranger = data.draw(st.sampled_from([DISABLED, UNKNOWN, "outsider"]))
    status = data.draw(st.sampled_from(["success", "error"]))
    amend(tape, place, results={**tape.value(place)["results"], stranger: {"status": status}})


@breaking("I2M-GROUP-04")
def a_result_does_not_fit_the_status(tape: Tape, data: st.DataObject) -> None:
    place = group_answer(tape, data, "group_all", "group_refused", "group_partial")
    results = tape.value(place)["results"]
    device = data.draw(st.sampled_from(MEMBERS))
    turned = "error" if results[device]["status"] == "success" else "success"
    amend(tape, place, results={**results, device: {"status": turned}})
