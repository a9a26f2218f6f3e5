"""Judges of environment, status, publications and life cycle, on a recorded transcript that is edited at random.

An edit that breaks a clause makes its judge fail; one that changes nothing of what the clause says lets it pass.
"""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iot2mqtt_conformance.clauses import JUDGES
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.names import GROWTH, RENAMED
from iot2mqtt_conformance.transcript import Record, Transcript
from iot2mqtt_conformance.verdict import Outcome, Verdict
from iot2mqtt_conformance.view import View
from tests.conformance.recorded import (
    Records,
    changed,
    inserted,
    online,
    places,
    rebuilt,
    sent,
    state_of,
    step,
    without,
)

Edit = Callable[[Records, st.DataObject], Records]
FLAGGED = ("boot", "environment.qos0", "environment.qos2", "environment.unset")
NAMES = st.text("abcdefgh_", min_size=1, max_size=12)

pytestmark = pytest.mark.slow


# ---------------------------------------------------------------------- edits
def edit_one(which: Callable[[Record], bool], change: Callable[[Record, st.DataObject], Record]) -> Edit:
    """Change one such record."""

    def edit(records: Records, data: st.DataObject) -> Records:
        place = data.draw(st.sampled_from(places(records, which)))
        return [*records[:place], change(records[place], data), *records[place + 1 :]]

    return edit


def edit_all(which: Callable[[Record], bool], change: Callable[[Record, st.DataObject], Record]) -> Edit:
    """Change all such records."""
    return lambda records, data: [change(record, data) if which(record) else record for record in records]


def drop(which: Callable[[Record], bool]) -> Edit:
    """Take all such records away."""
    return lambda records, _data: without(records, which)


def in_run(run: str, which: Callable[[Record], bool]) -> Callable[[Record], bool]:
    return lambda record: record.run == run and which(record)


def insert_before(run: str, end: str, kind: str, **facts: object) -> Edit:
    """Insert a record somewhere before the step with which the scenario ends, after the connector was online."""

    def edit(records: Records, data: st.DataObject) -> Records:
        (last,) = places(records, lambda r: r.run == run and step(r, end))
        first = places(records, lambda r: r.run == run and r.kind == "proc.start")[0]
        mine = [number for number in range(first, last) if records[number].run == run]
        return inserted(records, data.draw(st.sampled_from(mine)), kind, **facts)

    return edit


def after(run: str, name: str, which: Callable[[Record], bool]) -> Edit:
    """Take away what comes after a step."""

    def edit(records: Records, _data: st.DataObject) -> Records:
        begin = places(records, lambda r: r.run == run and step(r, name))[0]
        doomed = {id(r) for r in records[begin:] if r.run == run and which(r)}
        return without(records, lambda r: id(r) in doomed)

    return edit


def other_qos(record: Record, data: st.DataObject) -> Record:
    return changed(record, qos=data.draw(st.sampled_from([q for q in (0, 1, 2) if q != record.data["qos"]])))


def leak(records: Records, data: st.DataObject) -> Records:
    """Put the password somewhere into what a launch prints or publishes."""
    place = data.draw(
        st.sampled_from(
            places(records, lambda r: r.kind == "out" or (sent(r) and "payload" in r.data and r.data["payload"] != ""))
        )
    )
    record = records[place]
    run = next(r for r in records if r.run == record.run and r.kind == "run")
    name = "line" if record.kind == "out" else "payload"
    text = record.data[name]
    cut = data.draw(st.integers(0, len(text)))
    return [
        *records[:place],
        changed(record, **{name: text[:cut] + run.data["password"] + text[cut:]}),
        *records[place + 1 :],
    ]


def odd_topic(record: Record, data: st.DataObject) -> Record:
    root, _, suffix = record.data["topic"].partition("_conformance/")
    word = data.draw(NAMES)
    other = data.draw(
        st.sampled_from(
            [f"x{word}", f"devices/{word}", f"devices/light1/x{word}", f"meta/x{word}", f"{suffix}/{word}/x"]
        )
    )
    return changed(record, topic=f"{root}_conformance/{other}")


def later(record: Record, data: st.DataObject) -> Record:
    return replace(record, t=record.t + data.draw(st.floats(20, 1000)))


