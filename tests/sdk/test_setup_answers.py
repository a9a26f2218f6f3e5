"""Flows that take their answers from a file, with real action scripts unless answers are recorded."""

import json
import re
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from iot2mqtt_sdk.contract.references import fill_secrets
from iot2mqtt_sdk.runtime.config import secrets as read_secrets
from iot2mqtt_sdk.setup_flow.errors import SetupError
from iot2mqtt_sdk.setup_flow.run import Done, Run

FLOWS = Path(__file__).parent / "setup_flows"
ANSWERS: dict[str, Any] = {
    "form": {"fields": {"text": "porch", "password": "hunter22", "number": 2, "checkbox": True, "select": 2}},
    "oauth": {"acme": "the-code"},
    "selection": {"pick": ["porch 1 on 7001"]},
    "shared": {"zone": "Garden"},
}
RECORDED: dict[str, Any] = {
    "tools": {
        "found": {"ok": True, "result": {"devices": [{"name": f"porch {n}", "port": 7000 + n} for n in range(2)]}},
        "greet": {"ok": True, "result": {"text": "good morning"}},
    }
}
"""What the scripts answer to these answers, for tests that are not about scripts."""


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FLOWS / "everything", tmp_path / "everything"))


def write(file: Path, document: Any) -> Path:
    file.write_text(json.dumps(document), encoding="utf-8")
    return file


def run(
    folder: Path, answers: Any, *, recorded: Any = None, output: Path | None = None, overwrite: bool = False
) -> Done:
    answer_file = write(folder.parent / "answers.json", answers)
    recorded_file = None if recorded is None else write(folder.parent / "recorded.json", recorded)
    done = Run(folder=folder, answers=answer_file, recorded=recorded_file, output=output, overwrite=overwrite).go()
    assert done is not None
    return done


def instance(done: Done) -> Any:
    return json.loads(done.files[0].read_text(encoding="utf-8"))


def small(tmp_path: Path, *steps: Any, **changes: Any) -> Path:
    """Write a connector whose flow has these steps."""
    folder = tmp_path / "small"
    folder.mkdir(exist_ok=True)
    flow = {"id": "main", "name": "Main", "steps": list(steps)}
    write(folder / "setup.json", {"display_name": "Small", "flows": [flow]} | changes)
    return folder


def form(*names: str, step: str = "who", kind: str = "text", **more: Any) -> dict[str, Any]:
    return {"id": step, "type": "form", "schema": {"fields": [{"name": n, "type": kind, **more} for n in names]}}


def create(instance_id: str = "x", **more: Any) -> dict[str, Any]:
    return {"id": "create", "type": "instance", "instance": {"instance_id": instance_id, **more}}


def test_every_step_and_field_type_goes_into_the_instance(everything: Path) -> None:
    done = run(everything, ANSWERS)
    written = instance(done)
    assert done.files[0] == everything / "instances" / "all_of_porch.json"
    assert written["update_interval"] == 2
    assert written["enabled"] is True
    assert written["connection"] == {"api": {"key": "${secret:connection_api_key}"}}
    assert written["devices"] == [{"device_id": "porch_1", "port": 7001, "friendly_name": "porch 1"}]
    assert written["config"] == {
        "fields": {
            "text": "porch",
            "password": "${secret:config_fields_password}",
            "ip": None,
            "url": None,
            "email": None,
            "textarea": None,
            "number": 2,
            "checkbox": True,
            "select": 2,
        },
        "code": "${secret:config_code}",
        "greeting": "good morning",
        "zone": "Garden",
        "made_with": "everything (Everything)",
    }


def test_secrets_are_apart_readable_by_their_owner_only_and_complete(everything: Path) -> None:
    done = run(everything, ANSWERS, recorded=RECORDED)
    plain, hidden = done.files
    assert hidden == everything / "secrets" / "all_of_porch_creds"
    assert stat.S_IMODE(hidden.stat().st_mode) == 0o600
    assert stat.S_IMODE(hidden.parent.stat().st_mode) == 0o700
    assert "hunter22" not in plain.read_text(encoding="utf-8")
    assert read_secrets(hidden) == {
        "stream": "rtsp://porch:hunter22@host",
        "connection_api_key": "porch",
        "config_fields_password": "hunter22",
        "config_code": "the-code",
    }


