"""What a connector may do fails no clause: the recorded transcript, edited to show it."""

from dataclasses import replace

import pytest

from iot2mqtt_conformance.clauses import JUDGES
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.names import DISABLED, UNKNOWN
from iot2mqtt_conformance.transcript import Record, Transcript
from iot2mqtt_conformance.verdict import Outcome, Verdict
from tests.conformance.tape import Tape


def tape_of(recorded: Transcript, *scenarios: str) -> Tape:
    """Return the launches of some scenarios, and the first one."""
    return Tape(recorded, {run for run in recorded.runs() if run.partition(".")[0] in ("boot", *scenarios)})


def verdict(clause: str, tape: Tape, declaration: Declaration) -> Verdict:
    return JUDGES[clause].function(tape.view(), declaration)


def outcome(clause: str, tape: Tape, declaration: Declaration) -> Outcome:
    return verdict(clause, tape, declaration).outcome


# ---------------------------------------------------------------------- kept sessions
def is_packet(record: Record, *kinds: str) -> bool:
    return record.kind == "packet" and record.data["type"] in kinds


@pytest.mark.parametrize(("kept", "expected"), [(True, Outcome.PASS), (False, Outcome.FAIL)])
def test_a_session_that_the_broker_has_kept_need_not_be_subscribed_again(
    kept: bool, expected: Outcome, recorded: Transcript, declaration: Declaration
) -> None:
    tape = tape_of(recorded, "variants", "reconnect")
    cut = tape.step("reconnect", "cut")
    for place in tape.places("reconnect", lambda r: is_packet(r, "CONNACK")):
        tape.change(place, session_present=kept and place > cut)
    again = tape.places("reconnect", lambda r: is_packet(r, "SUBSCRIBE", "SUBACK"))
    tape.drop([place for place in again if place > cut])
    assert outcome("I2M-STATUS-03", tape, declaration) is expected


@pytest.mark.parametrize(("kept", "expected"), [(True, Outcome.PASS), (False, Outcome.FAIL)])
def test_a_session_of_an_earlier_launch_is_in_force_before_it_is_subscribed_again(
    kept: bool, expected: Outcome, recorded: Transcript, declaration: Declaration
) -> None:
    tape = tape_of(recorded, "variants", "reconfigure")
    for place in tape.places("reconfigure.after", lambda r: is_packet(r, "CONNACK")):
        tape.change(place, session_present=kept)
    late = [tape.records[p] for p in tape.places("reconfigure.after", lambda r: is_packet(r, "SUBSCRIBE", "SUBACK"))]
    tape.records = [r for r in tape.records if r not in late] + late
    assert outcome("I2M-STATUS-03", tape, declaration) is expected


# ---------------------------------------------------------------------- refusals
def reading(tape: Tape, place: int, value: float) -> None:
    """Let a state show another temperature."""
    message = tape.value(place)
    tape.say(place, {**message, "state": {**message["state"], "temperature": value}})


@pytest.mark.parametrize(("read", "expected"), [(20.1, Outcome.PASS), (20, Outcome.FAIL)])
def test_what_can_only_be_read_may_change_while_it_is_commanded_but_not_to_what_was_sent(
    read: float, expected: Outcome, recorded: Transcript, declaration: Declaration
) -> None:
    tape = tape_of(recorded, "refusals")
    lights = declaration.devices
    declaration = replace(
        declaration, devices=tuple(replace(d, rejects={**d.rejects, "temperature": (20,)}) for d in lights)
    )
    first = next(p for p in tape.places("refusals", lambda r: r.data.get("probe") == "rejected"))
    tape.change(first, values={"temperature": 20})
    asked = tape.step("refusals", "send", probe="rejects_after", device="light1")
    for place in tape.published("refusals", "devices/light1/state", after=asked):
        reading(tape, place, read)
    assert outcome("I2M-CMD-09", tape, declaration) is expected


def without_responses(tape: Tape, run: str, order: str) -> None:
    responses = tape.published(run, "cmd/response")
    tape.drop([place for place in responses if tape.value(place)["cmd_id"] == order])


def undelivered(tape: Tape, run: str, order: str) -> None:
    tape.drop(tape.places(run, lambda r: r.data.get("dir") == "b2c" and order in r.data.get("payload", "")))


