"""The `zigbee2mqtt` connector: what Zigbee2MQTT says, in whatever form, becomes the contract's, and vice versa."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from iot2mqtt_conformance.ports import free_port
from iot2mqtt_sdk.contract.instance import InstanceConfig
from iot2mqtt_sdk.contract.manifest import Manifest
from iot2mqtt_sdk.contract.setup import Setup
from iot2mqtt_sdk.contract.setup_check import check
from tests.conformance.suite_runs import REFERENCES
from tests.mosquitto import running
from tests.reference_connectors.launched import Launched, called, launched, simulated, started, told
from tests.sdk.brokers import Broker

NAME = "zigbee2mqtt"
FOLDER = REFERENCES / NAME
DEVICES = ("lamp1", "lamp2", "sensor", "remote")

Start = Callable[..., "Home"]


def read(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def publish(broker: Broker, topic: str, payload: str | bytes) -> None:
    """Publish as somebody else at the broker."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.publish(topic, payload, qos=1).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


class Home:
    """A running connector, and the stand-in for the Zigbee2MQTT that it wraps."""

    def __init__(self, house: Launched, port: int, base: str, broker: Broker) -> None:
        self.house = house
        self.seen = house.seen
        self._port, self.base, self.broker = port, base, broker

    def told(self, verb: str, *words: str) -> None:
        told(NAME, self._port, verb, *words)

    def read(self, device: str) -> dict[str, Any]:
        """Ask for a state."""
        since = self.seen.mark()
        self.seen.publish(f"devices/{device}/get", b"")
        return self.house.state_since(since, device)

    def say(self, topic: str, payload: Any) -> None:
        """Say something as Zigbee2MQTT, or to it."""
        publish(self.broker, f"{self.base}/{topic}", payload if isinstance(payload, bytes) else json.dumps(payload))


@contextmanager
def at_home(
    contract: Broker, folder: Path, *options: str, apart: Broker | None = None, **changes: Any
) -> Iterator[Home]:
    """Run stand-in and connector; with `apart` Zigbee2MQTT is at that broker."""
    port, broker = free_port(), apart or contract
    base = f"zigbee2mqtt/{port}"
    where = ("--port", str(port), "--broker", str(broker.port), "--base", base)
    connection = {"base_topic": base, **({"host": "127.0.0.1", "port": apart.port} if apart else {})}
    instance = {**read("conformance/instance.json"), "connection": connection, **changes}
    with (
        simulated(NAME, *where, *options),
        launched(NAME, "connector.py", instance, broker=contract, folder=folder) as house,
    ):
        for device in instance["devices"]:
            if device["device_id"] in DEVICES:
                house.availability(device["device_id"], "online")
        yield Home(house, port, base, broker)


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(Broker(tmp_path_factory.mktemp("contract"))) as broker:
        yield broker


@pytest.fixture
def start(contract: Broker, tmp_path: Path) -> Iterator[Start]:
    """Start stand-in and connector for one test."""
    with ExitStack() as stack:
        yield lambda *options, **changes: stack.enter_context(at_home(contract, tmp_path, *options, **changes))


