"""The sensor hub as a whole: processes that die, sensors that misbehave, and wrong settings."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from signal import SIGINT, SIGSTOP, SIGTERM, Signals
from typing import Any

import psutil
import pytest

from iot2mqtt_conformance.ports import free_port
from iot2mqtt_sdk.contract.instance import InstanceConfig
from iot2mqtt_sdk.contract.manifest import Manifest
from iot2mqtt_sdk.contract.setup import Setup
from iot2mqtt_sdk.contract.setup_check import check
from tests.mosquitto import running
from tests.reference_connectors.launched import started
from tests.reference_connectors.sensor_hub_parts import (
    CHILDREN,
    HUB,
    PATIENCE,
    fault,
    hub,
    hub_and_sensors,
    instance,
    simulator,
    temporary,
)
from tests.sdk.brokers import Broker
from tests.sdk.workshop import Program

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


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(Broker(tmp_path_factory.mktemp("broker"))) as one:
        yield one


# ---------------------------------------------------------------- processes that die
def test_a_killed_service_is_reported_for_its_devices_and_comes_back(broker: Broker, tmp_path: Path) -> None:
    # Long pauses between polls: the death must be noticed although nobody asks meanwhile.
    with hub_and_sensors(broker, tmp_path, update_interval=4) as (house, _):
        for child, devices in SERVED_BY.items():
            (victim,), since = house.family(child), house.seen.mark()
            victim.kill()
            for device in devices:
                house.error(device, "", since=since, seconds=REPORTED_WITHIN)
            reported = house.seen.mark()
            for device in DEVICES:
                house.state_since(reported, device)
            assert house.errors(since) == set(devices)
            assert house.family(child)[0].pid != victim.pid


def test_a_killed_bridge_is_offline_by_its_last_will_and_comes_back(broker: Broker, tmp_path: Path) -> None:
    with hub_and_sensors(broker, tmp_path) as (house, _):
        since = house.seen.mark()
        house.family("mqtt_bridge.py")[0].kill()
        house.seen.wait_status("offline", since=since, seconds=REPORTED_WITHIN)
        house.seen.wait_status("online", since=since)
        back = house.seen.mark()
        for device in DEVICES:
            house.state_since(back, device)


@pytest.mark.soak
def test_a_service_that_hangs_is_reported_too(broker: Broker, tmp_path: Path) -> None:
    with hub_and_sensors(broker, tmp_path, update_interval=30) as (house, _):
        (victim,), since = house.family("serial_handler.py"), house.seen.mark()
        victim.send_signal(SIGSTOP)
        house.error("temp_living_room", "does not answer", since=since)
        victim.kill()


def test_when_the_main_process_is_killed_nothing_of_the_hub_stays(broker: Broker, tmp_path: Path) -> None:
    with hub_and_sensors(broker, tmp_path) as (house, _):
        family, since = house.family(*CHILDREN), house.seen.mark()
        house.program.process.kill()
        house.seen.wait_status("offline", since=since)
        _, alive = psutil.wait_procs(family, timeout=PATIENCE)
        assert alive == []


@pytest.mark.parametrize("number", [SIGTERM, pytest.param(SIGINT, marks=pytest.mark.soak)])
def test_a_hub_listens_on_loopback_and_a_signal_stops_the_bridge_first_and_leaves_no_process_and_no_file(
    broker: Broker, tmp_path: Path, number: Signals
) -> None:
    with hub_and_sensors(broker, tmp_path) as (house, _):
        family, since = house.family(*CHILDREN), house.seen.mark()
        ends = [end for child in family for end in child.net_connections("tcp")]
        assert [end.laddr.ip for end in ends if end.status == psutil.CONN_LISTEN] == ["127.0.0.1"] * 3
        house.program.signal(number)
        house.seen.wait_status("offline", since=since)
        _, alive = psutil.wait_procs(family, timeout=PATIENCE)
        assert alive == []
        assert house.errors(since) == set()
    stopped = re.findall(r"stopped: ([\w-]+) \(exit status 0\)", house.program.log)
    assert stopped[:2] == ["mqtt-bridge", "state-aggregator"]
    assert sorted(stopped[2:]) == ["http-poller", "serial-handler"]
    assert list(temporary(tmp_path).iterdir()) == []
    lines = [line for line in house.program.lines if "Supervisor is running as root" not in line]
    names = {line.partition(" |")[0].strip() for line in lines}
    assert names == {"supervisord", "serial-handler", "http-poller", "state-aggregator", "mqtt-bridge"}


@pytest.mark.soak
def test_a_port_that_is_taken_ends_the_hub_with_1_and_a_reason(broker: Broker, tmp_path: Path) -> None:
    port = free_port()
    ports = {"serial_handler": 0, "http_poller": 0, "state_aggregator": port}
    with simulator(port, "--calm"), start(broker, tmp_path, instance(port, config={"ports": ports})) as program:
        # supervisord tries it again and again, after longer and longer pauses.
        assert program.process.wait(120) == 1
        assert f"127.0.0.1:{port} cannot be listened on" in program.log
        assert "the hub ends" in program.log


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


def test_whatever_a_sensor_does_is_told_on_its_error_topic_and_over_when_it_ends(
    broker: Broker, tmp_path: Path
) -> None:
    with hub_and_sensors(broker, tmp_path) as (house, port):
        for sensor, faults in FAULTS.items():
            begin = house.seen.mark()
            for what, code in faults.items():
                since = house.seen.mark()
                fault(port, sensor, what)
                house.error(sensor, code, since=since)
                fault(port, sensor)
                house.state(sensor)
            assert house.errors(begin) == {sensor}


def test_an_instrument_that_is_unplugged_is_used_again_when_it_is_back(broker: Broker, tmp_path: Path) -> None:
    port = free_port()
    connection = {"serial_port": f"tty-{port}", "serial_timeout": 0.2, "http_timeout": 0.5}
    with ExitStack() as stack:
        with simulator(port, "--calm"):
            house = stack.enter_context(hub(broker, tmp_path, port, connection=connection))
        house.error("temp_living_room", "PORT_UNAVAILABLE")
        stack.enter_context(simulator(port, "--calm"))
        house.state("temp_living_room")


# ---------------------------------------------------------------- settings
def start(broker: Broker, folder: Path, document: dict[str, Any], **variables: str) -> AbstractContextManager[Program]:
    """Start a hub of which nobody knows whether it will be online."""
    given = {"TMPDIR": str(temporary(folder)), **variables}
    return started(HUB.name, "main.py", document, broker=broker, folder=folder, **given)


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
    broker: Broker, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    with start(broker, tmp_path, instance(1, **changes)) as program:
        assert program.wait() == 2
    (line,) = program.lines
    assert line.startswith("main ")
    assert str(tmp_path / "instances" / "box.json") in line
    assert says in line


def test_without_a_name_of_the_instance_it_ends_with_one_sentence(broker: Broker, tmp_path: Path) -> None:
    with start(broker, tmp_path, instance(1), INSTANCE_NAME="") as program:
        assert program.wait() == 2
    assert "set INSTANCE_NAME" in program.log


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