def killed(records: Records, data: st.DataObject) -> Records:
    """A process with a bad configuration ends only when it is killed."""
    place = data.draw(st.sampled_from(places(records, lambda r: r.run.startswith("config_") and r.kind == "proc.exit")))
    records = inserted(records, place, "step", name="timeout", what="the end of the process")
    return [*records[: place + 1], changed(records[place + 1], code=-15), *records[place + 2 :]]


def in_vain(run: str) -> Edit:
    return insert_before(run, "faults_end", "proc.exit", code=1)


def more_memory(records: Records, data: st.DataObject) -> Records:
    """Let the memory grow by the limit or more, evenly."""
    looks = places(records, lambda r: step(r, "memory"))
    first = records[looks[0]].data["resident"]
    grown = data.draw(st.integers(GROWTH, 1_000_000_000))
    found = list(records)
    for number, place in enumerate(looks):
        if number:
            found[place] = changed(records[place], resident=first + grown + number)
    return found


def storm(records: Records, data: st.DataObject) -> Records:
    """Let many more calls come while the credentials are refused."""
    place = places(records, in_run("locked_out", lambda r: sent(r, "CONNECT")))[0]
    for _ in range(data.draw(st.integers(10, 60))):
        records = [*records[:place], records[place], *records[place:]]
    return records


def ghost(records: Records, data: st.DataObject) -> Records:
    """Let something be said of the device that has left."""
    old = next(r for r in records if step(r, "changed")).data["renamed"]
    places_of = places(records, lambda r: r.run == "reconfigure.after" and state_of(r))
    place = data.draw(st.sampled_from(places_of))
    record = records[place]
    root = record.data["topic"].partition("/devices/")[0]
    suffix = data.draw(st.sampled_from(["state", "error", "events", "availability", "state/power"]))
    return inserted(records, place, "packet", **{**record.data, "topic": f"{root}/devices/{old}/{suffix}"})


def executed_again(records: Records, data: st.DataObject) -> Records:
    """Let a state after the fault show the value that was replaced before it."""
    run = data.draw(st.sampled_from(["faults.reset", "faults.lost_puback", "faults.slow_connack", "faults.taken_over"]))
    told = next(r for r in records if r.run == run and step(r, "executed")).data
    fault = places(records, lambda r: r.run == run and step(r, "fault"))[0]
    mine = [n for n in range(fault + 1, len(records)) if records[n].run == run and state_of(records[n], told["device"])]
    place = data.draw(st.sampled_from([n for n in mine if not records[n].data["dup"]]))
    message = json.loads(records[place].data["payload"])
    message["state"][told["property"]] = told["former"]
    return [*records[:place], changed(records[place], payload=json.dumps(message)), *records[place + 1 :]]


def did_it_too(records: Records, _data: st.DataObject) -> Records:
    """Let the other instance show what only the one was commanded."""
    aside = places(records, lambda r: r.run == "pair.two" and step(r, "aside"))[0]
    told = records[aside].data
    place = next(
        n for n in range(aside, len(records)) if records[n].run == "pair.two" and state_of(records[n], told["device"])
    )
    message = json.loads(records[place].data["payload"])
    message["state"][told["property"]] = told["commanded"]
    return [*records[:place], changed(records[place], payload=json.dumps(message)), *records[place + 1 :]]


def offline_device(record: Record, _data: st.DataObject) -> Record:
    message = json.loads(record.data["payload"])
    return changed(record, payload=json.dumps({**message, "state": {**message["state"], "online": False}}))


