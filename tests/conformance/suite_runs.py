"""Runs the suite as a user does: pytest in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
REFERENCES = REPOSITORY / "reference_connectors"

LEFT_OUT = ("__pycache__", ".*", "node_modules", "bin")
"""What is no part of a reference connector as it is checked out."""


def copy_of(name: str, folder: Path) -> Path:
    """Copy a reference connector as it is in a fresh checkout."""
    return shutil.copytree(REFERENCES / name, folder / name, ignore=shutil.ignore_patterns(*LEFT_OUT))


def run_suite(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    # Loading a plugin that these runs have no use for takes a fifth of their start.
    unused = ["-p", "no:randomly", "-p", "no:hypothesispytest"]
    command = [sys.executable, "-m", "pytest", "--iot2mqtt-conformance", *unused, *arguments]
    # With CI set, pytest repeats every failure whole in its summary.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_") and name != "CI"}
    return subprocess.run(
        command, cwd=cwd, env={**inherited, **environment}, capture_output=True, text=True, timeout=290, check=False
    )


def connector(folder: Path, code: str, **declared: str) -> Path:
    """Write a connector of a few lines with its declaration, and return its folder."""
    (folder / "main.py").write_text(code, encoding="utf-8")
    (folder / "instance.json").write_text(json.dumps({"devices": [{"device_id": "light1"}]}), encoding="utf-8")
    keys = {"name": '"tiny"', "command": '["python", "main.py"]', "instance": '"instance.json"', **declared}
    lines = ["[connector]", *(f"{key} = {value}" for key, value in keys.items())]
    (folder / "conformance.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
