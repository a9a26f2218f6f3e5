import json
import sys
from pathlib import Path

import pytest

from iot2mqtt_conformance.declaration import DeclarationError, load

INSTANCE = {"devices": [{"device_id": "light1"}, {"device_id": "spare", "enabled": False}]}
MINIMAL = """
[connector]
name = "x"
command = ["python", "main.py"]
instance = "instance.json"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "instance.json").write_text(json.dumps(INSTANCE), encoding="utf-8")
    return tmp_path


def declare(folder: Path, text: str) -> Path:
    file = folder / "conformance.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_minimal_declaration_has_the_documented_defaults(folder: Path) -> None:
    declaration = load(declare(folder, MINIMAL))
    assert (declaration.start_deadline, declaration.stop_deadline, declaration.reporting) == (20, 10, "polling")
    assert declaration.enabled == ["light1"]
    assert declaration.configured == ["light1", "spare"]
    assert declaration.commanded is None


def test_a_folder_stands_for_the_file_in_it(folder: Path) -> None:
    declare(folder, MINIMAL)
    assert load(folder).path == folder / "conformance.toml"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"\[connector\] is missing"),
        ("[connector", "is not TOML"),
        ("[conector]\nname = 'x'", "did you mean `connector`"),
        (MINIMAL + "comand = ['x']", "unknown key `comand`: did you mean `command`"),
        (MINIMAL.replace('name = "x"', ""), "has no `name`"),
        (MINIMAL.replace('"x"', "7"), "name must be a str, and is 7"),
        (MINIMAL.replace('["python", "main.py"]', "[]"), "has no `command`"),
        (MINIMAL.replace('["python", "main.py"]', '["python", 7]'), "must be a list of strings"),
        (MINIMAL.replace('"python"', '"no-such-program"'), "no-such-program"),
        (MINIMAL.replace("instance.json", "other.json"), "other.json does not exist"),
        (MINIMAL + 'workdir = "nowhere"', "nowhere is not a folder"),
        (MINIMAL + "prepare = []", "prepare must be a list of strings"),
        (MINIMAL + 'prepare = ["no-such-program"]', "prepare starts `no-such-program`"),
        (
            MINIMAL.replace('command = ["python", "main.py"]', 'image = "x"\nprepare = ["python"]'),
            "`prepare` and an image",
        ),
        (MINIMAL.replace('"python"', '"bin/main"'), "bin/main"),
        (MINIMAL + "start_deadline = -1", "between 0 and 3600"),
        (MINIMAL + "start_deadline = true", "must be a number"),
        (MINIMAL + "[features]\ngroup = true", "did you mean `groups`"),
        (MINIMAL + '[features]\nreporting = "pollin"', "`polling` or `events`"),
        (MINIMAL + "[features]\ncommands = true", "needs a .*writable property"),
        (MINIMAL + "[features]\ngroups = true", r"needs two \[\[devices\]\] entries"),
        (MINIMAL + '[features.excluded]\n"I2M-CMD-99" = "why"', "I2M-CMD-99, which is no clause"),
        (MINIMAL + '[features.excluded]\n"I2M-CMD-01" = " "', "needs a reason"),
        (MINIMAL + '[[devices]]\nid = "spare"', "`spare` is not an enabled device"),
        (MINIMAL + '[[devices]]\nid = "light1"\nwriteable = {}', "did you mean `writable`"),
        (
            MINIMAL + '[[devices]]\nid = "light1"\nwritable = { power = true }',
            "a list of values of power, and has True",
        ),
        (MINIMAL + '[[devices]]\nid = "light1"\nrejects = { power = "on" }', "a list of values of power, and has 'on'"),
        (MINIMAL + '[[devices]]\nid = "light1"\n[[devices]]\nid = "light1"', "`light1` stands there twice"),
        (MINIMAL + '[[devices]]\nid = "light1"\nwritable = { since = [2020-01-01] }', "writable.since.0 is 2020-01-01"),
        (MINIMAL + '[[devices]]\nid = "light1"\nwritable = { level = [1, inf] }', "writable.level.1 is inf"),
        ('devices = ["light1"]' + MINIMAL, r"written as \[\[devices\]\]"),
        ('peripherals = ["x"]' + MINIMAL, r"written as \[\[peripherals\]\]"),
        (MINIMAL + "[features]\nextra_topics = [1]", "a list of topic filters"),
        (MINIMAL.replace("instance.json", "."), "cannot be read: Is a directory"),
        (MINIMAL + '[[peripherals]]\ncommand = ["python"]\nready = "soon"', "must be `tcp:{port}`"),
        (MINIMAL + '[[peripherals]]\ncommand = ["python"]\nready = "tcp:abc"', "must be `tcp:{port}`"),
        (MINIMAL + '[[peripherals]]\ncommand = ["python"]\nready = "tcp:{prot}"', "must be `tcp:{port}`"),
        (MINIMAL + '[stimuli]\nevent = ["python", "sim.py", "press"]', "event must hold the id of the device"),
        (MINIMAL + '[stimuli]\nevent = ["python", "sim.py", "spare"]', "event must hold the id of the device"),
        (MINIMAL + '[stimuli]\ndevice_slow = ["no-such-program", "light1"]', "device_slow starts `no-such-program`"),
        (MINIMAL + "[stimuli]\nchild_dies = []", "child_dies must be a list of texts"),
        (MINIMAL + '[stimuli]\ndevice_recovers = ["python", "light1"]', "no device_fails that it could end"),
    ],
)
def test_a_wrong_declaration_is_refused_with_file_and_fault(folder: Path, text: str, says: str) -> None:
    file = declare(folder, text)
    with pytest.raises(DeclarationError, match=says) as refused:
        load(file)
    assert str(file) in str(refused.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[]", "must have `devices`"),
        ('{"devices": []}', "must have `devices`"),
        ('{"devices": [{}]}', "must have `devices`"),
        ('{"devices": [{"device_id": "a", "enabled": false}]}', "no enabled device"),
        ('{"devices": [{"device_id": "a"}], "groups": null}', "must have no `groups`, or a list"),
    ],
)
def test_an_instance_file_that_nothing_could_be_judged_by_is_refused(folder: Path, text: str, says: str) -> None:
    (folder / "instance.json").write_text(text, encoding="utf-8")
    with pytest.raises(DeclarationError, match=says):
        load(declare(folder, MINIMAL))


def test_a_peripheral_may_wait_for_its_own_port_or_that_of_one_before_it(folder: Path) -> None:
    tables = ['[[peripherals]]\nname = "my-hub"\ncommand = ["python"]\nready = "tcp:{my-hub.port}"']
    tables += [
        f'[[peripherals]]\ncommand = ["python"]\nready = "{ready}"' for ready in ("tcp:{my-hub.port}", "tcp:7070")
    ]
    declared = load(declare(folder, MINIMAL + "\n".join(tables)))
    assert [one.ready for one in declared.peripherals] == ["tcp:{my-hub.port}", "tcp:{my-hub.port}", "tcp:7070"]


def test_a_missing_declaration_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="--iot2mqtt-connector=PATH"):
        load(tmp_path)


def test_python_is_found_beside_the_interpreter_that_runs_the_suite(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert load(declare(folder, MINIMAL)).command[0] == "python"
    assert Path(sys.executable).exists()
