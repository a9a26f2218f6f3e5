"""The `multiprocess` connector: whichever of its processes dies, that is told, and it heals by itself."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from iot2mqtt_conformance.ports import free_port
from iot2mqtt_sdk.contract.instance import InstanceConfig
from iot2mqtt_sdk.contract.manifest import Manifest
from iot2mqtt_sdk.contract.setup import Setup
from iot2mqtt_sdk.contract.setup_check import check
from tests.conformance.suite_runs import REFERENCES
from tests.mosquitto import running
from tests.reference_connectors.launched import Launched, called, launched, simulated, started, told
from tests.sdk.brokers import Broker
from tests.waiting import wait_until

NAME = "multiprocess"
FOLDER = REFERENCES / NAME
DEVICES = {"poller": ["pump1", "pump2"], "listener": ["gate1"]}
REPORTED_WITHIN = 10.0


def read(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(Broker(tmp_path_factory.mktemp("broker"))) as one:
        yield one


@contextmanager
def pumping(broker: Broker, folder: Path) -> Iterator[tuple[Launched, int]]:
    """Run a pump house and the connector; yield the connector, and the port of the pump house."""
    port = free_port()
    # A long interval: what is told in time is not told by a poll that happens to come.
    instance = {**read("conformance/instance.json"), "update_interval": 60}
    instance["connection"] = {"host": "127.0.0.1", "port": port}
    with (
        simulated(NAME, "--port", str(port)),
        launched(NAME, "supervisor.py", instance, broker=broker, folder=folder) as house,
    ):
        for device in ("pump1", "pump2", "gate1"):
            house.availability(device, "online")
        yield house, port


@pytest.fixture
def mortal(broker: Broker, tmp_path: Path) -> Iterator[tuple[Launched, int]]:
    """A connector whose processes one test may kill."""
    with pumping(broker, tmp_path) as found:
        yield found


@pytest.fixture
def house(mortal: tuple[Launched, int]) -> Launched:
    return mortal[0]


@pytest.fixture(scope="module")
def steady(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Launched, int]]:
    """A connector that tests share which leave its processes alone."""
    with pumping(broker, tmp_path_factory.mktemp("steady")) as found:
        yield found


def kill(house: Launched, name: str) -> None:
    house.family(f"{name}.py")[0].kill()


@pytest.mark.parametrize("worker", ["poller", "listener"])
def test_a_worker_that_is_killed_is_told_of_and_comes_back(house: Launched, worker: str) -> None:
    since, began = house.seen.mark(), time.monotonic()
    kill(house, worker)
    for device in DEVICES[worker]:
        message = house.error(device, f"the {worker} was killed by SIGKILL", since=since, seconds=REPORTED_WITHIN)
        assert (message["error_code"], message["severity"]) == ("PROCESS_DIED", "error")
        house.availability(device, "offline", since=since, seconds=REPORTED_WITHIN)
    assert time.monotonic() - began < REPORTED_WITHIN
    for device in DEVICES[worker]:
        house.state_since(since, device)
        house.availability(device, "online", since=since)
    others = [device for name, devices in DEVICES.items() if name != worker for device in devices]
    assert [seen for device in others for seen in house.seen.of(f"devices/{device}/error", since)] == []
    assert [seen.payload for seen in house.seen.of("status", since)] == []


def test_a_bridge_that_is_killed_is_told_of_by_its_last_will_and_comes_back(house: Launched) -> None:
    poller = house.child("poller.py")
    since = house.seen.mark()
    kill(house, "bridge")
    house.seen.wait_status("offline", since=since, seconds=REPORTED_WITHIN)
    house.seen.wait_status("online", since=since)
    for device in ("pump1", "gate1"):
        house.state_since(since, device)
    assert house.seen.command("pump1", {"speed": 33})["status"] == "success"
    assert house.child("poller.py") == poller


def test_a_worker_that_dies_again_and_again_is_started_less_and_less_often(house: Launched) -> None:
    for delay in ("0.5", "1.0", "2.0"):
        wait_until(lambda: house.child("listener.py"))
        kill(house, "listener")
        house.error("gate1", f"started again in {delay} s")


def test_a_command_in_flight_is_answered_when_its_worker_dies(mortal: tuple[Launched, int]) -> None:
    house, port = mortal
    told(NAME, port, "slow", "pump1", "4")
    since = house.seen.mark()
    house.seen.publish("devices/pump1/cmd", {"id": "doomed", "values": {"speed": 10}, "timeout": 20_000})
    house.seen.publish("devices/pump2/cmd", {"id": "well", "values": {"speed": 10}})
    assert house.seen.response("pump2", "well", since=since)["status"] == "success"
    kill(house, "poller")
    answer = house.seen.response("pump1", "doomed", since=since)
    assert answer["status"] == "error"
    assert "the poller has ended" in answer["error"]["message"]


def test_sigterm_stops_the_bridge_first_and_leaves_no_process(house: Launched) -> None:
    family = psutil.Process(house.program.process.pid).children()
    assert len(family) == 3
    since = house.seen.mark()
    code, seconds = house.program.signal(signal.SIGTERM)
    assert code == 0
    assert seconds < REPORTED_WITHIN
    house.seen.wait_status("offline", since=since)
    assert [process for process in family if process.is_running()] == []
    # Nobody was told of a death: what was stopped in order has not died.
    assert [seen.topic for seen in house.seen.all[since:] if seen.topic.endswith("/error")] == []


def test_nothing_outlives_a_supervisor_that_is_killed(house: Launched) -> None:
    family = psutil.Process(house.program.process.pid).children()
    house.program.process.kill()
    house.seen.wait_status("offline")
    gone, alive = psutil.wait_procs(family, timeout=10)
    assert (len(gone), alive) == (3, [])


def test_a_worker_that_does_not_stop_is_killed_in_time(house: Launched) -> None:
    stuck = house.child("poller.py")
    assert stuck is not None
    os.kill(stuck.pid, signal.SIGSTOP)
    code, seconds = house.program.signal(signal.SIGTERM)
    assert code == 0
    assert seconds < REPORTED_WITHIN
    assert not stuck.is_running()


def test_a_configuration_at_fault_ends_all_processes_with_its_code(broker: Broker, tmp_path: Path) -> None:
    with started(NAME, "supervisor.py", {"devices": 5}, broker=broker, folder=tmp_path) as program:
        assert program.wait() == 2
        assert "box.json is malformed" in program.log


@pytest.mark.parametrize("way", ["half", "nothing", "broken", "text", "huge"])
def test_an_answer_that_is_spoiled_is_told_of_and_the_next_one_is_taken(steady: tuple[Launched, int], way: str) -> None:
    house, port = steady
    told(NAME, port, "spoil", "pump1", way)
    since = house.seen.mark()
    house.seen.publish("devices/pump1/get", b"")
    house.error("pump1", "", since=since)
    house.seen.publish("devices/pump1/get", b"")
    house.state_since(since, "pump1", speed=50)
    assert house.seen.of("devices/pump2/error", since) == []


@pytest.mark.parametrize("way", ["half", "broken", "text", "huge"])
def test_a_line_unasked_that_is_spoiled_is_told_of_and_listening_goes_on(
    steady: tuple[Launched, int], way: str
) -> None:
    house, port = steady
    since = house.seen.mark()
    told(NAME, port, "spoil", "gate1", way)
    house.error("gate1", "the controller", since=since)
    house.availability("gate1", "offline", since=since)
    house.availability("gate1", "online", since=since)
    since = house.seen.mark()

    def opened() -> bool:
        # The poller may have found the gate before the listener has called again: what it missed was no event.
        told(NAME, port, "close", "gate1")
        told(NAME, port, "open", "gate1")
        return any(seen.json["event"] == "opened" for seen in house.seen.of("devices/gate1/events", since))

    wait_until(opened)


def test_the_files_of_the_connector_are_what_the_project_takes() -> None:
    setup, manifest = Setup.model_validate(read("setup.json")), Manifest.model_validate(read("manifest.json"))
    assert (manifest.domain, manifest.version) == (NAME, setup.version)
    assert check(setup, FOLDER) == []
    instance = InstanceConfig.from_document(read("conformance/instance.json"))
    assert [device.device_id for device in instance.devices] == ["pump1", "pump2", "gate1"]


def test_the_action_lists_the_devices_and_says_where_nothing_answers(steady: tuple[Launched, int]) -> None:
    port = steady[1]
    answer = called(NAME, "validate", host="127.0.0.1", port=port)
    assert {"address": "gate1", "type": "gate"} in answer["result"]["devices"]
    refusal = called(NAME, "validate", host="127.0.0.1", port=1)
    assert (refusal["error"]["code"], refusal["error"]["retriable"]) == ("unreachable", True)


def test_the_image_holds_every_program_and_module_of_the_connector() -> None:
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    copied = set(re.findall(r"multiprocess/(\w+\.py)", text))
    assert copied == {file.name for file in FOLDER.glob("*.py")} - {"simulator.py"}


def test_the_supervisor_needs_nothing_but_python_and_is_small() -> None:
    lines = (FOLDER / "supervisor.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert [line for line in lines if "import" in line and "iot2mqtt" in line] == []
