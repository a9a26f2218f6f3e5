"""Reads setup.json and manifest.json, and looks at the scripts that they name."""

import json
import os
from pathlib import Path
from typing import Any

from iot2mqtt_conformance.declared_actions import script_of
from iot2mqtt_conformance.stage import Stage

RUN = "files"
START = 512
"""Bytes that tell what a file is: a program that a compiler made has a zero byte among them."""


async def play(stage: Stage) -> None:
    """Write down what the declared files hold."""
    for kind, file in (("setup", stage.declaration.setup), ("manifest", stage.declaration.manifest)):
        if file is None:
            continue
        text, fault = _read(file)
        scripts = _scripts(file.parent.resolve(), text) if kind == "setup" else {}
        stage.recorder.add(RUN, "file", file=kind, name=file.name, text=text, fault=fault, scripts=scripts)


def _read(file: Path) -> tuple[str, str]:
    try:
        return file.read_text(encoding="utf-8"), ""
    except OSError as error:
        return "", f"it cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        return "", "it is not UTF-8"


def _scripts(folder: Path, text: str) -> dict[str, str]:
    """Return by tool why its script cannot be started; empty where it can."""
    try:
        document: Any = json.loads(text)
    except ValueError:
        return {}
    tools = document.get("tools") if isinstance(document, dict) else None
    return {name: _script_fault(folder, tool) for name, tool in tools.items()} if isinstance(tools, dict) else {}


def _script_fault(folder: Path, tool: Any) -> str:
    try:
        script = script_of(folder, tool.get("entry") if isinstance(tool, dict) else None)
    except ValueError as error:
        return str(error)
    if script.suffix == ".py":
        return ""
    if not os.access(script, os.X_OK):
        return f"its entry {script.name} is not executable"
    with script.open("rb") as file:
        start = file.read(START)
    return "" if start.startswith(b"#!") or b"\0" in start else f"its entry {script.name} is no program"