@pytest.fixture(scope="module")
def home(contract: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """What tests share that leave the network as they have found it."""
    with at_home(contract, tmp_path_factory.mktemp("home")) as one:
        yield one


# ---------------------------------------------------------------------- states and commands
def test_values_are_what_json_has_a_type_for_and_only_what_is_exposed(home: Home) -> None:
    state = home.house.state_since(0, "lamp1")
    assert state == {
        "state": False,
        "brightness": 100,
        "color": {"x": 0.4, "y": 0.4},
        "power_on_behavior": "previous",
        "linkquality": 90,
    }
    since = home.seen.mark()
    home.say("attic/sensor", {"temperature": 3, "battery_low": True, "update": {"state": "idle"}})
    assert home.house.state_since(since, "sensor") == {"temperature": 3, "humidity": 44.7, "battery_low": True}


@pytest.mark.parametrize(
    "values",
    [
        {"state": True, "brightness": 254},
        {"power_on_behavior": "off"},
        {"color": {"x": 0.1, "y": 0.2}},
        {"color": {"hue": 120, "saturation": 50}},
        {"effect": "blink"},
    ],
)
def test_a_command_is_carried_out_and_its_values_come_back(home: Home, values: dict[str, Any]) -> None:
    answer = home.seen.command("lamp1", values)
    assert answer["status"] == "success"
    assert answer["result"] == values


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"state": "ON"}, "invalid_value"),
        ({"brightness": 255}, "invalid_value"),
        ({"power_on_behavior": "never"}, "invalid_value"),
        ({"color": "red"}, "invalid_value"),
        ({"color": {}}, "invalid_value"),
        ({"color": {"x": "left"}}, "invalid_value"),
        ({"color": {"red": 1}}, "invalid_value"),
        ({"linkquality": 1}, "unsupported_property"),
        ({"volume": 1}, "unsupported_property"),
    ],
)
def test_what_a_device_does_not_expose_is_refused(home: Home, values: dict[str, Any], code: str) -> None:
    before = home.read("lamp1")
    answer = home.seen.command("lamp1", {"state": not before["state"], **values})
    assert answer["error"]["code"] == code
    assert home.read("lamp1") == before


def test_a_press_becomes_an_event_and_no_state(home: Home) -> None:
    since = home.seen.mark()
    home.told("press", "remote")
    event = home.seen.wait("devices/remote/events", since=since).json
    assert (event["event"], event["data"]) == ("single", {"property": "action"})
    assert home.read("remote") == {"battery": 97}


def test_what_zigbee2mqtt_logs_of_a_command_is_its_answer(start: Start) -> None:
    home = start()
    since = home.seen.mark()
    home.told("slow", "lamp1", "30")
    home.seen.publish("devices/lamp1/cmd", {"id": "lost", "values": {"state": True}, "timeout": 20_000})
    text = "Publish 'set' 'state' to 'lamp1' failed: 'Error: no answer'"
    home.seen.command("lamp2", {"state": True})  # What came before it has reached Zigbee2MQTT.
    home.say("bridge/logging", {"level": "error", "message": text})
    answer = home.seen.response("lamp1", "lost", since=since)
    assert answer["error"]["code"] == "device_error"
    assert text in answer["error"]["message"]
    home.house.error("lamp1", text, since=since)


# ---------------------------------------------------------------------- availability
@pytest.mark.parametrize("options", [(), ("--legacy",)])
def test_a_device_that_goes_and_comes_is_offline_and_online_in_both_forms(start: Start, options: tuple[str]) -> None:
    home = start(*options)
    since = home.seen.mark()
    home.told("fail", "lamp1")
    home.house.error("lamp1", "Zigbee2MQTT cannot reach it", since=since)
    home.house.availability("lamp1", "offline", since=since)
    assert home.seen.command("lamp1", {"state": True})["error"]["code"] == "device_error"
    home.told("recover", "lamp1")
    home.house.availability("lamp1", "online", since=since)
    assert home.seen.command("lamp1", {"state": True})["status"] == "success"
    assert home.seen.of("devices/lamp2/error", since) == []


@pytest.mark.parametrize("options", [(), ("--legacy",)])
def test_without_zigbee2mqtt_all_devices_are_offline_until_it_is_back(start: Start, options: tuple[str]) -> None:
    home = start(*options)
    since = home.seen.mark()
    home.told("die")
    for device in DEVICES:
        assert home.house.error(device, "Zigbee2MQTT is offline", since=since)["error_code"] == "BRIDGE_OFFLINE"
        home.house.availability(device, "offline", since=since)
    back = home.seen.mark()
    home.told("live")
    for device in DEVICES:
        home.house.state_since(back, device)
        home.house.availability(device, "online", since=back)
    assert [seen.payload for seen in home.seen.of("status", since)] == []


def test_a_zigbee2mqtt_that_is_nowhere_is_missed(contract: Broker, tmp_path: Path) -> None:
    instance = {**read("conformance/instance.json"), "connection": {"base_topic": "nowhere"}}
    with launched(NAME, "connector.py", instance, broker=contract, folder=tmp_path) as house:
        house.error("sensor", "nothing is heard of Zigbee2MQTT on nowhere/bridge/state")
        house.availability("sensor", "offline")