BREAKING: dict[str, list[Edit]] = {
    "I2M-ENV-06": [edit_one(lambda r: r.run in FLAGGED and state_of(r), other_qos)],
    "I2M-ENV-07": [
        edit_one(lambda r: r.run in FLAGGED and state_of(r), lambda r, _: changed(r, retain=not r.data["retain"]))
    ],
    "I2M-ENV-08": [
        drop(in_run("environment.file", lambda r: sent(r, "CONNECT"))),
        drop(in_run("variants.decoy", lambda r: sent(r, "CONNECT"))),
        drop(in_run("environment.file", online)),
        edit_one(
            in_run("environment.file", lambda r: sent(r, "CONNECT")), lambda r, d: changed(r, username=d.draw(NAMES))
        ),
        edit_one(
            in_run("environment.file", lambda r: sent(r, "CONNECT")), lambda r, d: changed(r, password=d.draw(NAMES))
        ),
        edit_one(
            in_run("environment.file", lambda r: sent(r, "CONNECT")),
            lambda r, d: changed(r, keepalive=d.draw(st.integers(38))),
        ),
    ],
    "I2M-ENV-09": [
        edit_one(
            in_run("boot", lambda r: sent(r) and r.data["topic"].endswith("meta/devices_list")),
            lambda r, d: changed(r, payload=json.dumps([{"device_id": d.draw(st.none() | st.lists(NAMES))}])),
        )
    ],
    "I2M-ENV-10": [killed, drop(lambda r: r.run.startswith("config_") and r.kind == "out")],
    "I2M-ENV-11": [
        edit_one(lambda r: r.kind == "files", lambda r, d: changed(r, changed=[f"instances/{d.draw(NAMES)}"]))
    ],
    "I2M-ENV-12": [
        drop(in_run("environment.debug", online)),
        drop(in_run("environment.warning", online)),
        drop(in_run("environment.unknown_level", online)),
        drop(in_run("environment.debug", lambda r: r.kind == "out")),
        drop(in_run("environment.unknown_level", lambda r: r.kind == "out" and "LOG_LEVEL" in r.data["line"])),
    ],
    "I2M-ENV-13": [leak],
    "I2M-ENV-14": [
        edit_one(
            lambda r: r.run.startswith("credentials.") and sent(r, "CONNECT"),
            lambda r, d: changed(r, username=d.draw(NAMES)),
        ),
        edit_one(
            lambda r: r.run.startswith("credentials.") and sent(r, "CONNECT"), lambda r, _: changed(r, password=None)
        ),
        drop(in_run("credentials.referred", online)),
        drop(in_run("credentials.merged", lambda r: state_of(r, "light2"))),
        edit_all(in_run("credentials.merged", lambda r: state_of(r, "outsider")), offline_device),
    ],
    "I2M-ENV-16": [
        edit_one(in_run("tls.right", lambda r: r.kind == "tls.open"), lambda r, _: changed(r, certificate=False)),
        edit_one(lambda r: r.kind in ("tls.open", "tls.failed"), lambda r, _: replace(r, kind="tls.plain")),
        edit_one(in_run("tls.foreign", lambda r: r.kind == "tls.failed"), lambda r, _: replace(r, kind="tls.open")),
        drop(in_run("tls.foreign", lambda r: r.kind == "tls.failed")),
        drop(in_run("tls.right", online)),
    ],
    "I2M-STATUS-08": [
        edit_one(lambda r: step(r, "retained_status"), lambda r, d: changed(r, payload=d.draw(st.none() | NAMES))),
        edit_one(in_run("init_fails", lambda r: r.kind == "proc.exit"), lambda r, _: changed(r, code=0)),
    ],
    "I2M-STATUS-09": [
        drop(in_run("half_open", lambda r: r.kind == "conn.close")),
        edit_one(in_run("half_open", lambda r: r.kind == "conn.close" and r.data["conn"] == 1), later),
        after("half_open", "silence", online),
    ],
    "I2M-PUB-05": [edit_one(lambda r: sent(r) and r.data.get("payload") != "", odd_topic)],
    "I2M-PUB-06": [
        after("outage", "cut", lambda r: sent(r) and r.data["topic"].endswith("cmd/response")),
        after("outage", "broker_back", lambda r: state_of(r, "outsider")),
        after("outage", "cut", lambda r: sent(r, "CONNECT")),
    ],
    "I2M-LIFE-01": [edit_one(in_run("shutdown.sigterm", lambda r: r.kind == "proc.exit"), later)],
    "I2M-LIFE-02": [edit_one(in_run("shutdown.sigint", lambda r: r.kind == "proc.exit"), later)],
    "I2M-LIFE-03": [drop(online), insert_before("away", "broker_there", "proc.exit", code=1)],
    "I2M-LIFE-04": [storm, drop(online), drop(lambda r: r.kind == "out"), drop(lambda r: sent(r, "CONNECT"))],
    "I2M-LIFE-06": [
        executed_again,
        *(in_vain(f"faults.{name}") for name in ("reset", "slow_connack", "lost_puback", "taken_over")),
        *(after(f"faults.{name}", "fault", online) for name in ("reset", "slow_connack", "lost_puback", "taken_over")),
        lambda records, _: without(records, lambda r: r.run == "faults.taken_over"),
    ],
    "I2M-LIFE-07": [more_memory],
    "I2M-LIFE-08": [
        ghost,
        drop(in_run("reconfigure.after", lambda r: state_of(r, RENAMED))),
        drop(in_run("reconfigure.after", lambda r: state_of(r, "outsider"))),
        drop(in_run("reconfigure.after", lambda r: sent(r) and r.data["topic"].endswith("/devices_list"))),
        drop(in_run("reconfigure.after", online)),
    ],
    "I2M-LIFE-09": [
        did_it_too,
        insert_before("pair.one", "pair_end", "conn.close", conn=1, by="broker", clean=False),
        insert_before("pair.two", "pair_end", "proc.exit", code=1),
        drop(in_run("pair.one", online)),
        lambda records, _: without(records, lambda r: r.run == "pair.two"),
    ],
    "I2M-LIFE-11": [
        edit_one(lambda r: step(r, "left_behind"), lambda r, d: changed(r, topics=[d.draw(NAMES)])),
        drop(lambda r: step(r, "left_behind")),
    ],
}


