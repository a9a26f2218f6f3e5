"""`iot2mqtt conformance init` writes a declaration that loads, and by which a conforming connector is judged green."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from iot2mqtt_conformance.adoption.lookaround import AdoptionError, look
from iot2mqtt_conformance.adoption.observed import Observed
from iot2mqtt_conformance.adoption.writing import written
from iot2mqtt_conformance.declaration import load, parse
from tests.conformance.suite_runs import REFERENCES, run_suite

INSTANCE = {"instance_id": "one", "connector_type": "odd", "devices": [{"device_id": "light1"}]}
SILENT = """
import sys
print("the hub is not to be found", file=sys.stderr)
sys.exit(3)
"""


def undeclared(name: str, folder: Path) -> Path:
    """Copy a reference connector without its declaration."""
    copy = shutil.copytree(REFERENCES / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "conformance.toml").unlink()
    return copy


def init(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    command = [str(Path(sys.executable).parent / "iot2mqtt"), "conformance", "init", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=100, check=False
    )


def folder_with(folder: Path, **files: str) -> Path:
    """Write files, `__` standing for the dot in their names, beside an instance file."""
    (folder / "conformance").mkdir()
    (folder / "conformance" / "instance.json").write_text(json.dumps(INSTANCE), encoding="utf-8")
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def test_a_conforming_connector_is_judged_green_by_what_init_writes(tmp_path: Path) -> None:
    folder = undeclared("hostile", tmp_path)
    done = init(folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    declared = load(folder)
    assert declared.command == ("python", "main.py")
    assert {"commands", "groups", "property_topics", "setup", "manifest"} <= declared.features
    assert declared.reporting == "polling"
    # `online` is true or false as well, and cannot be set.
    assert [device.writable for device in declared.devices] == [{"power": (True, False)}] * 3
    judged = run_suite("--iot2mqtt-clauses=I2M-[SCM][TMUE][ADTB]*", cwd=folder)
    assert judged.returncode == 0, judged.stdout
    assert " fail," not in judged.stdout


def test_the_shell_connector_is_declared_without_an_edit(tmp_path: Path) -> None:
    folder = undeclared("shell", tmp_path)
    done = init(folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    declared = load(folder)
    assert declared.command == ("sh", "main.sh")
    assert [device.id for device in declared.devices] == ["lamp", "desk"]
    assert "property_topics" not in declared.features
    assert "brightness = [100, …]" in (folder / "conformance.toml").read_text(encoding="utf-8")


@pytest.mark.soak
def test_a_connector_without_its_simulated_device_is_told_what_to_add(tmp_path: Path) -> None:
    folder = undeclared("simple", tmp_path)
    done = init(folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "[[peripherals]]: the simulated device for which conformance/instance.json leaves {port}" in done.stdout
    assert load(folder).devices == ()
    again = init(folder, "--overwrite", "--peripheral", "python simulator.py serve --port {port}", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    declared = load(folder)
    assert [device.id for device in declared.devices] == ["light1", "light2"]
    assert declared.peripherals[0].command == ("python", "simulator.py", "serve", "--port", "{port}")
    judged = run_suite("--iot2mqtt-clauses=I2M-CMD-0[1-3]", cwd=folder)
    assert judged.returncode == 0, judged.stdout


def test_a_declaration_that_exists_is_kept(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, conformance__toml="# mine\n", main__py="")
    done = init(folder, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"Error: {folder}/conformance.toml exists: edit it, or replace it with --overwrite\n"
    assert (folder / "conformance.toml").read_text(encoding="utf-8") == "# mine\n"


def test_a_connector_that_does_not_start_gives_one_sentence_with_its_last_lines(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, main__py=SILENT)
    done = init(folder, cwd=tmp_path)
    assert done.returncode == 1
    assert "ended with exit code 3" in done.stderr
    assert "the hub is not to be found" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (folder / "conformance.toml").exists()


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"main__py": "", "connector__py": ""}, ("python", "main.py")),
        ({"main__sh": "#!/usr/bin/env bash\n"}, ("bash", "main.sh")),
        ({"package__json": '{"scripts": {"start": "node --enable-source-maps dist/a.js"}}'},
         ("node", "--enable-source-maps", "dist/a.js")),
        ({"package__json": '{"main": "lib.js"}', "lib__js": ""}, ("node", "lib.js")),
        ({"Dockerfile": 'FROM x\nENTRYPOINT ["python"]\nCMD ["/app/run.py", "-v"]\n', "run__py": ""},
         ("python", "run.py", "-v")),
    ],
)  # fmt: skip
def test_the_program_is_told_by_the_folder(tmp_path: Path, files: dict[str, str], command: tuple[str, ...]) -> None:
    assert look(folder_with(tmp_path, **files)).command == command


def test_a_compiled_program_is_found_by_what_it_begins_with(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, go__mod="module x", notes__txt="")
    shutil.copy("/bin/true", folder / "connector")
    assert look(folder).command == ("./connector",)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "say so with --command"),
        ({"go__mod": "module x"}, "run go build first"),
        ({"setup__json": "{", "main__py": ""}, r"setup\.json is not JSON"),
    ],
)
def test_what_cannot_be_told_is_asked_for(tmp_path: Path, files: dict[str, str], says: str) -> None:
    with pytest.raises(AdoptionError, match=says):
        look(folder_with(tmp_path, **files))


@pytest.mark.parametrize("option", ["--command", "--peripheral"])
def test_a_quotation_that_does_not_end_is_one_sentence(option: str, tmp_path: Path) -> None:
    done = init(folder_with(tmp_path, main__py="pass"), option, "python 'x", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"{option} is no command line: No closing quotation" in done.stderr


def test_a_folder_without_an_instance_file_is_told_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(AdoptionError, match=r"write conformance/instance\.json"):
        look(tmp_path)


def test_odd_names_and_values_still_make_toml_that_loads(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, main__py="")
    odd = {'a "b".c\x7f\u00e9': True, "line\nbreak": "x\ty", "n": 1e400, "on": True}
    seen = Observed(commands=True, groups=True, states={"light1": odd}, accepted={"light1": list(odd)})
    declared = parse(written(look(folder), seen, None), folder / "conformance.toml")
    assert declared.devices[0].writable.keys() == {'a "b".c\x7f\u00e9', "on"}
