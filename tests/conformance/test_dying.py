"""The death of one process of several: what counts as a report and a return, and what a declaration may say of it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from iot2mqtt_conformance.aftermath import Aftermath
from iot2mqtt_conformance.clauses import JUDGES
from iot2mqtt_conformance.contract import clauses
from iot2mqtt_conformance.declaration import DeclarationError, load
from iot2mqtt_conformance.judging import judge, play
from iot2mqtt_conformance.services.choose import choose
from iot2mqtt_conformance.transcript import Record, Transcript
from iot2mqtt_conformance.verdict import Outcome
from iot2mqtt_conformance.view import View
from tests.conformance.suite_runs import REFERENCES

CLAUSE = "I2M-LIFE-10"
ONLINE, OFFLINE = {"state": {"online": True}}, {"state": {"online": False}}


def heard(*messages: tuple[str, Any]) -> Aftermath:
    """Return what is known after messages on topics of the instance; those that are no text are JSON."""
    aftermath = Aftermath("base/v1/instances/i", ["lamp", "plug"])
    for number, (suffix, value) in enumerate(messages):
        payload = value if isinstance(value, str) else json.dumps(value)
        data = {"topic": f"base/v1/instances/i/{suffix}", "payload": payload, "retained": False}
        aftermath.hear(Record(number, float(number), "dying", "seen", data))
    return aftermath


@pytest.mark.parametrize(
    "report",
    [
        ("devices/lamp/error", {"error_code": "gone"}),
        ("devices/lamp/state", OFFLINE),
        ("devices/lamp/availability", "offline"),
        ("devices/lamp/availability", '"offline"'),
        ("status", "offline"),
    ],
)
def test_each_way_to_report_a_death_counts(report: tuple[str, Any]) -> None:
    assert heard(report).report is not None
    assert not heard(report).settled


@pytest.mark.parametrize(
    "message",
    [
        ("devices/lamp/state", ONLINE),
        ("devices/lamp/availability", "online"),
        ("devices/stranger/error", {"error_code": "gone"}),
        ("devices/lamp/events", {"event": "offline"}),
        ("status", "online"),
    ],
)
def test_what_says_nothing_of_a_loss_is_no_report(message: tuple[str, Any]) -> None:
    assert heard(message).report is None


def test_a_device_is_back_with_the_first_state_that_does_not_say_offline() -> None:
    error = ("devices/lamp/error", {"error_code": "gone"})
    assert heard(error, ("devices/lamp/state", OFFLINE)).missing == ["lamp"]
    assert heard(error, ("devices/plug/state", ONLINE)).missing == ["lamp"]
    assert heard(error, ("devices/lamp/state", ONLINE)).settled
    assert heard(("devices/lamp/state", ONLINE), error).missing == ["lamp"]


def test_a_device_that_goes_offline_again_is_lost_again_but_a_late_error_takes_nothing_back() -> None:
    back = [("devices/lamp/error", {"error_code": "gone"}), ("devices/lamp/state", ONLINE)]
    assert heard(*back, ("devices/lamp/state", OFFLINE)).missing == ["lamp"]
    assert heard(*back, ("devices/lamp/error", {"error_code": "gone"})).settled


def test_an_instance_that_was_offline_is_back_with_its_status_and_every_device() -> None:
    states = [("devices/lamp/state", ONLINE), ("devices/plug/state", ONLINE)]
    assert heard(("status", "offline"), *states).missing == ["the status online"]
    assert heard(("status", "offline"), ("status", "online"), states[0]).missing == ["plug"]
    assert heard(("status", "offline"), ("status", "online"), *states).settled


@pytest.mark.parametrize(("late", "outcome"), [("plug", Outcome.PASS), (None, Outcome.FAIL)])
def test_what_befalls_a_device_after_the_return_is_another_matter(late: str | None, outcome: Outcome) -> None:
    """A plug that cannot be read once all is back; where the lamp never came back, the death was not outlived."""
    root = "base/v1/instances/i"
    devices = [{"device_id": name} for name in ("lamp", "plug")]
    told: list[tuple[str, dict[str, Any]]] = []

    def seen(suffix: str, value: Any) -> None:
        told.append(("seen", {"topic": f"{root}/{suffix}", "payload": json.dumps(value), "retained": False}))

    def step(name: str, **facts: Any) -> None:
        told.append(("step", {"name": name, **facts}))

    told.append(("run", {"root": root, "config": {"devices": devices}}))
    step("picked", text="worker", count=1, there=[])
    step("death", text="worker", pid=7)
    seen("devices/lamp/error", {"error_code": "gone"})
    if late:
        seen("devices/lamp/state", ONLINE)
    for name in ("lamp", "plug"):
        step("send", probe="after_death", device=name, suffix=f"devices/{name}/get")
    if late:
        seen("devices/lamp/state", ONLINE)
        seen("devices/plug/state", ONLINE)
        seen(f"devices/{late}/error", {"error_code": "unreadable"})
    step("asked", text="worker")
    step("dying_end")
    records = [Record(number, number / 10, "dying", *each) for number, each in enumerate(told)]
    judged = JUDGES[CLAUSE].function(View(Transcript(records)), load(REFERENCES / "simple"))
    assert judged.outcome is outcome, judged


def hostile(folder: Path, texts: str) -> Path:
    """Copy the connector with another declaration of child_dies."""
    copy = shutil.copytree(REFERENCES / "hostile", folder / "hostile", ignore=shutil.ignore_patterns("__pycache__"))
    file = copy / "conformance.toml"
    told = file.read_text(encoding="utf-8")
    assert told.count('child_dies = ["keeper.sh outsider"]') == 1
    file.write_text(told.replace('["keeper.sh outsider"]', texts), encoding="utf-8")
    return copy


@pytest.mark.parametrize("texts", ["[]", '[""]', '["keeper.sh", 7]', '[["keeper.sh"]]'])
def test_texts_that_would_pick_everything_or_nothing_are_refused(texts: str, tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="child_dies must be a list of texts"):
        load(hostile(tmp_path, texts))


def test_a_text_that_no_process_matches_is_a_failure_that_names_the_processes_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BREAK", raising=False)
    declaration = load(hostile(tmp_path, '["no such process"]'))
    new_broker, _ = choose("auto")
    played = play(declaration, [CLAUSE], new_broker=new_broker, seed=7, progress=lambda _line: None)
    verdict = judge(clauses()[CLAUSE], declaration, played)
    assert verdict.outcome is Outcome.FAIL
    assert "`no such process`" in verdict.expected
    assert "keeper.sh outsider" in verdict.seen
    assert "child_dies" in verdict.hint