@pytest.mark.parametrize(
    ("clause", "probe"),
    [
        ("I2M-CMD-05", "refused_unknown"),
        ("I2M-CMD-05", "refused_disabled"),
        ("I2M-GROUP-04", "group_unknown"),
    ],
)
def test_a_command_for_a_stranger_is_answered_only_where_the_broker_has_delivered_it(
    clause: str, probe: str, recorded: Transcript, declaration: Declaration
) -> None:
    run = JUDGES[clause].scenarios[0]
    tape = tape_of(recorded, run, "trouble")
    order = tape.records[tape.step(run, "send", probe=probe)].data["id"]
    without_responses(tape, run, order)
    assert outcome(clause, tape, declaration) is Outcome.FAIL
    undelivered(tape, run, order)
    assert outcome(clause, tape, declaration) is Outcome.PASS


@pytest.mark.parametrize(("kind", "expected"), [("overflow", Outcome.PASS), ("word", Outcome.FAIL)])
def test_a_command_whose_text_cannot_be_read_as_a_whole_needs_no_response(
    kind: str, expected: Outcome, recorded: Transcript, declaration: Declaration
) -> None:
    tape = tape_of(recorded, "refusals")
    without_responses(
        tape, "refusals", tape.records[tape.step("refusals", "send", probe=f"unreadable_{kind}")].data["id"]
    )
    assert outcome("I2M-CMD-05", tape, declaration) is expected
    assert outcome("I2M-CMD-06", tape, declaration) is Outcome.PASS


@pytest.mark.parametrize(("members", "expected"), [({}, Outcome.FAIL), ({"error": {}}, Outcome.PASS)])
def test_a_group_command_that_is_refused_as_a_whole_needs_no_results(
    members: dict[str, object], expected: Outcome, recorded: Transcript, declaration: Declaration
) -> None:
    tape = tape_of(recorded, "groups", "trouble")
    order = tape.records[tape.step("groups", "send", probe="group_refused")].data["id"]
    error = {"code": "unsupported_property", "message": "no light has it", "retriable": False}
    (place,) = [p for p in tape.published("groups", "cmd/response") if tape.value(p)["cmd_id"] == order]
    told = {name: value for name, value in tape.value(place).items() if name != "error"}
    tape.say(place, {**told, "results": {}, **dict.fromkeys(members, error)})
    assert outcome("I2M-GROUP-04", tape, declaration) is expected


# ---------------------------------------------------------------------- what an older version has left
LEFT = {
    "I2M-GROUP-02": f"devices/{DISABLED}/state",
    "I2M-GET-04": f"devices/{UNKNOWN}/state",
    "I2M-ERR-01": f"devices/{DISABLED}/error",
    "I2M-EVT-01": "devices/light1/events",
    "I2M-PUB-04": "devices/hall/lamp/state",
}


@pytest.mark.parametrize("clause", LEFT)
@pytest.mark.parametrize(("payload", "expected"), [("", Outcome.PASS), ("{}", Outcome.FAIL)])
def test_what_is_kept_of_an_older_version_may_be_cleared(
    clause: str, payload: str, expected: Outcome, recorded: Transcript, declaration: Declaration
) -> None:
    tape = tape_of(recorded, *JUDGES[clause].scenarios)
    for run in ("boot", JUDGES[clause].scenarios[-1]):
        (online, *_) = tape.published(run, "status")
        topic = tape.records[online].data["topic"].removesuffix("status") + LEFT[clause]
        tape.repeat(online, topic=topic, payload=payload, retain=True)
    assert outcome(clause, tape, declaration) is expected


# ---------------------------------------------------------------------- devices that take no commands
@pytest.mark.parametrize(
    ("able", "clause", "expected"),
    [
        ("light2", "I2M-CMD-14", Outcome.NOT_APPLICABLE),
        ("light2", "I2M-CMD-15", Outcome.NOT_APPLICABLE),
        ("light2", "I2M-CMD-16", Outcome.NOT_APPLICABLE),
        ("light1", "I2M-CMD-14", Outcome.FAIL),
        ("light1", "I2M-CMD-15", Outcome.FAIL),
        ("light1", "I2M-CMD-16", Outcome.NOT_APPLICABLE),
    ],
)
def test_a_device_in_trouble_that_takes_no_commands_is_not_judged_by_any(
    able: str, clause: str, expected: Outcome, recorded: Transcript, declaration: Declaration
) -> None:
    declaration = replace(declaration, devices=tuple(d for d in declaration.devices if d.id == able))
    tape = tape_of(recorded, "trouble")
    tape.records = [r for r in tape.records if r.run == "boot" or r.kind != "step"]
    found = verdict(clause, tape, declaration)
    assert found.outcome is expected
    assert "light1" in found.seen or expected is Outcome.FAIL


