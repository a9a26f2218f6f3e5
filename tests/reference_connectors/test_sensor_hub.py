"""The sensor hub as a whole: processes that die, sensors that misbehave, and wrong settings."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGSTOP, SIGTERM
from typing import Any

import psutil
import pytest

from iot2mqtt_conformance.ports import free_port
from iot2mqtt_sdk.contract.instance import InstanceConfig
from iot2mqtt_sdk.contract.manifest import Manifest
from iot2mqtt_sdk.contract.setup import Setup
from iot2mqtt_sdk.contract.setup_check import check
from tests.reference_connectors.sensor_hub_parts import (
    CHILDREN,
    HUB,
    PATIENCE,
    RunningHub,
    environment,
    fault,
    instance,
    running,
    simulator,
)

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")

DEVICES = ("temp_living_room", "motion_front_door", "humidity_living_room", "motion_back_door")
REPORTED_WITHIN = 10.0
SERVED_BY = {
    "serial_handler.py": ("temp_living_room", "humidity_living_room"),
    "http_poller/index.js": ("motion_front_door", "motion_back_door"),
    "state_aggregator.py": DEVICES,
}


def read(name: str) -> Any:
    return json.loads((HUB / name).read_text(encoding="utf-8"))


# ---------------------------------------------------------------- processes that die
@pytest.mark.parametrize("child", SERVED_BY)
def test_a_killed_service_is_reported_for_its_devices_and_comes_back(tmp_path: Path, child: str) -> None:
    async def play() -> None:
        # Long pauses between polls: the death must be noticed although nobody asks meanwhile.
        async with running(tmp_path, update_interval=4) as hub:
            victim, since = hub.child(child), hub.mark
            victim.kill()
            async with asyncio.timeout(REPORTED_WITHIN):
                for device in SERVED_BY[child]:
                    await hub.error(device, since=since)
            reported = hub.mark
            for device in DEVICES:
                await hub.state(device, since=reported)
            others = {topic for topic, _ in hub.messages[since:] if topic.endswith("/error")}
            assert others == {f"devices/{device}/error" for device in SERVED_BY[child]}
            assert hub.child(child).pid != victim.pid

    asyncio.run(play())


def test_a_killed_bridge_is_offline_by_its_last_will_and_comes_back(tmp_path: Path) -> None:
    async def play() -> None:
        async with running(tmp_path) as hub:
            since = hub.mark
            hub.child("mqtt_bridge.py").kill()
            async with asyncio.timeout(REPORTED_WITHIN):
                await hub.status("offline", since=since)
            await hub.status("online", since=since)
            for device in DEVICES:
                await hub.state(device, since=hub.mark)

    asyncio.run(play())


@pytest.mark.slow
def test_a_service_that_hangs_is_reported_too(tmp_path: Path) -> None:
    async def play() -> None:
        async with running(tmp_path, update_interval=30) as hub:
            since, victim = hub.mark, hub.child("serial_handler.py")
            victim.send_signal(SIGSTOP)
            await hub.error("temp_living_room", since=since, says="does not answer")
            victim.kill()

    asyncio.run(play())


def test_when_the_main_process_is_killed_nothing_of_the_hub_stays(tmp_path: Path) -> None:
    async def play() -> None:
        async with running(tmp_path) as hub:
            family, since = [hub.child(text) for text in CHILDREN], hub.mark
            os.kill(hub.process.pid or 0, SIGKILL)
            await hub.status("offline", since=since)
            _, alive = psutil.wait_procs(family, timeout=PATIENCE)
            assert alive == []

    asyncio.run(play())


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
def test_a_signal_stops_the_bridge_first_and_leaves_no_process_and_no_file(tmp_path: Path, number: int) -> None:
    async def play() -> RunningHub:
        async with running(tmp_path) as hub:
            family, since = [hub.child(text) for text in CHILDREN], hub.mark
            os.kill(hub.process.pid or 0, number)
            await hub.status("offline", since=since)
            await asyncio.wait_for(hub.process.exited.wait(), PATIENCE)
            _, alive = psutil.wait_procs(family, timeout=PATIENCE)
            assert alive == []
            assert "error" not in {topic.rpartition("/")[2] for topic, _ in hub.messages[since:]}
        return hub

    hub = asyncio.run(play())
    stopped = [found[1] for line in hub.lines if (found := re.search(r"stopped: ([\w-]+) \(exit status 0\)", line))]
    assert stopped[:2] == ["mqtt-bridge", "state-aggregator"]
    assert sorted(stopped[2:]) == ["http-poller", "serial-handler"]
    assert list((tmp_path / "temporary").iterdir()) == []


def test_each_line_of_the_log_begins_with_its_process_and_every_service_listens_on_loopback_only(
    tmp_path: Path,
) -> None:
    async def play() -> RunningHub:
        async with running(tmp_path) as hub:
            found = [c for text in CHILDREN for c in hub.child(text).net_connections("tcp")]
            listening = [c.laddr.ip for c in found if c.status == psutil.CONN_LISTEN]
            assert listening == ["127.0.0.1"] * 3
        return hub

    lines = [line for line in asyncio.run(play()).lines if "Supervisor is running as root" not in line]
    names = {line.partition(" |")[0].strip() for line in lines}
    assert names == {"supervisord", "serial-handler", "http-poller", "state-aggregator", "mqtt-bridge"}


@pytest.mark.slow
def test_a_port_that_is_taken_ends_the_hub_with_1_and_a_reason(tmp_path: Path) -> None:
    port = free_port()
    ports = {"serial_handler": 0, "http_poller": 0, "state_aggregator": port}
    with simulator(port, "--calm"):
        result = start(tmp_path, instance(port, config={"ports": ports}), seconds=120)
    assert result.returncode == 1
    assert f"127.0.0.1:{port} cannot be listened on" in result.stderr
    assert "the hub ends" in result.stdout


# ---------------------------------------------------------------- sensors that misbehave
FAULTS = {
    "temp_living_room": {
        "silent": "READ_TIMEOUT",
        "half": "READ_TIMEOUT",
        "noise": "READ_ERROR",
        "refuse": "READ_ERROR",
    },
    "motion_front_door": {
        "silent": "POLL_TIMEOUT",
        "slow 5": "POLL_TIMEOUT",
        "half": "UNREACHABLE",
        "broken": "BAD_ANSWER",
        "500": "BAD_STATUS",
        "302": "BAD_STATUS",
        "endless": "BAD_ANSWER",
    },
}


@pytest.mark.parametrize("sensor", FAULTS)
def test_whatever_a_sensor_does_is_told_on_its_error_topic_and_over_when_it_ends(tmp_path: Path, sensor: str) -> None:
    async def play() -> None:
        async with running(tmp_path) as hub:
            for what, code in FAULTS[sensor].items():
                since = hub.mark
                fault(hub.port, sensor, what)
                await hub.error(sensor, since=since, says=code)
                fault(hub.port, sensor)
                await hub.state(sensor, since=hub.mark)
            others = {topic for topic, _ in hub.messages if topic.endswith("/error")}
            assert others == {f"devices/{sensor}/error"}

    asyncio.run(play())


def test_an_instrument_that_is_unplugged_is_used_again_when_it_is_back(tmp_path: Path) -> None:
    async def play() -> None:
        port = free_port()
        connection = {"serial_port": f"tty-{port}", "serial_timeout": 0.2, "http_timeout": 0.5}
        other = simulator(port, "--calm")
        with other:
            hub_runs = running(tmp_path, connection=connection)
            hub = await hub_runs.__aenter__()
        try:
            await hub.error("temp_living_room", since=hub.mark, says="PORT_UNAVAILABLE")
            with simulator(port, "--calm"):
                await hub.state("temp_living_room", since=hub.mark)
        finally:
            await hub_runs.__aexit__(None, None, None)

    asyncio.run(play())


# ---------------------------------------------------------------- settings
def start(folder: Path, document: dict[str, Any], *, seconds: float = PATIENCE, **variables: str) -> Any:
    env = {**environment(folder, document, ("127.0.0.1", 1)), **variables}
    command = [sys.executable, "main.py"]
    return subprocess.run(command, cwd=HUB, env=env, capture_output=True, text=True, timeout=seconds, check=False)


def sensor(**changes: Any) -> list[dict[str, Any]]:
    return [{"device_id": "porch", "sensor_type": "motion", "url": "http://127.0.0.1/motion", **changes}]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"devices": sensor(sensor_type="light")}, "sensor_type of the device porch must be one of"),
        ({"devices": sensor(url="porch")}, "url of the device porch must be an address"),
        ({"devices": sensor(url=5)}, "porch.url is missing"),
        ({"devices": sensor(sensor_type="humidity")}, "porch.address is missing"),
        ({"devices": sensor(sensor_type="humidity", address="a\nREAD b")}, "address of the device porch must be"),
        ({"connection": {}}, "connection.serial_port is missing"),
        ({"config": {"cache_ttl": "soon"}}, "config.cache_ttl (or the variable CACHE_TTL) must be a number"),
        ({"config": {"poll_interval": -1}}, "config.poll_interval (or the variable POLL_INTERVAL) must be a number"),
        ({"config": {"ports": {"state_aggregator": 65536}}}, "config.ports.state_aggregator must be a number"),
        ({"config": {"ports": {"aggregator": 5003}}}, "config.ports must be an object that holds nothing but"),
        ({"config": {"ports": 5003}}, "config.ports must be an object that holds nothing but"),
    ],
)
def test_a_wrong_instance_file_ends_the_hub_with_2_and_one_sentence(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    result = start(tmp_path, instance(1, **changes))
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("main ")
    assert "hub.json" in line
    assert says in line


def test_without_a_name_of_the_instance_it_ends_with_one_sentence(tmp_path: Path) -> None:
    result = start(tmp_path, instance(1), INSTANCE_NAME="")
    assert result.returncode == 2
    assert "set INSTANCE_NAME" in result.stderr


# ---------------------------------------------------------------- files
def test_the_setup_file_and_the_manifest_are_valid_and_name_the_ports_of_the_services() -> None:
    setup, manifest = Setup.model_validate(read("setup.json")), Manifest.model_validate(read("manifest.json"))
    assert manifest.domain == HUB.name
    assert check(setup, HUB) == []
    assert [service.port for service in manifest.services.values()] == [5001, 5002, 5003, None]


def test_the_example_instance_is_one_that_the_sdk_takes() -> None:
    found = InstanceConfig.from_document(read("conformance/instance.json"))
    assert [device.device_id for device in found.devices] == list(DEVICES)


def test_what_the_image_copies_is_all_that_the_hub_needs() -> None:
    lines = (HUB / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    copied = {
        Path(word).name
        for line in lines
        if line.startswith("COPY reference_connectors/")
        for word in line.split()[1:-1]
    }
    programs = {file.name for file in HUB.iterdir() if file.suffix in {".py", ".conf"}} - {"simulator.py"}
    assert programs | {"requirements.txt", "http_poller", "actions"} == copied
