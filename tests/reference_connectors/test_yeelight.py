"""The `yeelight` connector where the suite does not look: bulbs that misbehave, push and move, and their setup."""

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from iot2mqtt_conformance.launch import Process, connector_environment
from iot2mqtt_conformance.observer import Observer
from iot2mqtt_conformance.services.choose import choose
from iot2mqtt_sdk.action_runner import run_tool
from iot2mqtt_sdk.contract.manifest import Manifest
from iot2mqtt_sdk.contract.setup import Setup
from tests.conformance.suite_runs import REFERENCES
from tests.reference_connectors.test_yeelight_simulator import PATIENCE, YEELIGHT, simulated, tell

ROOT = "IoT2mqtt/v1/instances/bulbs"
FAULTS = ["close", "half", "json", "error", "silent", "id"]
OFTEN, NEVER = 0.3, 3600.0
"""Update intervals in seconds."""


class House:
    """The running connector, and everything that it has published."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, Any]] = []
        self.observer: Observer
        self._news = asyncio.Event()

    def __call__(self, topic: str, payload: bytes, *, retained: bool) -> None:
        del retained
        text = payload.decode()
        self.messages.append((topic.removeprefix(f"{ROOT}/"), text if topic.endswith("/status") else json.loads(text)))
        self._news.set()

    @property
    def mark(self) -> int:
        return len(self.messages)

    async def until(self, topic: str, wanted: Callable[[Any], bool] = lambda _body: True, *, since: int = 0) -> Any:
        """Wait for a message and return its payload."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for name, body in self.messages[since:]:
                    if name == topic and wanted(body):
                        return body
                self._news.clear()
                await self._news.wait()

    async def state(self, device: str, *, since: int = 0, **values: Any) -> dict[str, Any]:
        """Wait for a state with these values."""
        body = await self.until(f"devices/{device}/state", lambda b: values.items() <= b["state"].items(), since=since)
        found: dict[str, Any] = body["state"]
        return found

    async def command(self, device: str, **values: Any) -> dict[str, Any]:
        """Send a command and return its response."""
        since, identity = self.mark, f"c{self.mark}"
        body = json.dumps({"id": identity, "values": values, "timeout": 15_000}).encode()
        await self.observer.publish(f"{ROOT}/devices/{device}/cmd", body)
        found: dict[str, Any] = await self.until(
            f"devices/{device}/cmd/response", lambda b: b["cmd_id"] == identity, since=since
        )
        return found

    def told(self, topic: str) -> list[Any]:
        return [body for name, body in self.messages if name == topic]


def instance(port: int, **changes: Any) -> dict[str, Any]:
    text = (YEELIGHT / "conformance" / "instance.json").read_text(encoding="utf-8").replace('"{port}"', str(port))
    return {**json.loads(text), "timeout": 0.5, **changes}


@asynccontextmanager
async def served(folder: Path, document: dict[str, Any]) -> AsyncIterator[House]:
    """Run a broker and the connector beside it until every bulb has been read."""
    (folder / "instances").mkdir(exist_ok=True)
    (folder / "instances" / "bulbs.json").write_text(json.dumps(document), encoding="utf-8")
    broker = choose("local")[0]()
    await broker.start()
    house = House()
    try:
        async with Observer((broker.host, broker.port), house) as house.observer:
            for suffix in ("status", "+/+/cmd/response", "+/+/error", "+/+/events", "+/+/state"):
                await house.observer.follow(f"{ROOT}/{suffix}")
            given = {"MQTT_HOST": broker.host, "MQTT_PORT": str(broker.port), "INSTANCE_NAME": "bulbs"}
            env = connector_environment({**given, "IOT2MQTT_PATH": str(folder)})
            process = Process([sys.executable, "connector.py"], cwd=YEELIGHT, env=env, label="yeelight")
            await process.start()
            try:
                for device in document["devices"]:
                    await house.state(device["device_id"])
                yield house
            finally:
                await process.close()
    finally:
        await broker.stop()


def play(folder: Path, scene: Callable[[House, int], Any], *options: str, **changes: Any) -> None:
    """Play a scene with the simulated bulbs and the connector."""

    async def run(port: int) -> None:
        async with served(folder, instance(port, **changes)) as house:
            await scene(house, port)

    with simulated(*(options or ("--no-quota",))) as port:
        asyncio.run(run(port))


def test_a_bulb_that_answers_badly_when_polled_is_reported_and_comes_back(tmp_path: Path) -> None:
    async def scene(house: House, port: int) -> None:
        for fault in FAULTS:
            since = house.mark
            tell(port, f"fault light1 {fault}")
            error = await house.until("devices/light1/error", since=since)
            assert (fault, error["error_code"]) == (fault, "CONNECTION_FAILED")
            assert f"127.0.0.1:{port}" in error["message"]
            since = house.mark
            await house.state("light1", since=since, power=True)
            await house.state("light2", since=since)
        assert house.told("devices/light2/error") == []

    play(tmp_path, scene, update_interval=OFTEN)