# ---------------------------------------------------------------------- harmless edits
def idle_chatter(records: Records, data: st.DataObject) -> Records:
    """Keep-alive packets come anywhere."""
    facts = {"conn": 1, "dir": data.draw(st.sampled_from(["c2b", "b2c"])), "type": "PINGREQ"}
    return inserted(records, data.draw(st.integers(0, len(records) - 1)), "packet", **facts)


def another_line(records: Records, data: st.DataObject) -> Records:
    """A line more is printed, at whatever level shows it."""
    quiet = [n for n, r in enumerate(records) if r.run != "environment.warning"]
    return inserted(records, data.draw(st.sampled_from(quiet)), "out", stream="stderr", line=data.draw(NAMES))


def sent_again(records: Records, data: st.DataObject) -> Records:
    """A message is sent again because its acknowledgement was lost."""
    said = places(records, lambda r: sent(r) and r.data["qos"] == 1 and r.data.get("payload") != "")
    place = data.draw(st.sampled_from(said))
    return inserted(records, place, "packet", **{**records[place].data, "dup": True})


def no_acknowledgement(records: Records, data: st.DataObject) -> Records:
    """A PUBACK is not seen."""
    place = data.draw(st.sampled_from(places(records, lambda r: r.data.get("type") == "PUBACK")))
    return [*records[:place], *records[place + 1 :]]


def another_time(records: Records, data: st.DataObject) -> Records:
    """The transcript began earlier."""
    shift = data.draw(st.floats(0, 3600))
    return [replace(record, t=record.t + shift) for record in records]


def more_seen(records: Records, data: st.DataObject) -> Records:
    """The suite's own connection sees something."""
    place = data.draw(st.integers(0, len(records) - 1))
    return inserted(records, place, "seen", topic=data.draw(NAMES), payload=data.draw(NAMES), retained=False)


HARMLESS: tuple[Edit, ...] = (idle_chatter, another_line, sent_again, no_acknowledgement, another_time, more_seen)


# ---------------------------------------------------------------------- tests
def of_interest(transcript: Transcript, clause: str) -> Records:
    """Return the records of the launches that a clause is judged by."""
    scenarios = set(JUDGES[clause].scenarios) | {"boot"}
    return [record for record in transcript if record.run.partition(".")[0] in scenarios]


def verdict(clause: str, declaration: Declaration, records: Records, wall: float) -> Verdict:
    return JUDGES[clause].function(View(rebuilt(records, wall)), declaration)


def often(examples: int) -> settings:
    return settings(max_examples=examples, database=None, suppress_health_check=list(HealthCheck))