# ---------------------------------------------------------------------- the network changes
def test_a_device_that_is_renamed_is_served_under_its_new_name(start: Start) -> None:
    home = start()
    since = home.seen.mark()
    home.say("bridge/request/device/rename", {"from": "lamp1", "to": "kitchen/ceiling"})
    home.house.state_since(since, "lamp1")
    assert home.seen.command("lamp1", {"brightness": 7})["status"] == "success"
    # Who is configured by a name is lost with it.
    home.say("bridge/request/device/rename", {"from": "lamp2", "to": "lamp3"})
    home.house.error("lamp2", "knows no device lamp2", since=since)
    home.say("bridge/request/device/rename", {"from": "lamp3", "to": "lamp2"})
    home.house.availability("lamp2", "offline", since=since)
    assert home.house.state("lamp2")


def test_a_device_that_leaves_is_offline_and_one_that_joins_is_offered(start: Start) -> None:
    home = start()
    since = home.seen.mark()
    home.say("bridge/request/device/remove", {"id": "lamp2"})
    assert home.seen.wait("devices/lamp2/events", since=since).json["event"] == "device_leave"
    assert home.house.error("lamp2", "knows no device lamp2", since=since)["error_code"] == "UNKNOWN_DEVICE"
    home.told("join")
    found = home.seen.wait("discovered", lambda seen: "newcomer" in seen.payload.decode(), since=since).json
    assert "0x00158d0000000009" in [device["address"] for device in found["devices"]]
    assert home.seen.command("lamp1", {"state": True})["status"] == "success"


def test_a_device_that_zigbee2mqtt_does_not_know_is_told_of(start: Start) -> None:
    devices = [{"device_id": "lamp1", "address": "lamp1"}, {"device_id": "ghost", "address": "0x00158d00000000ff"}]
    home = start(devices=devices, groups=[])
    message = home.house.error("ghost", "knows no device 0x00158d00000000ff: pair it")
    assert message["error_code"] == "UNKNOWN_DEVICE"
    home.house.availability("ghost", "offline")
    assert home.seen.command("lamp1", {"state": True})["status"] == "success"


def test_a_request_that_fails_is_told_of_at_the_device_that_it_is_about(home: Home) -> None:
    since = home.seen.mark()
    body = {"data": {"id": "lamp1"}, "status": "error", "error": "Failed to remove lamp1"}
    home.say("bridge/response/device/remove", body)
    message = home.house.error("lamp1", "Failed to remove lamp1", since=since)
    assert (message["error_code"], message["severity"]) == ("REQUEST_FAILED", "warning")


# ---------------------------------------------------------------------- nonsense
@pytest.mark.parametrize("way", ["half", "text", "list", "deep", "huge"])
@pytest.mark.parametrize("topic", ["lamp1", "bridge/devices"])
def test_a_message_that_is_malformed_is_told_of_and_changes_nothing(home: Home, topic: str, way: str) -> None:
    since = home.seen.mark()
    home.told("spoil", topic, way)
    message = home.house.error("lamp1", f"{topic} is left out", since=since)
    assert (message["error_code"], message["severity"]) == ("INVALID_PAYLOAD", "warning")
    assert home.seen.command("lamp1", {"brightness": 9})["status"] == "success"
    assert home.seen.of("devices/lamp1/availability", since) == []


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("bridge/state", b"maybe"),
        ("bridge/state", {"state": 5}),
        ("bridge/devices", [{"friendly_name": "half"}]),
        ("bridge/devices", [5]),
        ("bridge/event", b"{"),
        ("bridge/logging", []),
        ("bridge/response/permit_join", b"\xff"),
        ("lamp1/availability", {"state": ["online"]}),
        ("lamp1", {"power_on_behavior": "\ud800"}),
    ],
)
def test_whatever_else_is_malformed_is_told_of_too(home: Home, topic: str, payload: Any) -> None:
    since = home.seen.mark()
    home.say(topic, payload)
    home.house.error("lamp1", f"{topic} is left out", since=since)
    assert home.seen.command("lamp1", {"brightness": 9})["status"] == "success"


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("bridge/event", {"type": "device_joined", "data": {"friendly_name": ["lamp1"]}}),
        ("bridge/response/device/remove", {"status": "error", "data": {"id": {}}}),
        ("bridge/logging", {"level": "error", "message": 5}),
        ("bridge/extensions", b"\xff"),
        ("nobody/knows/this", b"{"),
        ("lamp1/unknown", b"{"),
    ],
)
def test_what_concerns_nobody_is_passed_over(home: Home, topic: str, payload: Any) -> None:
    since = home.seen.mark()
    home.say(topic, payload)
    assert home.seen.command("lamp1", {"brightness": 9})["status"] == "success"
    assert [seen.topic for seen in home.seen.all[since:] if seen.topic.endswith("/error")] == []
    assert "Traceback" not in home.house.program.log


