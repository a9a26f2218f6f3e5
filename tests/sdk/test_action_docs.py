"""The page about actions: its files and commands do what it says."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from iot2mqtt_sdk.contract.setup import Setup

PAGE = Path(__file__).parents[2] / "docs" / "actions.md"
BLOCK = re.compile(r'^``` \{ \.\w+ title="([^"]+)" \}\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@pytest.fixture
def commands(tmp_path: Path) -> list[list[str]]:
    """Write the files of the page into a folder; return its commands."""
    blocks = dict(BLOCK.findall(PAGE.read_text(encoding="utf-8")))
    listed = [shlex.split(line) for line in blocks.pop("commands").splitlines()]
    assert set(blocks) == {"actions/validate.py", "actions/discover.sh", "setup.json"}
    for name, text in blocks.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
    return listed


def call(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": programs},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_commands_of_the_page_answer_as_it_says(commands: list[list[str]], tmp_path: Path) -> None:
    discover, validate = [call(command, tmp_path) for command in commands]

    assert discover.returncode == 0
    assert json.loads(discover.stdout)["result"] == [{"host": "192.168.1.50", "region": "eu"}]
    assert discover.stderr == "looking around in eu\n"
    assert validate.returncode == 1
    assert json.loads(validate.stdout)["error"]["code"] == "unreachable"


def test_the_page_s_action_finds_a_lamp_that_is_there(commands: list[list[str]], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as lamp:
        inputs = {"host": "127.0.0.1", "port": lamp.getsockname()[1], "password": "hunter2"}
        result = call([*commands[1][:-1], json.dumps(inputs)], tmp_path)

    assert json.loads(result.stdout)["result"]["protected"] is True
    assert "hunter2" not in result.stdout + result.stderr


@pytest.mark.usefixtures("commands")
def test_the_page_s_setup_json_is_valid(tmp_path: Path) -> None:
    setup = Setup.model_validate_json((tmp_path / "setup.json").read_text(encoding="utf-8"))

    assert set(setup.tools) == {"validate", "discover"}