def test_every_judge_that_is_edited_here_passes_the_transcript_as_it_was_recorded(
    declaration: Declaration, recorded: Transcript
) -> None:
    seen = {clause: verdict(clause, declaration, of_interest(recorded, clause), recorded.wall) for clause in BREAKING}
    assert {clause: v for clause, v in seen.items() if v.outcome is not Outcome.PASS} == {}


@pytest.mark.parametrize("clause", BREAKING)
@often(25)
@given(data=st.data())
def test_an_edit_that_breaks_the_clause_fails_it(
    clause: str, declaration: Declaration, recorded: Transcript, data: st.DataObject
) -> None:
    edit = data.draw(st.sampled_from(BREAKING[clause]))
    found = verdict(clause, declaration, edit(of_interest(recorded, clause), data), recorded.wall)
    assert found.outcome is Outcome.FAIL
    assert found.expected
    assert found.seen


@pytest.mark.parametrize("clause", BREAKING)
@often(15)
@given(data=st.data())
def test_an_edit_that_the_clause_says_nothing_of_lets_it_pass(
    clause: str, declaration: Declaration, recorded: Transcript, data: st.DataObject
) -> None:
    records, wall = of_interest(recorded, clause), recorded.wall
    for edit in data.draw(st.lists(st.sampled_from(HARMLESS), min_size=1, max_size=3, unique=True)):
        before = records[0].t
        records = edit(records, data)
        wall -= records[0].t - before
    found = verdict(clause, declaration, records, wall)
    assert found.outcome is Outcome.PASS, found
    assert found.evidence


@often(5)
@given(data=st.data())
def test_a_command_that_never_reached_the_connector_is_not_taken_for_executed(
    declaration: Declaration, recorded: Transcript, data: st.DataObject
) -> None:
    records = executed_again(of_interest(recorded, "I2M-LIFE-06"), data)
    ids = [str(r.data["id"]) for r in records if step(r, "send") and r.data.get("probe") == "once"]
    # With too much unacknowledged a broker holds messages back, so that the state stays as it was.
    given_to_it = places(records, lambda r: r.data.get("dir") == "b2c" and holds(r, ids))
    assert given_to_it
    rest = [record for place, record in enumerate(records) if place not in given_to_it]
    assert verdict("I2M-LIFE-06", declaration, rest, recorded.wall).outcome is Outcome.PASS


def holds(record: Record, ids: list[str]) -> bool:
    return any(name in record.data.get("payload", "") for name in ids)


@pytest.mark.parametrize("clause", BREAKING)
def test_nothing_seen_is_no_pass(clause: str, declaration: Declaration, recorded: Transcript) -> None:
    own = set(JUDGES[clause].scenarios)
    launches = [r for r in of_interest(recorded, clause) if r.kind == "run" and r.run.partition(".")[0] in own]
    assert launches
    assert verdict(clause, declaration, launches, recorded.wall).outcome is not Outcome.PASS
    assert verdict(clause, declaration, [], recorded.wall).outcome is not Outcome.PASS


def test_only_a_connection_beside_one_that_listens_may_be_without_a_last_will(
    declaration: Declaration, recorded: Transcript
) -> None:
    def outcome(records: Records) -> Outcome:
        return verdict("I2M-STATUS-01", declaration, records, recorded.wall).outcome

    boot = [record for record in recorded if record.run == "boot"]
    connect = boot[places(boot, lambda r: sent(r, "CONNECT"))[0]]
    publish = boot[places(boot, sent)[0]]
    further = [changed(connect, conn=999, will=None), changed(publish, conn=999)]
    assert outcome([*boot, *further]) is Outcome.PASS
    # One that has said nothing yet, as at the end of a launch, may be of that kind.
    assert outcome([*boot, further[0]]) is Outcome.PASS
    # One that takes up a session listens without subscribing.
    (connack, *_) = places(boot, lambda r: r.data.get("type") == "CONNACK")
    resumed = changed(boot[connack], conn=999, session_present=True)
    assert outcome([*boot, further[0], resumed, further[1]]) is Outcome.FAIL
    deaf = without(boot, lambda r: sent(r, "SUBSCRIBE"))
    assert outcome([changed(r, will=None) if r.data is connect.data else r for r in deaf]) is Outcome.FAIL
