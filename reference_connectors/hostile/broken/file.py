"""I2M-FILE: the connector's own files. These mutants change files, so they are made of a copy of this folder."""

import json
from pathlib import Path
from typing import Any

from broken.registry import breaks_files

SETUP = Path("setup.json")
MANIFEST = Path("manifest.json")
UNREADABLE = ("I2M-FILE-02",)
"""The flows of a file that does not fit its schema cannot be walked."""


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _write(file: Path, document: Any) -> None:
    file.write_text(json.dumps(document, indent=2), encoding="utf-8")


def _step(setup: Any, kind: str) -> Any:
    return next(step for step in setup["flows"][0]["steps"] if step["type"] == kind)


@breaks_files("I2M-FILE-01")
def no_script() -> None:
    """A tool's script does not exist."""
    setup = _read(SETUP)
    setup["tools"]["blink"] = {"entry": "actions/blink.py"}
    _write(SETUP, setup)


@breaks_files("I2M-FILE-01.outside")
def script_outside() -> None:
    """A tool's script lies outside of the connector's folder."""
    setup = _read(SETUP)
    setup["tools"]["blink"] = {"entry": "/bin/sh"}
    _write(SETUP, setup)


@breaks_files("I2M-FILE-01.twice")
def one_id_twice() -> None:
    """Two flows have the same id."""
    setup = _read(SETUP)
    setup["flows"].append({**setup["flows"][0], "default": False})
    _write(SETUP, setup)


@breaks_files("I2M-FILE-01.defaults")
def two_defaults() -> None:
    """Two flows are the default."""
    setup = _read(SETUP)
    setup["flows"].append({**setup["flows"][0], "id": "again"})
    _write(SETUP, setup)


@breaks_files("I2M-FILE-01.tool")
def unknown_tool() -> None:
    """A step runs a tool that is not declared."""
    setup = _read(SETUP)
    _step(setup, "tool").update(tool="valdate", output_key="validate")
    _write(SETUP, setup)


@breaks_files("I2M-FILE-01.type", company=UNREADABLE)
def unknown_field_type() -> None:
    """A field is of a type that there is not."""
    setup = _read(SETUP)
    _step(setup, "form")["schema"]["fields"][0]["type"] = "hostname"
    _write(SETUP, setup)


@breaks_files("I2M-FILE-01.stepless", company=UNREADABLE)
def no_steps() -> None:
    """A flow has no steps."""
    setup = _read(SETUP)
    setup["flows"].append({"id": "empty", "name": "Empty", "steps": []})
    _write(SETUP, setup)


@breaks_files("I2M-FILE-01.nameless", company=UNREADABLE)
def no_display_name() -> None:
    """It does not say what the connector is called."""
    setup = _read(SETUP)
    del setup["display_name"]
    _write(SETUP, setup)


@breaks_files("I2M-FILE-02")
def unknown_field() -> None:
    """A template names a field that the form does not have."""
    setup = _read(SETUP)
    _step(setup, "tool")["input"]["host"] = "{{ form.bridge.hots }}"
    _write(SETUP, setup)


@breaks_files("I2M-FILE-02.early")
def too_early() -> None:
    """The tool runs before the form is shown."""
    setup = _read(SETUP)
    steps = setup["flows"][0]["steps"]
    steps[0], steps[1] = steps[1], steps[0]
    _write(SETUP, setup)


@breaks_files("I2M-FILE-02.result")
def no_such_result() -> None:
    """A template names what the tool does not answer, so that the device has no id."""
    setup = _read(SETUP)
    _step(setup, "instance")["instance"]["devices"][0]["device_id"] = "{{ selection.light.adress }}"
    _write(SETUP, setup)


@breaks_files("I2M-FILE-02.level")
def two_levels() -> None:
    """The device's id is no single level of a topic."""
    setup = _read(SETUP)
    _step(setup, "instance")["instance"]["devices"][0]["device_id"] = "bridge/{{ selection.light.address }}"
    _write(SETUP, setup)


@breaks_files("I2M-FILE-02.interval")
def interval_in_words() -> None:
    """The interval is what somebody typed into a field for text."""
    setup = _read(SETUP)
    _step(setup, "instance")["instance"]["update_interval"] = "{{ form.bridge.host }}"
    _write(SETUP, setup)


@breaks_files("I2M-FILE-03")
def no_domain() -> None:
    """The manifest does not say whose it is."""
    manifest = _read(MANIFEST)
    del manifest["domain"]
    _write(MANIFEST, manifest)


@breaks_files("I2M-FILE-03.json")
def half_a_manifest() -> None:
    """The manifest was cut off while it was written."""
    text = MANIFEST.read_text(encoding="utf-8")
    MANIFEST.write_text(text[: len(text) // 2], encoding="utf-8")
