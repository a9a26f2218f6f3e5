"""The `shell` connector where the conformance suite does not look: hostile words, dying programs, settings."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM
from typing import Any

import psutil
import pytest

from iot2mqtt_conformance.launch import Process, connector_environment
from iot2mqtt_conformance.observer import Observer
from iot2mqtt_conformance.services.base import Broker
from iot2mqtt_conformance.services.choose import choose
from tests.conformance.suite_runs import REFERENCES

SHELL = REFERENCES / "shell"
ROOT = "IoT2mqtt/v1/instances/box"
PATIENCE = 20.0
Message = tuple[str, str]

pytestmark = pytest.mark.skipif(shutil.which("mosquitto_sub") is None, reason="mosquitto_sub is not installed")


class Box:
    """A running connector, and everything that it has published."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.messages: list[Message] = []
        self.process: Process
        self.observer: Observer
        self._news = asyncio.Event()

    def __call__(self, topic: str, payload: bytes, *, retained: bool) -> None:
        del retained
        self.messages.append((topic.removeprefix(f"{ROOT}/"), payload.decode()))
        self._news.set()

    async def until(self, topic: str, wanted: Callable[[str], bool], *, since: int = 0) -> str:
        """Wait for a message and return its payload."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for name, payload in self.messages[since:]:
                    if name == topic and wanted(payload):
                        return payload
                self._news.clear()
                await self._news.wait()

    async def status(self, word: str, *, since: int = 0) -> None:
        await self.until("status", lambda payload: payload == word, since=since)

    async def send(self, suffix: str, payload: str) -> None:
        await self.observer.publish(f"{ROOT}/{suffix}", payload.encode())

    async def ask(self, command: dict[str, Any], device: str = "lamp") -> dict[str, Any]:
        """Send a command and return its response."""
        since = len(self.messages)
        await self.send(f"devices/{device}/cmd", json.dumps(command))
        text = await self.until(
            f"devices/{device}/cmd/response", lambda p: json.loads(p)["cmd_id"] == command["id"], since=since
        )
        answer: dict[str, Any] = json.loads(text)
        return answer

    def children(self, name: str) -> list[psutil.Process]:
        family = {child.pid for child in psutil.Process(self.process.pid).children(recursive=True)}
        return [p for p in psutil.process_iter(["name"]) if p.pid in family and p.info["name"] == name]

    def run_folder(self) -> Path:
        (folder,) = (self.folder / "temporary").iterdir()
        return folder


def environment(folder: Path, broker: Broker) -> dict[str, str]:
    for name in ("instances", "temporary"):
        (folder / name).mkdir()
    shutil.copy(SHELL / "conformance" / "instance.json", folder / "instances" / "box.json")
    config = json.loads((folder / "instances" / "box.json").read_text(encoding="utf-8"))
    (folder / "instances" / "box.json").write_text(json.dumps({**config, "update_interval": 0.5}), encoding="utf-8")
    given = {"IOT2MQTT_PATH": folder, "INSTANCE_NAME": "box", "TMPDIR": folder / "temporary"}
    address = {"MQTT_HOST": broker.host, "MQTT_PORT": broker.port}
    return connector_environment({name: str(value) for name, value in {**given, **address}.items()})


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Box]:
    """Run a broker and the connector beside it until it is online."""
    broker = choose("local")[0]()
    await broker.start()
    box = Box(folder)
    try:
        async with Observer((broker.host, broker.port), box) as box.observer:
            for suffix in ("status", "+/+/cmd/response", "+/+/error", "+/+/state", "meta/+"):
                await box.observer.follow(f"{ROOT}/{suffix}")
            env = environment(folder, broker)
            box.process = Process(["sh", "main.sh"], cwd=SHELL, env=env, label="shell")
            await box.process.start()
            try:
                await box.status("online")
                yield box
            finally:
                await box.process.close()
    finally:
        await broker.stop()


HOSTILE = [
    "$(touch {marker})",
    "`touch {marker}`",
    "; touch {marker} #",
    '"; touch {marker}; echo "',
    "' ; touch {marker} ; '",
    "\n touch {marker} \n",
    '\tlamp\t"1"\t-\t-\tpower=true',
    "%s%n\\0 \\c \u00e9 \U0001f4a1",
    "*",
    "-x",
]


def test_words_of_a_message_are_never_commands_and_ids_come_back_as_they_were(tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    async def play() -> None:
        async with running(tmp_path) as box:
            for word in (text.replace("{marker}", str(marker)) for text in HOSTILE):
                answer = await box.ask({"id": word, "values": {word: word, "power": word}})
                assert answer["status"] == "error"
                refused = await box.ask({"id": f"{word}2", "timestamp": word, "values": {"power": True}})
                assert refused["error"]["code"] == "invalid_command"
                await box.send("devices/lamp/get", json.dumps({"properties": [word]}))
            answer = await box.ask({"id": "end", "values": {"power": True}})
            assert answer["result"] == {"power": True}

    asyncio.run(play())
    assert not marker.exists()


def test_a_value_of_a_megabyte_is_refused_and_the_connector_goes_on(tmp_path: Path) -> None:
    async def play() -> None:
        async with running(tmp_path) as box:
            answer = await box.ask({"id": "big", "values": {"power": "x" * 1_000_000}})
            assert answer["error"]["code"] == "invalid_value"
            assert (await box.ask({"id": "end", "values": {"brightness": 7}}))["status"] == "success"

    asyncio.run(play())


@pytest.mark.parametrize("program", ["mosquitto_sub", "awk"])
def test_a_program_that_dies_is_started_again(tmp_path: Path, program: str) -> None:
    async def play() -> None:
        async with running(tmp_path) as box:
            (victim,) = box.children(program)
            since = len(box.messages)
            victim.kill()
            await box.status("online", since=since)
            assert (await box.ask({"id": "after", "values": {"power": True}}))["status"] == "success"

    asyncio.run(play())


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
def test_a_signal_says_offline_and_leaves_no_file_and_no_process(tmp_path: Path, number: int) -> None:
    async def play() -> None:
        async with running(tmp_path) as box:
            family = psutil.Process(box.process.pid).children(recursive=True)
            since = len(box.messages)
            os.kill(box.process.pid or 0, number)
            await box.status("offline", since=since)
            await asyncio.wait_for(box.process.exited.wait(), PATIENCE)
            _, alive = psutil.wait_procs(family, timeout=PATIENCE)
            assert alive == []
            assert list((tmp_path / "temporary").iterdir()) == []

    asyncio.run(play())


def test_when_the_process_that_serves_is_killed_the_status_is_offline(tmp_path: Path) -> None:
    async def play() -> None:
        async with running(tmp_path) as box:
            (subscriber,) = box.children("mosquitto_sub")
            since = len(box.messages)
            os.kill(subscriber.ppid(), SIGKILL)
            await box.status("offline", since=since)
            await asyncio.wait_for(box.process.exited.wait(), PATIENCE)

    asyncio.run(play())


def test_a_lamp_that_cannot_be_read_is_reported_and_comes_back(tmp_path: Path) -> None:
    async def play() -> None:
        async with running(tmp_path) as box:
            file = box.run_folder() / "lamp.lamp"
            kept = file.read_text(encoding="utf-8")
            file.unlink()
            error = json.loads(await box.until("devices/lamp/error", lambda _payload: True))
            assert error["error_code"] == "device_error"
            await box.until("devices/lamp/state", lambda payload: json.loads(payload)["state"] == {"online": False})
            answer = await box.ask({"id": "dark", "values": {"power": True}})
            assert answer["error"]["code"] == "device_error"
            since = len(box.messages)
            file.write_text(kept, encoding="utf-8")
            await box.until("devices/lamp/state", lambda p: json.loads(p)["state"]["online"] is True, since=since)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"INSTANCE_NAME": ""}, "INSTANCE_NAME is not set"),
        ({"INSTANCE_NAME": "a/b"}, "INSTANCE_NAME and CONNECTOR_TYPE must hold no"),
        ({"MQTT_PORT": "mqtt"}, "MQTT_PORT is `mqtt`"),
        ({"MQTT_PORT": "65536"}, "MQTT_PORT is `65536`"),
        ({"MQTT_KEEPALIVE": "99999999999999999999"}, "MQTT_KEEPALIVE is"),
        ({"MQTT_QOS": "3"}, "MQTT_QOS is `3`"),
        ({}, "box.json cannot be read"),
    ],
)
def test_a_wrong_setting_ends_it_with_one_sentence(tmp_path: Path, settings: dict[str, str], says: str) -> None:
    env = connector_environment({"IOT2MQTT_PATH": str(tmp_path), "INSTANCE_NAME": "box", **settings})
    result = subprocess.run(
        ["sh", "main.sh"], cwd=SHELL, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("ERROR ")
    assert says in line


def test_the_script_is_portable_shell() -> None:
    assert subprocess.run(["sh", "-n", "main.sh"], cwd=SHELL, check=False).returncode == 0
    copied = (SHELL / "Dockerfile").read_text(encoding="utf-8")
    for file in SHELL.iterdir():
        if file.suffix in {".awk", ".sh"}:
            assert f"{file.name} " in copied