def test_secrets_never_reach_the_screen(everything: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(everything, ANSWERS, recorded=RECORDED)
    said = "".join(capfd.readouterr())
    assert "Password: ***" in said
    assert "Address: ***" in said
    assert "hunter22" not in said


def test_a_reader_that_fills_references_gets_the_whole_instance_back(everything: Path) -> None:
    done = run(everything, ANSWERS, recorded=RECORDED)
    secrets, used = read_secrets(done.files[1]), set[str]()
    filled: Any = fill_secrets(instance(done), secrets, used)
    assert filled["config"]["fields"]["password"] == "hunter22"
    assert filled["config"]["code"] == "the-code"
    assert filled["connection"]["api"] == {"key": "porch"}
    assert secrets.keys() - used == {"stream"}


def test_a_reference_without_a_secret_names_the_missing_line() -> None:
    with pytest.raises(ValueError, match="add a line gone=VALUE"):
        fill_secrets({"devices": [{"pin": "${secret:gone}"}]}, {}, set())


def test_devices_of_a_loop_get_their_own_values_ids_and_secrets(tmp_path: Path) -> None:
    heater = Path(shutil.copytree(FLOWS / "heater", tmp_path / "heater"))
    answers = json.loads((heater / "answers.json").read_text(encoding="utf-8"))
    recorded = json.loads((heater / "recorded.json").read_text(encoding="utf-8"))
    done = run(heater, answers, recorded=recorded, output=tmp_path / "host")
    assert done.files == (
        tmp_path / "host" / "instances" / "heater" / "heaters.json",
        tmp_path / "host" / "secrets" / "heaters_creds",
    )
    assert done.files[0].read_text(encoding="utf-8") == (heater / "instance.json").read_text(encoding="utf-8")
    assert read_secrets(done.files[1]) == {"password": "correct horse", "devices_1_pin": "4711"}


def test_a_loop_without_described_devices_makes_them_of_its_forms(tmp_path: Path) -> None:
    loop = {"enabled": True, "loop_from_step": "who", "loop_to_step": "create"}
    folder = small(tmp_path, form("name", "ip"), create(), multi_device=loop)
    passes = [{"form": {"who": {"name": name, "ip": "192.0.2.1"}}} for name in ("Ärmel", "b")]
    assert instance(run(folder, {"devices": passes}))["devices"] == [
        {"device_id": "armel", "name": "Ärmel", "ip": "192.0.2.1"},
        {"device_id": "b", "name": "b", "ip": "192.0.2.1"},
    ]


@pytest.mark.parametrize(
    ("passes", "complaint"),
    [
        (["Lamp 1", "lamp 1"], "there is a device 'lamp_1' already"),
        (["a", "b", "c"], "at most 2 fit"),
        (["???"], r"devices\[0\].device_id: no id can be made of '\?\?\?'"),
    ],
)
def test_devices_that_cannot_be_are_refused(tmp_path: Path, passes: list[str], complaint: str) -> None:
    loop = {"enabled": True, "max_devices": 2, "loop_from_step": "who", "loop_to_step": "who"}
    folder = small(tmp_path, form("name"), create(), multi_device=loop)
    with pytest.raises(SetupError, match=complaint):
        run(folder, {"devices": [{"form": {"who": {"name": name}}} for name in passes]})


@pytest.mark.parametrize(
    ("given", "found"),
    [("Living room/1 +#", "living_room_1"), ("AA:BB:CC", "AA:BB:CC"), ("Küche", "Küche"), (" a\tb ", "a_b")],
)
def test_a_device_id_can_always_stand_in_a_topic(tmp_path: Path, given: str, found: str) -> None:
    folder = small(tmp_path, form("name"), create(devices=[{"device_id": "{{ form.who.name }}"}]))
    assert instance(run(folder, {"form": {"who": {"name": given}}}))["devices"][0]["device_id"] == found


def test_an_instance_id_that_leads_elsewhere_is_made_harmless_and_that_is_said(tmp_path: Path) -> None:
    done = run(small(tmp_path, form("name"), create("{{ form.who.name }}")), {"form": {"who": {"name": "../../etc/X"}}})
    assert done.files[0].parent == tmp_path / "small" / "instances"
    assert done.instance_id == "etc_x"
    assert done.notes == ("instance_id '../../etc/X' became 'etc_x'",)


def test_an_id_made_of_a_secret_is_refused(tmp_path: Path) -> None:
    folder = small(tmp_path, form("pin", kind="password"), create("{{ form.who.pin }}"))
    with pytest.raises(SetupError, match="instance_id is made of a secret"):
        run(folder, {"form": {"who": {"pin": "1234"}}})


def test_values_under_declared_and_telling_names_are_secrets_wherever_they_come_from(tmp_path: Path) -> None:
    device = {"device_id": "a", "code": 17, "login": {"password": "{{ form.who.word }}"}}
    folder = small(tmp_path, form("word"), create(devices=[device]), secrets=["code"])
    done = run(folder, {"form": {"who": {"word": "sesame"}}})
    assert instance(done)["devices"] == [
        {
            "device_id": "a",
            "code": "${secret:devices_0_code}",
            "login": {"password": "${secret:devices_0_login_password}"},
        }
    ]
    assert read_secrets(done.files[1]) == {"devices_0_code": "17", "devices_0_login_password": "sesame"}


def test_a_plain_text_that_looks_like_a_reference_is_refused(tmp_path: Path) -> None:
    folder = small(tmp_path, form("word"), create(config={"a": "{{ form.who.word }}"}))
    with pytest.raises(SetupError, match=r"config\.a is '\$\{secret:x\}', which stands for a secret"):
        run(folder, {"form": {"who": {"word": "${secret:x}"}}})


def test_keys_of_secrets_never_collide(tmp_path: Path) -> None:
    config = {"a_b": "{{ form.who.pin }}", "a": {"b": "other {{ form.who.pin }}"}}
    done = run(small(tmp_path, form("pin", kind="password"), create(config=config)), {"form": {"who": {"pin": "1234"}}})
    assert read_secrets(done.files[1]) == {"config_a_b": "1234", "config_a_b_2": "other 1234"}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"form": {}}, "the answers lack form.fields.text; add it"),
        ({"oauth": {}}, "the answers lack oauth.acme; add it"),
        ({"selection": {}}, "the answers lack selection.pick; add it"),
        ({"selection": {"pick": "porch 1 on 7001"}}, "selection.pick must be a list"),
        ({"selection": {"pick": ["cellar"]}}, "none of the choices, which are porch 0 on 7000, porch 1 on 7001"),
        ({"form": {"fields": ANSWERS["form"]["fields"] | {"number": 11}}}, "form.fields.number must be at most 10"),
        ({"form": {"fields": ANSWERS["form"]["fields"] | {"nmber": 1}}}, "answers hold form.fields.nmber"),
        ({"form": {"filds": {"text": "a"}}}, "answers hold form.filds.text"),
        ({"selection": {"pik": 1}}, "answers hold selection.pik"),
        ({"oauth": {"acmee": "x"}}, "answers hold oauth.acmee"),
        ({"devices": [{}]}, "answers hold devices"),
        ({"flow": "long"}, "the flow 'long', and there is only all, short"),
        ({"forms": {}}, "answers.json is malformed: forms: Extra inputs are not permitted"),
    ],
)
def test_answers_that_are_missing_or_wrong_end_the_run_with_nothing_written(
    everything: Path, change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(SetupError, match=re.escape(complaint)):
        run(everything, ANSWERS | change, recorded=RECORDED)
    assert not (everything / "instances").exists()
    assert not (everything / "secrets").exists()


def test_a_tool_that_fails_ends_the_run_with_its_message(everything: Path) -> None:
    answers = ANSWERS | {"form": {"fields": ANSWERS["form"]["fields"] | {"text": "nobody"}}}
    with pytest.raises(SetupError, match="discover: nobody is there; switch something on"):
        run(everything, answers)


def test_an_optional_tool_may_fail(everything: Path) -> None:
    (everything / "actions" / "greet").write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
    assert instance(run(everything, ANSWERS))["config"]["greeting"] == ""


def test_a_flow_that_asks_whether_a_tool_worked_goes_on_where_it_did_not(tmp_path: Path) -> None:
    folder = small(
        tmp_path,
        {"id": "t", "type": "tool", "tool": "probe"},
        create("worked") | {"conditions": {"tools.probe.ok": True}},
        create("failed") | {"id": "other"},
        tools={"probe": {"entry": "probe.py"}},
    )
    (folder / "probe.py").touch()
    failed = {"ok": False, "error": {"code": "gone", "message": "it is gone", "retriable": False}}
    assert run(folder, {}, recorded={"tools": {"probe": failed}}).instance_id == "failed"
    assert run(folder, {}, recorded={"tools": {"probe": {"ok": True, "result": 1}}}).instance_id == "worked"


@pytest.mark.parametrize(
    ("recorded", "complaint"),
    [
        ({}, "have no tools.found"),
        ({"tools": {"found": []}}, "tools.found are used up after 0 runs"),
        ({"tools": {"found": {"ok": True}}}, "recorded answer tools.found is malformed"),
    ],
)
def test_recorded_answers_that_are_missing_or_wrong_are_named(everything: Path, recorded: Any, complaint: str) -> None:
    with pytest.raises(SetupError, match=complaint):
        run(everything, ANSWERS, recorded=recorded)


def test_a_recorded_session_stands_for_signing_in(everything: Path) -> None:
    recorded = RECORDED | {"oauth": {"acme": {"code": "recorded-code"}}}
    answers = {key: value for key, value in ANSWERS.items() if key != "oauth"}
    assert read_secrets(run(everything, answers, recorded=recorded).files[1])["config_code"] == "recorded-code"


def test_steps_and_fields_whose_conditions_do_not_hold_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only_b = {"conditions": {"form.who.mode": "b"}}
    who = {
        "id": "who",
        "type": "form",
        "schema": {
            "fields": [
                {"name": "mode", "type": "text"},
                {"name": "extra", "type": "text", "required": True, "conditions": {"form.who.mode": "b"}},
            ]
        },
    }
    note = {"id": "note", "type": "message", "description": "B it is.", **only_b}
    folder = small(tmp_path, who, note, create("one", config={"extra": "{{ form.who.extra }}"}))
    assert instance(run(folder, {"form": {"who": {"mode": "a"}}}))["config"] == {"extra": ""}
    assert "B it is." not in capsys.readouterr().out
    with pytest.raises(SetupError, match=r"lack form\.who\.extra"):
        run(folder, {"form": {"who": {"mode": "b"}}}, overwrite=True)
    run(folder, {"form": {"who": {"mode": "b", "extra": "x"}}}, overwrite=True)
    assert "B it is." in capsys.readouterr().out


def test_an_optional_form_without_answers_is_left_out(tmp_path: Path) -> None:
    folder = small(tmp_path, form("a", required=True) | {"optional": True}, create(config={"a": "{{ form.who.a }}"}))
    assert instance(run(folder, {}))["config"] == {"a": ""}


def test_a_flow_that_reaches_no_instance_says_so(tmp_path: Path) -> None:
    folder = small(tmp_path, form("a"), create() | {"conditions": {"form.who.a": "x"}})
    with pytest.raises(SetupError, match="ended without an instance"):
        run(folder, {})


def test_an_invalid_instance_is_not_written(tmp_path: Path) -> None:
    folder = small(tmp_path, create(devices=[{"device_id": "a"}, {"device_id": "a"}]))
    with pytest.raises(SetupError, match="share the device_id `a`"):
        run(folder, {})
    assert not (folder / "instances").exists()


def test_an_instance_that_exists_is_kept_unless_it_may_be_replaced(tmp_path: Path) -> None:
    folder = small(tmp_path, form("pin", kind="password"), create(connection={"pin": "{{ form.who.pin }}"}))
    first = run(folder, {"form": {"who": {"pin": "1111"}}})
    before = [file.read_bytes() for file in first.files]
    with pytest.raises(SetupError, match=r"x\.json exists; name another instance id, or replace it with --overwrite"):
        run(folder, {"form": {"who": {"pin": "2222"}}})
    assert [file.read_bytes() for file in first.files] == before
    assert read_secrets(run(folder, {"form": {"who": {"pin": "2222"}}}, overwrite=True).files[1]) == {"pin": "2222"}


def test_secrets_of_a_replaced_instance_do_not_stay_behind(tmp_path: Path) -> None:
    folder = small(tmp_path, form("pin", kind="password"), create(connection={"pin": "{{ form.who.pin }}"}))
    first = run(folder, {"form": {"who": {"pin": "1111"}}})
    second = run(folder, {}, overwrite=True)
    assert second.files == first.files[:1]
    assert not first.files[1].exists()


def test_a_place_that_cannot_be_written_to_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    folder = small(tmp_path, form("pin", kind="password"), create(connection={"pin": "{{ form.who.pin }}"}))
    (folder / "secrets").write_text("in the way", encoding="utf-8")
    with pytest.raises(SetupError, match=r"secrets cannot be written: .*; choose another --output"):
        run(folder, {"form": {"who": {"pin": "1111"}}})
    assert list((folder / "instances").iterdir()) == []


def test_a_flow_with_a_fault_is_not_run(tmp_path: Path) -> None:
    folder = small(tmp_path, create("{{ form.gone.x }}"))
    with pytest.raises(SetupError, match=r"no form step 'gone' comes before this one; `iot2mqtt check"):
        run(folder, {})
