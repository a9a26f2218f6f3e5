"""`iot2mqtt watch`: in a terminal, and into a pipe."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.sdk.cli.command import IOT2MQTT, SECONDS, Running, at, environment, mosquitto

from iot2mqtt_conformance.ports import free_port

STATE = json.dumps({"timestamp": "2026-01-01T00:00:00.000Z", "device_id": "light1", "state": {"power": True}})


class Terminal:
    """A terminal of 60 columns and 12 lines in which `iot2mqtt watch` runs."""

    def __init__(self, port: int) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 60, 0, 0))
        self.process = subprocess.Popen(
            [IOT2MQTT, "watch"],
            env=environment(TERM="xterm", **at(port)),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.raw = ""

    def screen(self) -> list[str]:
        """Return the lines of the last drawing, without colours."""
        text = re.sub(r"\x1b\[[\d;?]*[a-ln-zA-GI-Z]|\x1b\[[\d;]*m", "", self.raw)
        return [line.rstrip() for line in text.rpartition("\x1b[H")[2].splitlines()]

    def wait_for(self, pattern: str) -> None:
        """Wait until a line of the screen matches."""
        deadline = time.monotonic() + SECONDS
        while not any(re.search(pattern, line) for line in self.screen()):
            ready, _, _ = select.select([self._ours], [], [], deadline - time.monotonic())
            assert ready, f"{pattern!r} did not appear on:\n" + "\n".join(self.screen())
            self.raw += os.read(self._ours, 65536).decode()

    def end(self) -> int:
        """Press Ctrl-C, and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(SECONDS)
        while select.select([self._ours], [], [], 0)[0]:
            try:
                self.raw += os.read(self._ours, 65536).decode()
            except OSError:
                break  # the other side has gone
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)


@pytest.fixture
def terminal(broker: int) -> Iterator[Terminal]:
    made = Terminal(broker)
    yield made
    made.close()


def test_the_table_lives_and_leaves_the_terminal_as_it_was(terminal: Terminal, say: Callable[[str, str], None]) -> None:
    terminal.wait_for("no instance has said anything yet")
    say("kitchen/status", "online")
    say("kitchen/devices/light1/availability", '"online"')
    say("kitchen/devices/light1/state", STATE)
    terminal.wait_for(r"^kitchen  online  1 device$")
    terminal.wait_for(r"^  light1  online +\d+d  power=true$")
    say("kitchen/devices/light1/error", '{"error_code": "device_error", "message": "the bulb \\u001b[2J burns"}')
    terminal.wait_for(r"^    ! the bulb .\[2J burns \(device_error\)$")
    assert "\x1b[32m" in terminal.raw
    assert terminal.end() == 0
    assert terminal.raw.startswith("\x1b[?1049h\x1b[?25l")
    assert terminal.raw.endswith("\x1b[?25h\x1b[?1049l")


def test_a_broker_that_goes_away_is_shown_and_connected_to_again(tmp_path: Path) -> None:
    port = free_port()
    with mosquitto(tmp_path, port):
        terminal = Terminal(port)
        try:
            terminal.wait_for("^connected$")
        except AssertionError:
            terminal.close()
            raise
    try:
        terminal.wait_for("trying again$|…$")
        assert "cannot be reached" in terminal.raw or "lost" in terminal.raw
        with mosquitto(tmp_path, port):
            terminal.wait_for("^connected$")
        assert terminal.end() == 0
    finally:
        terminal.close()


def test_a_pipe_gets_lines_without_control_characters(broker: int, say: Callable[[str, str], None]) -> None:
    say("kitchen/status", "online\x1b[2J")
    say("cellar/status", "online")
    with Running(IOT2MQTT, "watch", "kitchen", variables=at(broker)) as watching:
        watching.wait_for(r"^\d{4}-\d\d-\d\dT[\d:.]+Z kitchen/status online.\[2J$")
        say("kitchen/devices/light1/state", STATE)
        watching.wait_for(r"kitchen/devices/light1/state \{.*\"power\": true")
        assert watching.end(signal.SIGTERM) == 0
    assert "\x1b" not in watching.output
    assert "cellar" not in watching.output


def test_json_is_one_object_a_line_for_each_message(broker: int, say: Callable[[str, str], None]) -> None:
    say("kitchen/status", "online")
    say("kitchen/devices/light1/state", STATE)
    say("kitchen/devices/light1/state/name", r'"half a letter: \ud800"')
    with Running(IOT2MQTT, "watch", "--json", variables=at(broker)) as watching:
        watching.wait_for('light1/state"')
        watching.wait_for(r"half a letter: \\ud800")
        watching.wait_for("kitchen/status")
        assert watching.end(signal.SIGINT) == 0
    documents = [json.loads(line) for line in watching.lines]
    found = {document["topic"].removeprefix("IoT2mqtt/v1/instances/"): document for document in documents}
    assert found["kitchen/status"]["payload"] == "online"
    assert found["kitchen/status"]["retained"] is True
    assert found["kitchen/devices/light1/state"]["payload"] == json.loads(STATE)


def test_a_reader_that_has_seen_enough_ends_it_quietly(broker: int, say: Callable[[str, str], None]) -> None:
    say("kitchen/status", "online")
    command = f"{IOT2MQTT} watch --json | head -n 1"
    with Running("bash", "-c", command, variables=at(broker)) as watching:
        watching.wait_for("kitchen/status")
        say("kitchen/devices/light1/state", STATE)
        watching.process.wait(SECONDS)
    assert len(watching.lines) == 1


def test_a_name_that_cannot_be_an_instances_exits_with_2(broker: int) -> None:
    with Running(IOT2MQTT, "watch", "kit+chen", variables=at(broker)) as watching:
        watching.wait_for("Error: instance id 'kit\\+chen'")
        assert watching.process.wait(SECONDS) == 2
