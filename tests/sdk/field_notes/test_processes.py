"""Faults of another library in how its processes live: 25 to 30."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.sdk.brokers import Recorder
from tests.sdk.workshop import Workshop, lamps

from iot2mqtt_sdk.contract.setup import Setup

REPOSITORY = Path(__file__).parents[3]
SIMPLE = """
class Lamp(BaseConnector):
    def cleanup_connection(self):
        print("cleaned up", flush=True)

    def get_device_state(self, device_id, device_config):
        return {"power": True}
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_fault_25_a_signal_cleans_up_and_ends_with_code_0_at_any_interval(
    workshop: Workshop, seen: Recorder, number: signal.Signals
) -> None:
    program = workshop.program(SIMPLE, lamps("lamp", update_interval=3600))
    seen.wait("devices/lamp/state")
    code, seconds = program.signal(number)
    assert code == 0, program.log
    assert "cleaned up" in program.log
    assert seconds < 10  # that containers are given
    seen.wait_status("offline")


@pytest.mark.parametrize("level", ["debug", "Warning", "nonsense"])
def test_fault_26_any_log_level_works(workshop: Workshop, seen: Recorder, level: str) -> None:
    program = workshop.program(SIMPLE, LOG_LEVEL=level)
    seen.wait("devices/lamp/state")
    assert program.signal()[0] == 0
    assert ("LOG_LEVEL=nonsense is unknown" in program.log) == (level == "nonsense")
    assert (" INFO " in program.log) == (level != "Warning")


def test_fault_27_secrets_reach_the_devices_and_neither_log_nor_messages(workshop: Workshop, seen: Recorder) -> None:
    folder = workshop.folder / "secrets"
    folder.mkdir()
    (folder / "box_creds").write_text("password=s3cret-of-the-hub\ntoken=a=b=c-token\n", encoding="utf-8")
    document = {
        "connection": {"host": "hub", "password": "${placeholder}"},
        "devices": [{"device_id": "lamp", "api_key": "key-of-the-lamp"}],
        "update_interval": 0.1,
    }
    program = workshop.program(
        """
        class Lamp(BaseConnector):
            def initialize_connection(self):
                hub = self.config["connection"]
                assert hub == {"host": "hub", "password": "s3cret-of-the-hub", "token": "a=b=c-token"}, sorted(hub)

            def get_device_state(self, device_id, device_config):
                raise OSError(f"wrong {self.config['connection']} {device_config['api_key']}")
        """,
        document,
        LOG_LEVEL="DEBUG",
    )
    error = seen.wait("devices/lamp/error").json["message"]
    assert "***" in error
    assert program.signal()[0] == 0
    for secret in ("s3cret-of-the-hub", "a=b=c-token", "key-of-the-lamp"):
        assert secret not in program.log
        assert [found.topic for found in seen.all if secret.encode() in found.payload] == []


def test_fault_28_the_reference_connector_starts_and_keeps_running(workshop: Workshop, seen: Recorder) -> None:
    folder = REPOSITORY / "reference_connectors" / "simple"
    workshop.configure({"connection": {"host": "127.0.0.1", "port": 9}, "devices": [], "update_interval": 1})
    program = workshop.run([sys.executable, "connector.py"], folder)
    seen.wait_status("online")
    seen.publish("meta/request/info", b"")
    seen.wait("meta/info")
    assert program.process.poll() is None
    assert program.signal()[0] == 0
    assert "TypeError" not in program.log


def test_fault_29_every_setup_file_that_we_ship_is_valid() -> None:
    found = [
        *(REPOSITORY / "reference_connectors").glob("*/setup.json"),
        *(REPOSITORY / "src" / "iot2mqtt_sdk" / "templates").rglob("setup.json"),
    ]
    assert found
    for file in found:
        assert Setup.model_validate(json.loads(file.read_text(encoding="utf-8"))).flows, file


def test_fault_30_an_action_that_says_nothing_is_an_error_and_gets_its_environment(tmp_path: Path) -> None:
    actions = tmp_path / "actions"
    actions.mkdir()
    (actions / "silent.py").write_text("", encoding="utf-8")
    (actions / "tell.py").write_text(
        "import json, os\nprint(json.dumps({'ok': True, 'result': {'found': os.environ['COLOUR']}}))\n",
        encoding="utf-8",
    )
    tools = {
        "silent": {"entry": "actions/silent.py", "timeout": 20},
        "tell": {"entry": "actions/tell.py", "timeout": 20, "environment": {"COLOUR": "green"}},
    }
    (tmp_path / "setup.json").write_text(json.dumps(setup_file(tools)), encoding="utf-8")
    answers = {name: run_action(tmp_path, name) for name in tools}
    assert answers["silent"]["ok"] is False
    assert answers["silent"]["error"]["code"] == "invalid_output"
    assert answers["tell"] == {"ok": True, "result": {"found": "green"}}


def setup_file(tools: dict[str, Any]) -> dict[str, object]:
    step = {"id": "hello", "type": "message", "title": "Hello"}
    flow = {"id": "main", "name": "Main", "default": True, "steps": [step]}
    return {"version": "1.0.0", "id": "test", "display_name": "Test", "tools": tools, "flows": [flow]}


def run_action(folder: Path, tool: str) -> dict[str, Any]:
    program = Path(sys.executable).with_name("iot2mqtt")
    said = subprocess.run(
        [str(program), "action", str(folder), tool], input="{}", capture_output=True, text=True, timeout=60, check=False
    )
    assert re.match(r"\s*\{", said.stdout), said.stderr
    answer: dict[str, Any] = json.loads(said.stdout)
    return answer