# ---------------------------------------------------------------------- devices that are not reached at once
def call_offline(tape: Tape, place: int, device: str) -> None:
    tape.say(place, [{**e, "online": e["online"] and e["device_id"] != device} for e in tape.value(place)])


def test_another_device_may_be_offline_until_it_is_reached_and_not_after(
    recorded: Transcript, declaration: Declaration
) -> None:
    tape = tape_of(recorded, "recovering")
    before, *later = tape.published("recovering", "meta/devices_list")
    call_offline(tape, before, "light2")
    assert outcome("I2M-META-04", tape, declaration) is Outcome.PASS
    for place in later:
        call_offline(tape, place, "light2")
    assert outcome("I2M-META-04", tape, declaration) is Outcome.FAIL


@pytest.mark.parametrize("clause", ["I2M-GET-01", "I2M-GET-03"])
@pytest.mark.parametrize(("first", "expected"), [(False, Outcome.PASS), (True, Outcome.FAIL)])
def test_what_a_device_says_before_it_is_reached_is_no_part_of_its_whole_state(
    clause: str, first: bool, expected: Outcome, recorded: Transcript, declaration: Declaration
) -> None:
    tape = tape_of(recorded, "get")
    for place in tape.published("get", "state"):
        message = tape.value(place)
        tape.say(place, {**message, "state": {k: v for k, v in message["state"].items() if k != "online"}})
    for place in tape.places("get", lambda r: r.data.get("name") == "retained_state"):
        message = tape.value(place)
        tape.say(place, {**message, "state": {k: v for k, v in message["state"].items() if k != "online"}})
    for device in ("light1", "light2", "outsider"):
        place = tape.published("get", f"devices/{device}/state")[0]
        message = tape.value(place)
        tape.repeat(place)
        tape.say(place, {**message, "state": {"online": first}})
    assert outcome(clause, tape, declaration) is expected


# ---------------------------------------------------------------------- what is said again
@pytest.mark.parametrize(
    ("text", "connection", "expected"),
    [
        ("online", "the same", Outcome.PASS),
        ("online", "a new one that publishes", Outcome.PASS),
        ("online", "a new one that listens", Outcome.FAIL),
        ("offline", "the same", Outcome.FAIL),
    ],
)
def test_online_may_be_said_again_but_not_on_a_new_connection_that_listens(
    text: str, connection: str, expected: Outcome, recorded: Transcript, declaration: Declaration
) -> None:
    tape = tape_of(recorded, "polling")
    said = tape.records[tape.published("polling", "status")[0]].data
    connect = tape.records[tape.places("polling", lambda r: is_packet(r, "CONNECT"))[0]].data
    place = tape.step("polling", "send", probe="strange") + 1
    number = said["conn"] if connection == "the same" else 99
    tape.insert(place, "packet", **{**said, "payload": text, "conn": number})
    if connection.endswith("listens"):
        subscribe = tape.records[tape.places("polling", lambda r: is_packet(r, "SUBSCRIBE"))[0]].data
        tape.insert(place, "packet", **{**subscribe, "conn": number})
    if connection != "the same":
        tape.insert(place, "packet", **{**connect, "conn": number})
    assert outcome("I2M-META-05", tape, declaration) is expected


# ---------------------------------------------------------------------- offsets
@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        ("+0000", Outcome.PASS),
        ("+00", Outcome.PASS),
        ("-00:00", Outcome.PASS),
        ("+0100", Outcome.FAIL),
        ("", Outcome.FAIL),
        ("z", Outcome.FAIL),
    ],
)
def test_an_offset_may_be_written_as_the_schemas_allow(
    offset: str, expected: Outcome, recorded: Transcript, declaration: Declaration
) -> None:
    tape = tape_of(recorded, "staleness")
    for run in {record.run for record in tape.records}:
        for place in tape.published(run, "state"):
            message = tape.value(place)
            tape.say(place, {**message, "timestamp": message["timestamp"].removesuffix("Z") + offset})
    assert outcome("I2M-PUB-03", tape, declaration) is expected
    # The order of what cannot be read cannot be told.
    assert (outcome("I2M-STATE-05", tape, declaration) is Outcome.PASS) == (offset not in ("", "z"))
