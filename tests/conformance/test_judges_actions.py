"""What judges of action scripts and of the connector's files tell, from transcripts of a few records."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iot2mqtt_conformance.clauses.registry import JUDGES
from iot2mqtt_conformance.declaration import DeclarationError, load
from iot2mqtt_conformance.dryrun import DryRun
from iot2mqtt_conformance.transcript import Recorder
from iot2mqtt_conformance.verdict import Outcome, Verdict
from iot2mqtt_conformance.view import View
from tests.conformance.suite_runs import REFERENCES, connector, run_suite

GOOD = {"ok": True, "result": {"found": 1}}
REFUSED = {"ok": False, "error": {"code": "invalid_input", "message": "host is required", "retriable": False}}
SIMPLE = load(REFERENCES / "simple")


def judged(clause: str, *calls: dict[str, Any], kind: str = "action") -> Verdict:
    recorder = Recorder()
    usual = {
        "tool": "validate",
        "itself": True,
        "code": 0,
        "seconds": 0.1,
        "limit": 5,
        "stderr": "",
        "secret_names": [],
    }
    for call in calls:
        answer = call.pop("answer", GOOD)
        recorder.add("actions", kind, **{**usual, "stdout": json.dumps(answer), "input": {}, **call})
    return JUDGES[clause].function(View(recorder.transcript), SIMPLE)


@pytest.mark.parametrize("clause", [clause for clause in JUDGES if clause.startswith(("I2M-ACT", "I2M-FILE"))])
def test_nothing_is_honoured_where_nothing_was_seen(clause: str) -> None:
    assert JUDGES[clause].function(View(Recorder().transcript), SIMPLE).outcome is Outcome.FAIL


@pytest.mark.parametrize("clause", [clause for clause in JUDGES if clause.startswith("I2M-ACT")])
def test_a_script_that_cannot_be_called_honours_nothing_and_is_told_why(clause: str) -> None:
    verdict = judged(clause, {"reason": "its entry look.sh is not executable"}, kind="action.missing")
    assert verdict.outcome is Outcome.FAIL
    assert "look.sh is not executable" in verdict.seen


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ("stdin is no JSON", Outcome.PASS),
        ("der Aufruf ist leer", Outcome.PASS),
        ("host is required", Outcome.FAIL),
    ],
)
def test_nonsense_must_not_be_taken_for_missing_inputs_in_whatever_language(message: str, outcome: Outcome) -> None:
    told = {"ok": False, "error": {"code": "invalid", "message": message, "retriable": False}}
    verdict = judged(
        "I2M-ACT-04", {"case": "good"}, {"case": "nothing", "answer": REFUSED}, {"case": "empty", "answer": told}
    )
    assert verdict.outcome is outcome


@pytest.mark.parametrize("message", ["IP address must be text", "`ip_address` must be text", "ipAddress: text"])
def test_an_input_may_be_named_as_people_write_it(message: str) -> None:
    told = {"ok": False, "error": {"code": "invalid", "message": message, "retriable": False}}
    calls = {"case": "good"}, {"case": "mistyped", "field": "ip_address", "answer": told}
    assert judged("I2M-ACT-04", *calls).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("ip", "ip必须是文本"),
        ("id", "the ID's type is wrong"),
        ("port", "die Portnummer ist keine Zahl"),
        ("host", "input.host: expected text"),
    ],
)
def test_an_input_may_be_named_in_any_language(field: str, message: str) -> None:
    told = {"ok": False, "error": {"code": "invalid", "message": message, "retriable": False}}
    calls = {"case": "good"}, {"case": "mistyped", "field": field, "answer": told}
    assert judged("I2M-ACT-04", *calls).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("id", "the input is not valid"),
        ("port", "unsupported input"),
        ("ip", "see the description"),
        ("key", "KeyError"),
    ],
)
def test_a_name_within_another_word_names_nothing(field: str, message: str) -> None:
    told = {"ok": False, "error": {"code": "invalid", "message": message, "retriable": False}}
    calls = {"case": "good"}, {"case": "mistyped", "field": field, "answer": told}
    assert f"does not name `{field}`" in judged("I2M-ACT-04", *calls).seen


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_secret_in_what_is_no_json_is_looked_for_too(stream: str) -> None:
    secret = {"markers": {"pin": "qzkvwxjh"}, "secret_names": ["pin"], "case": "malformed"}
    assert judged("I2M-ACT-07", {"case": "good"}, secret).outcome is Outcome.PASS
    told = 'Unexpected token \'!\', ...""qzkvwxjh"!}}" is not valid JSON'
    assert judged("I2M-ACT-07", {"case": "good"}, {**secret, stream: told}).outcome is Outcome.FAIL


def test_a_short_secret_that_stands_in_an_answer_by_chance_is_no_leak() -> None:
    inputs = {"input": {"pin": "1"}, "secret_names": ["pin"]}
    assert "nothing that the clause could be judged by" in judged("I2M-ACT-07", {"case": "good", **inputs}).seen
    marked = {"input": {"pin": "marker-of-length"}, "secret_names": ["pin"], "case": "secret"}
    assert judged("I2M-ACT-07", {"case": "good", **inputs}, marked).outcome is Outcome.PASS
    assert judged("I2M-ACT-07", {"case": "good"}, {**marked, "stderr": "pin=marker-of-length"}).outcome is Outcome.FAIL


def test_calls_that_ended_before_the_signal_prove_nothing() -> None:
    stopped = {"case": "stopped reading", "running": False, "ended": True, "after": 0.1}
    verdict = judged("I2M-ACT-06", {"case": "good"}, stopped)
    assert verdict.outcome is Outcome.FAIL
    assert "before it had read its input" in verdict.seen


def flow(**instance: Any) -> dict[str, Any]:
    fields = [{"name": "host", "type": "ip"}, {"name": "every", "type": "number", "min": 5}]
    steps = [
        {"id": "where", "type": "form", "schema": {"fields": fields}},
        {"id": "look", "type": "tool", "tool": "discover", "input": {"host": "{{ form.where.host }}"}},
        {"id": "pick", "type": "select", "items": "{{ tools.discover.result.devices }}"},
        {"id": "write", "type": "instance", "instance": {"instance_id": "x", **instance}},
    ]
    return {"id": "f", "steps": steps}


def faults(found: dict[str, Any], **results: Any) -> list[str]:
    return list(DryRun(found, {"discover": {"host": "10.0.0.7"}}, results).faults())


DEVICES: list[Callable[[], Any]] = [
    lambda: "{{ selection.pick }}",
    lambda: ["{{ selection.pick }}"],
    lambda: [{"device_id": "{{ selection.pick.id }}"}],
    lambda: [{"device_id": "at_{{ form.where.host }}"}],
]


@pytest.mark.parametrize("devices", DEVICES)
def test_a_dry_run_takes_what_it_cannot_know_for_something_that_fits(devices: Callable[[], Any]) -> None:
    assert faults(flow(devices=devices(), update_interval="{{ form.where.every }}")) == []


def test_a_dry_run_uses_the_answer_to_the_declared_call() -> None:
    answer = {"ok": True, "result": {"devices": [{"id": "lamp/1"}]}}
    (told,) = faults(flow(devices=[{"device_id": "{{ selection.pick.id }}"}]), discover=answer)
    assert "step write" in told
    assert "lamp/1" in told


def test_a_dry_run_tells_that_what_is_chosen_from_is_no_list() -> None:
    (told,) = faults(flow(), discover={"ok": True, "result": {"devices": {}}})
    assert "step pick" in told
    assert "is no list" in told


@pytest.mark.parametrize(
    ("actions", "says"),
    [
        ("[actions.look]\ngood = [{}]", "needs `setup`"),
        ("[actions.look]\nbad = [{}]", "needs `good`"),
        ("[actions.look]\ngod = [{}]", "did you mean `good`"),
        ("[actions.look]\ngood = [7]", "must be a list of tables"),
        ("[actions]\nlook = 7", "must be a table"),
    ],
)
def test_a_wrong_table_of_actions_is_refused(tmp_path: Path, actions: str, says: str) -> None:
    folder = connector(tmp_path, "", **({} if "setup" in says else {"setup": '"setup.json"'}))
    with (folder / "conformance.toml").open("a", encoding="utf-8") as file:
        file.write(actions)
    with pytest.raises(DeclarationError, match=says):
        load(folder)


def test_a_tool_that_setup_does_not_declare_is_no_green_run(tmp_path: Path) -> None:
    folder = tmp_path / "hostile"
    folder.symlink_to(REFERENCES / "hostile")
    declared = (folder / "conformance.toml").read_text(encoding="utf-8").replace("[actions.validate]", "[actions.look]")
    (tmp_path / "conformance.toml").write_text(
        declared.replace('workdir = "."', 'workdir = "hostile"')
        .replace('"conformance/', '"hostile/conformance/')
        .replace('"setup.json"', '"hostile/setup.json"')
        .replace('"manifest.json"', '"hostile/manifest.json"'),
        encoding="utf-8",
    )
    result = run_suite("--iot2mqtt-clauses=I2M-ACT-01", cwd=tmp_path)
    assert result.returncode == 1, result.stdout
    assert "setup.json does not declare it" in result.stdout
