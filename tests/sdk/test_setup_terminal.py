"""Flows that somebody answers at a terminal."""

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner, Result
from tests.waiting import wait_until

from iot2mqtt_sdk.cli import cli
from iot2mqtt_sdk.runtime.config import secrets as read_secrets

FLOWS = Path(__file__).parent / "setup_flows"
IOT2MQTT = str(Path(sys.executable).with_name("iot2mqtt"))
SECONDS = 30
FIELDS = ["porch", "hunter22", "", "", "", "two", "lines", "", "2", "y", "2"]
"""What is typed into the form of the flow `all`, line by line."""
TO_THE_END = [*FIELDS, "http://localhost/?code=the-code&state=x", "y", "2,1", "y"]


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FLOWS / "everything", tmp_path / "everything"))


@pytest.fixture
def heater(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FLOWS / "heater", tmp_path / "heater"))


def type_in(folder: Path, *lines: str) -> Result:
    return CliRunner().invoke(cli, ["setup", str(folder)], input="".join(f"{line}\n" for line in lines))


def instances(folder: Path) -> dict[str, Any]:
    found = sorted((folder / "instances").glob("*"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in found}


def test_what_is_typed_becomes_the_instance(everything: Path) -> None:
    result = type_in(everything, "1", *TO_THE_END)
    assert result.exit_code == 0, result.output
    written = instances(everything)["all_of_porch"]
    assert [device["device_id"] for device in written["devices"]] == ["porch_1", "porch_0"]
    assert written["config"]["fields"] | {"password": None} == {
        "text": "porch",
        "password": None,
        "ip": None,
        "url": None,
        "email": None,
        "textarea": "two\nlines",
        "number": 2,
        "checkbox": True,
        "select": 2,
    }
    assert read_secrets(everything / "secrets" / "all_of_porch_creds")["config_code"] == "the-code"
    assert "Twice was chosen." in result.output
    assert "hunter22" not in result.output


def test_prompts_show_label_help_placeholder_choices_and_default(heater: Path, everything: Path) -> None:
    said = type_in(heater, "ada", "pw", "n", "Living room").output
    assert "Password: \n" in said
    assert "Name (such as Living room): " in said
    said = type_in(everything, "1", *FIELDS).output
    assert "number [5]: " in said
    assert "  1) Slowly\n  2) Twice\nselect [1]: " in said


def test_a_wrong_value_is_asked_for_again(everything: Path) -> None:
    lines = TO_THE_END.copy()
    lines[2:3] = ["300.1.1.1", "192.0.2.1"]
    result = type_in(everything, "1", *lines)
    assert "Error: this must be an IP address such as 192.168.1.50" in result.output
    assert instances(everything)["all_of_porch"]["config"]["fields"]["ip"] == "192.0.2.1"


def test_the_address_of_a_configured_provider_is_shown(everything: Path) -> None:
    folder = everything / "config" / "oauth"
    folder.mkdir(parents=True)
    provider = {"authorization_endpoint": "https://acme.example/auth", "client_id": "me", "token_endpoint": "x"}
    (folder / "acme.json").write_text(json.dumps(provider), encoding="utf-8")
    said = type_in(everything, "1", *FIELDS).output
    assert "https://acme.example/auth?response_type=code&client_id=me&scope=read+write\n" in said


def test_advanced_fields_are_asked_for_on_demand_only(heater: Path) -> None:
    device = ["Attic", "192.0.2.2", "n", "n"]
    assert type_in(heater, "ada", "pw", "n", *device).exit_code == 0
    assert instances(heater)["heaters"]["update_interval"] == 30
    shutil.rmtree(heater / "instances")
    shutil.rmtree(heater / "secrets")
    assert type_in(heater, "ada", "pw", "y", "7", *device).exit_code == 0
    assert instances(heater)["heaters"]["update_interval"] == 7


def test_devices_are_added_until_the_user_has_enough_and_never_more_than_fit(heater: Path) -> None:
    devices = [line for number in "123" for line in (f"Heater {number}", f"192.0.2.{number}", "n", "y")]
    result = type_in(heater, "ada", "pw", "n", *devices)
    assert result.exit_code == 0, result.output
    assert "Add another heater?" in result.output
    assert "That is the last one: 3 fit." in result.output
    assert [d["device_id"] for d in instances(heater)["heaters"]["devices"]] == ["heater_1", "heater_2", "heater_3"]


def test_a_device_that_is_there_already_is_asked_for_again(heater: Path) -> None:
    first, again = ["Attic", "192.0.2.2", "n", "y"], ["Attic", "192.0.2.3", "n", "1"]
    result = type_in(heater, "ada", "pw", "n", *first, *again, "Cellar", "192.0.2.3", "n", "n")
    assert "there is a device 'Attic' already" in result.output
    assert [d["device_id"] for d in instances(heater)["heaters"]["devices"]] == ["Attic", "Cellar"]


def test_after_a_failed_tool_the_user_goes_back_with_the_earlier_values_as_defaults(heater: Path) -> None:
    result = type_in(heater, "ada", "pw", "n", "Attic", "192.0.2.99", "y", "4711", "2", "", "192.0.2.2", "", "", "n")
    assert result.exit_code == 0, result.output
    assert "no heater answers at 192.0.2.99 to ***" in result.output
    assert "Address [192.0.2.99]: " in result.output
    assert "4711" not in result.output
    assert instances(heater)["heaters"]["devices"][0]["ip"] == "192.0.2.2"
    assert read_secrets(heater / "secrets" / "heaters_creds")["devices_0_pin"] == "4711"


def test_a_summary_that_is_wrong_leads_back(everything: Path) -> None:
    result = type_in(everything, "1", *TO_THE_END[:-1], "n", "1", "y")
    assert result.exit_code == 0, result.output
    assert result.output.count("Is this right?") == 2
    assert [d["device_id"] for d in instances(everything)["all_of_porch"]["devices"]] == ["porch_0"]


def test_the_user_may_leave_after_a_failure(heater: Path) -> None:
    result = type_in(heater, "ada", "pw", "n", "Attic", "192.0.2.99", "n", "3")
    assert result.exit_code == 0
    assert "Nothing was written." in result.output
    assert not (heater / "instances").exists()


def test_the_buttons_of_a_step_do_what_they_say(everything: Path) -> None:
    said = type_in(everything, "2", "2", "7", "5", "4", "6", "porch").output
    assert "Open http://example.org/manual" in said
    assert "This button works in a web interface only." in said
    assert said.count("8) Leave") == 5
    assert list(instances(everything)) == ["porch"]


def test_a_button_leads_to_another_flow(everything: Path) -> None:
    assert "This takes a minute." in type_in(everything, "2", "3", *TO_THE_END).output
    assert list(instances(everything)) == ["all_of_porch"]


def test_a_button_with_a_question_is_pressed_only_after_yes(everything: Path) -> None:
    result = type_in(everything, "2", "8", "n", "8", "y")
    assert result.output.count("Really?") == 2
    assert "Nothing was written." in result.output


def test_an_id_that_is_taken_is_asked_for_again(everything: Path) -> None:
    type_in(everything, "2", "1", "porch")
    result = type_in(everything, "2", "1", "porch", "porch", "../Other one")
    assert result.exit_code == 0, result.output
    assert set(instances(everything)) == {"porch", "other_one"}
    assert instances(everything)["other_one"]["instance_id"] == "other_one"


def test_input_that_ends_early_leaves_nothing_behind(everything: Path) -> None:
    result = type_in(everything, "1", *FIELDS)
    assert result.exit_code == 1
    assert "stopped before the end; nothing was written" in result.output
    assert not (everything / "instances").exists()


class Screen:
    """A command in a real pseudo-terminal."""

    def __init__(self, *command: str) -> None:
        self._terminal, theirs = pty.openpty()
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        self.shown = ""
        self._seen = 0

    def wait_for(self, text: str) -> None:
        """Read until a text appears after the last one that was waited for."""
        deadline = time.monotonic() + SECONDS
        while text not in self.shown[self._seen :]:
            ready, _, _ = select.select([self._terminal], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, self.shown
            self.shown += os.read(self._terminal, 4096).decode()
        self._seen = self.shown.index(text, self._seen) + len(text)

    def type(self, line: str) -> None:
        os.write(self._terminal, f"{line}\n".encode())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(SECONDS)
        os.close(self._terminal)


def test_a_secret_typed_into_a_real_terminal_is_not_echoed(heater: Path) -> None:
    screen = Screen(IOT2MQTT, "setup", str(heater))
    try:
        for prompt, line in [("User: ", "ada"), ("Password: ", "correct horse"), ("settings?", "n")]:
            screen.wait_for(prompt)
            screen.type(line)
        for prompt, line in [("room): ", "Attic"), ("Address: ", "192.0.2.2"), ("PIN? ", "n"), ("another", "n")]:
            screen.wait_for(prompt)
            screen.type(line)
        screen.wait_for("--instance heaters")
        assert screen.process.wait(SECONDS) == 0
    finally:
        screen.close()
    assert "ada" in screen.shown
    assert "correct horse" not in screen.shown
    assert read_secrets(heater / "secrets" / "heaters_creds") == {"password": "correct horse"}


def test_ctrl_c_leaves_nothing_behind(heater: Path) -> None:
    screen = Screen(IOT2MQTT, "setup", str(heater))
    try:
        screen.wait_for("User: ")
        screen.type("ada")
        screen.wait_for("Password: ")
        # The pseudo-terminal is not the process's controlling one, so that Ctrl-C comes as what it means.
        screen.process.send_signal(signal.SIGINT)
        screen.wait_for("nothing was written")
        assert screen.process.wait(SECONDS) == 1
    finally:
        screen.close()
    assert "Traceback" not in screen.shown
    assert not (heater / "instances").exists()


def ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_sigterm_during_a_tool_ends_the_tool_as_well(heater: Path) -> None:
    os.mkfifo(heater / "news")
    script = "import os, time\nopen('news', 'w').write(str(os.getpid()))\ntime.sleep(60)\n"
    (heater / "actions" / "probe.py").write_text(script, encoding="utf-8")
    news = os.open(heater / "news", os.O_RDONLY | os.O_NONBLOCK)
    command = [IOT2MQTT, "setup", str(heater), "--answers", str(heater / "answers.json")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert select.select([news], [], [], SECONDS)[0]
        tool = int(os.read(news, 20))
        process.terminate()
        assert process.wait(SECONDS) == 1
        assert process.stderr is not None
        assert "nothing was written" in process.stderr.read()
    os.close(news)
    # The tool is nobody's child any more: whoever reaps it may take a moment, or never do so.
    wait_until(lambda: ended(tool))
    assert not (heater / "instances").exists()