def test_states_that_are_spoiled_by_chance_keep_nobody_from_being_served(start: Start) -> None:
    home = start("--faults", "0.5")
    for level in range(20):
        assert home.seen.command("lamp1", {"brightness": level})["status"] == "success"


# ---------------------------------------------------------------------- another broker
def test_zigbee2mqtt_at_another_broker_is_served_and_its_loss_is_told(start: Start, tmp_path: Path) -> None:
    with running(Broker(tmp_path / "apart")) as apart:
        home = start(apart=apart)
        assert home.seen.command("lamp1", {"brightness": 9})["status"] == "success"
        since = home.seen.mark()
        apart.stop()
        home.house.error("sensor", "is lost", since=since)
        home.house.availability("sensor", "offline", since=since)
        apart.start()
        back = home.seen.mark()
        home.house.state_since(back, "sensor")
        home.house.availability("sensor", "online", since=back)
        assert [seen.payload for seen in home.seen.of("status", since)] == []


def test_a_broker_that_cannot_be_reached_is_told_once(contract: Broker, tmp_path: Path) -> None:
    instance = {**read("conformance/instance.json"), "connection": {"host": "127.0.0.1", "port": free_port()}}
    with launched(NAME, "connector.py", instance, broker=contract, folder=tmp_path) as house:
        for device in DEVICES:
            house.error(device, "cannot be reached")
            house.availability(device, "offline")
            assert len(house.seen.of(f"devices/{device}/error")) == 1


@pytest.mark.parametrize(
    "connection", [{"base_topic": "a/#"}, {"base_topic": 5}, {"host": ""}, {"host": "h", "port": 0}]
)
def test_a_connection_that_cannot_be_ends_the_connector_with_one_sentence(
    contract: Broker, tmp_path: Path, connection: dict[str, Any]
) -> None:
    instance = {**read("conformance/instance.json"), "connection": connection}
    with started(NAME, "connector.py", instance, broker=contract, folder=tmp_path) as program:
        assert program.wait() == 1
        assert f"connection.{next(iter(connection))} must be" in program.log


# ---------------------------------------------------------------------- the connector's files
def test_the_files_of_the_connector_are_what_the_project_takes() -> None:
    setup, manifest = Setup.model_validate(read("setup.json")), Manifest.model_validate(read("manifest.json"))
    assert (manifest.domain, manifest.version) == (NAME, setup.version)
    assert check(setup, FOLDER) == []
    instance = InstanceConfig.from_document(read("conformance/instance.json"))
    assert tuple(device.device_id for device in instance.devices) == DEVICES


def test_discover_lists_the_devices_and_says_where_there_is_no_zigbee2mqtt(contract: Broker) -> None:
    port = free_port()
    with simulated(NAME, "--port", str(port), "--broker", str(contract.port)):
        answer = called(NAME, "discover", host="127.0.0.1", port=contract.port)
    lamp = {"address": "0x00158d0000000001", "name": "lamp1", "model": "lamp"}
    assert answer["result"]["devices"][0] == lamp
    for where in ({"port": 1}, {"port": contract.port, "base_topic": "nowhere", "timeout": 0.5}):
        refusal = called(NAME, "discover", host="127.0.0.1", **where)
        assert (refusal["error"]["code"], refusal["error"]["retriable"]) == ("unreachable", True)