def test_a_bulb_that_answers_a_command_badly_fails_that_command_only(tmp_path: Path) -> None:
    async def scene(house: House, port: int) -> None:
        for level, fault in enumerate(FAULTS, 30):
            since = house.mark
            tell(port, f"fault light1 {fault}")
            answer = await house.command("light1", brightness=80)
            assert (fault, answer["status"]) == (fault, "error")
            assert (answer["error"]["code"], answer["error"]["retriable"]) == ("device_error", True)
            await house.until("devices/light1/error", lambda body: body["error_code"] == "COMMAND_FAILED", since=since)
            assert (await house.command("light1", brightness=level))["result"] == {"brightness": level}
            await house.state("light1", brightness=level)

    play(tmp_path, scene, update_interval=NEVER)


def test_bulbs_that_go_wrong_by_chance_are_served_all_the_same(tmp_path: Path) -> None:
    async def scene(house: House, port: int) -> None:
        del port
        for device in ("light1", "light2", "white1"):
            for _ in range(2):
                await house.until(f"devices/{device}/error", since=house.mark)
                await house.state(device, since=house.mark)

    play(tmp_path, scene, "--no-quota", "--faults", "0.3", "--seed", "7", update_interval=0.1, timeout=0.3)


def test_what_somebody_does_with_the_app_is_published_without_a_poll_and_what_was_commanded_is_no_event(
    tmp_path: Path,
) -> None:
    async def scene(house: House, port: int) -> None:
        since = house.mark
        tell(port, "toggle light1")
        state = await house.state("light1", since=since, power=False)
        assert state["brightness"] == 50
        event = await house.until("devices/light1/events", since=since)
        assert (event["event"], event["data"]) == ("changed", {"power": False})
        await house.command("light1", power=True)
        for brightness in range(20, 30):
            await house.command("light1", brightness=brightness, rgb=f"#0000{brightness}")
        since = house.mark
        tell(port, "toggle light1")
        await house.until("devices/light1/events", since=since)
        assert [event["data"] for event in house.told("devices/light1/events")] == [{"power": False}] * 2

    play(tmp_path, scene, update_interval=NEVER)


def test_effect_and_duration_reach_the_bulb_and_hold(tmp_path: Path) -> None:
    async def scene(house: House, port: int) -> None:
        await house.command("light1", brightness=30)
        assert tell(port, "last light1") == ["set_bright", 30, "sudden", 300]
        await house.command("light1", rgb="#FF8000", effect="smooth", duration=700)
        assert tell(port, "last light1") == ["set_rgb", 0xFF8000, "smooth", 700]
        state = await house.state("light1", rgb="#ff8000", color_mode="rgb")
        assert (state["effect"], state["duration"]) == ("smooth", 700)
        await house.command("light1", color_temp=2700)
        assert tell(port, "last light1") == ["set_ct_abx", 2700, "smooth", 700]
        await house.command("light2", power=False)
        assert tell(port, "last light2") == ["set_power", "off", "smooth", 500]

    play(tmp_path, scene, update_interval=NEVER)


def test_brightness_switches_a_bulb_on_unless_it_is_to_be_off(tmp_path: Path) -> None:
    async def scene(house: House, port: int) -> None:
        del port
        await house.command("light1", power=False, brightness=20)
        await house.state("light1", power=False, brightness=20)
        await house.command("light1", brightness=21)
        await house.state("light1", power=True, brightness=21)
        await house.command("light1", power=False)
        await house.command("light1", power=False, brightness=22)
        await house.state("light1", power=False, brightness=22)

    play(tmp_path, scene, update_interval=NEVER)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("white1", {"power": False, "rgb": "#ff0000"}, "unsupported_property"),
    ("white1", {"power": False, "color_temp": 2000}, "invalid_value"),
    ("light1", {"power": False, "rgb": "#ff000"}, "invalid_value"),
    ("light1", {"rgb": "#ff0000", "color_temp": 2000}, "invalid_value"),
    ("light1", {"color_mode": "rgb"}, "unsupported_property"),
]


def test_what_a_bulb_cannot_do_is_refused_before_any_of_it_is_done(tmp_path: Path) -> None:
    async def scene(house: House, port: int) -> None:
        for device, values, code in REFUSED:
            answer = await house.command(device, **values)
            assert (values, answer["error"]["code"]) == (values, code)
            assert tell(port, f"last {device}") == []

    play(tmp_path, scene, update_interval=NEVER)


def test_a_bulb_is_found_again_at_another_address(tmp_path: Path) -> None:
    async def scene(house: House, port: int) -> None:
        before = tell(port, "where light1")
        tell(port, "fail light1")
        await house.until("devices/light1/error", lambda body: "answers the search" in body["message"])
        tell(port, "recover light1")
        assert tell(port, "where light1") != before
        await house.state("light1", since=house.mark)
        assert (await house.command("light1", power=False))["status"] == "success"

    play(tmp_path, scene, update_interval=OFTEN)


def test_a_bulb_whose_quota_is_used_up_says_so(tmp_path: Path) -> None:
    async def scene(house: House, port: int) -> None:
        del port
        error = await house.until("devices/white1/error")
        assert "client quota exceeded (code -1)" in error["message"]

    play(tmp_path, scene, "--seed", "1", update_interval=0.02)


def test_a_bulb_without_id_and_address_ends_the_connector_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "instances").mkdir()
    document = instance(1, devices=[{"device_id": "light1"}])
    (tmp_path / "instances" / "bulbs.json").write_text(json.dumps(document), encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "connector.py"],
        cwd=YEELIGHT,
        env=connector_environment({"INSTANCE_NAME": "bulbs", "IOT2MQTT_PATH": str(tmp_path)}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "needs a bulb_id or a host" in line


# ---------------------------------------------------------------------- setup
def ask(tool: str, **values: Any) -> dict[str, Any]:
    """Run an action script as a backend does."""
    return run_tool(YEELIGHT, tool, values)


def test_the_setup_file_and_the_manifest_are_valid() -> None:
    setup = Setup.model_validate_json((YEELIGHT / "setup.json").read_text(encoding="utf-8"))
    manifest = Manifest.model_validate_json((YEELIGHT / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest.domain, manifest.version) == (YEELIGHT.name, setup.version)


def test_discover_lists_every_bulb_once_with_what_validate_asks_for() -> None:
    with simulated() as port:
        answer = ask("discover", address="127.0.0.1", port=port, interface="127.0.0.1", seconds=1)
        bulbs = answer["result"]["bulbs"]
        assert [bulb["model"] for bulb in bulbs] == ["color", "color", "ct2"]
        assert len({bulb["bulb_id"] for bulb in bulbs}) == 3
        found = [ask("validate", host=bulb["host"], port=bulb["port"])["result"]["properties"] for bulb in bulbs]
    assert found[0] == ["brightness", "color_mode", "color_temp", "power", "rgb"]
    assert found[2] == ["brightness", "color_mode", "color_temp", "power"]


def test_discover_says_what_to_do_where_no_bulb_answers() -> None:
    answer = ask("discover", address="127.0.0.1", port=1, interface="127.0.0.1", seconds=0.3)
    assert answer["error"]["code"] == "no_bulbs"
    assert answer["error"]["retriable"] is True
    assert "LAN control" in answer["error"]["message"]


@pytest.mark.parametrize(
    "reply",
    [b"SSH-2.0-OpenSSH_9.6\r\n", b"5\r\n", b'{"id":1}\r\n', b'{"id":1,"result":5}\r\n', b'{"id":1,"result":["on"]}\r\n',
     b'{"id":1,"result":["on","x","1","1","1"]}\r\n', b'{"id":[],"error":5}\r\n', b"\xff\xfe\r\n", b""],
)  # fmt: skip
def test_validate_says_that_what_answers_is_no_bulb(reply: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        answer = ask("validate", host="127.0.0.1", port=server.getsockname()[1], seconds=1)
        thread.join()
    assert answer["ok"] is False
    assert answer["error"]["code"] in {"unreachable", "not_a_bulb"}
    assert "127.0.0.1" in answer["error"]["message"]


def test_bulbs_are_searched_for_chosen_checked_and_then_served(tmp_path: Path) -> None:
    folder = shutil.copytree(
        YEELIGHT, tmp_path / "yeelight", ignore=shutil.ignore_patterns("instances", "__pycache__", ".*")
    )

    async def set_up(port: int) -> None:
        network = {"address": "127.0.0.1", "port": port, "interface": "127.0.0.1", "timeout": 1}
        label = {name: "{} at {}:{}".format(name, *tell(port, f"where {name}")) for name in ("light1", "white1")}
        devices = [
            {"selection": {"bulb": label["light1"]}, "form": {"about": {"name": "desk"}}},
            {"selection": {"bulb": label["white1"]}, "form": {"about": {"name": "Living room / left"}}},
        ]
        answers = tmp_path / "answers.json"
        answers.write_text(json.dumps({"form": {"network": network}, "devices": devices}), encoding="utf-8")
        program_file = str(Path(sys.executable).with_name("iot2mqtt"))
        command = [program_file, "setup", str(folder), "--answers", str(answers)]
        program = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await program.communicate()
        assert program.returncode == 0, output.decode()
        document = json.loads((folder / "instances" / "yeelight.json").read_text(encoding="utf-8"))
        assert document["discovery"] == network
        async with served(tmp_path, document) as house:
            assert "rgb" in await house.state("desk")
            (other,) = (device["device_id"] for device in document["devices"] if device["device_id"] != "desk")
            assert "rgb" not in await house.state(other)

    with simulated() as port:
        asyncio.run(set_up(port))


def test_what_the_image_copies_is_all_that_the_connector_and_its_actions_import() -> None:
    lines = (YEELIGHT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [word for line in lines if line.startswith("COPY reference") for word in line.split()[1:-1]]
    assert all((REFERENCES.parent / name).exists() for name in copied)
    wanted = {"requirements.txt", "bulb.py", "connector.py", "discovery.py", "actions"}
    assert {Path(name).name for name in copied if "/yeelight/" in name} == wanted
