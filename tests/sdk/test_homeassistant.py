"""Home Assistant is told of the devices: what it would make of it, on a real broker and with real templates."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import jinja2
import pytest
from tests.sdk.live import Ear, mosquitto, retained, write_instance

from iot2mqtt_conformance.ports import free_port
from iot2mqtt_sdk import BaseConnector
from iot2mqtt_sdk.contract.topics import Topics
from iot2mqtt_sdk.errors import ConfigurationError
from iot2mqtt_sdk.homeassistant import component, device_config, object_id
from iot2mqtt_sdk.properties import Property
from iot2mqtt_sdk.runtime.device import DeviceState

ROOT = "site/a/v1/instances/kitchen"
TOPICS = Topics.of("site/a", "kitchen")
LAMP = f"homeassistant/device/{object_id(TOPICS, 'lamp')}/config"
COMMANDS = f"{ROOT}/devices/lamp/cmd"
ON_BIRTH = "homeassistant/status"
TEMPLATES = jinja2.Environment(autoescape=False)  # noqa: S701 - Home Assistant's templates make no HTML
PREVIOUS = {"availability": [{"topic": f"{ROOT}/status"}], "cmps": {"power": {"p": "switch", "name": "Power"}}}
"""What this instance has said in an earlier life, as far as it matters."""


class Lamp(BaseConnector):
    update_interval = 0.2
    properties: ClassVar[Any] = {
        "power": Property(bool, writable=True),
        "brightness": Property(int, writable=True, minimum=0, maximum=100, unit="%"),
        'odd "name" {{x}}': Property(str, writable=True),
        "temperature": Property(float, unit="°C", device_class="temperature", state_class="measurement"),
    }

    def initialize_connection(self) -> None:
        self.broken = False
        self.state: dict[str, Any] = {"power": True, "brightness": 80, 'odd "name" {{x}}': "a", "temperature": None}

    def get_device_state(self, device_id: str, device_config: Any) -> Any:  # noqa: ARG002
        if self.broken:
            raise OSError("unplugged")
        return self.state

    def set_device_state(self, device_id: str, device_config: Any, state: Any) -> Any:  # noqa: ARG002
        self.state.update(state)
        return True


class Doorbell(BaseConnector):
    properties: ClassVar[Any] = {"pressed": Property(bool)}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    with mosquitto(tmp_path, free_port()) as port:
        yield port


@pytest.fixture
def ear(broker: int) -> Iterator[Ear]:
    ear = Ear(broker)
    yield ear
    ear.close()


Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, broker: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run a connector of the instance `kitchen`, with discovery on unless it is said otherwise."""
    started: list[BaseConnector] = []

    def start(kind: type[BaseConnector] = Lamp, devices: Any = ({"device_id": "lamp"},), **variables: str) -> Any:
        write_instance(tmp_path, "kitchen", devices=list(devices))
        settings = {
            "INSTANCE_NAME": "kitchen",
            "IOT2MQTT_PATH": str(tmp_path),
            "MQTT_HOST": "127.0.0.1",
            "MQTT_PORT": str(broker),
            "MQTT_BASE_TOPIC": "site/a",
            "HOMEASSISTANT_DISCOVERY": "true",
            **variables,
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        connector = kind()
        started.append(connector)
        connector.start()
        return connector

    yield start
    for connector in started:
        connector.stop()


def render(template: str, payload: str) -> str:
    """Return what Home Assistant makes of a payload: it has the text, and the parsed JSON."""
    return TEMPLATES.from_string(template).render(value=payload, value_json=json.loads(payload))


def command(entity: dict[str, Any], value: Any) -> str:
    return TEMPLATES.from_string(entity["command_template"]).render(value=value)


def test_a_described_device_is_announced_so_that_home_assistant_reads_its_state(run: Run, ear: Ear) -> None:
    run(devices=[{"device_id": "lamp", "friendly_name": "Table lamp", "model": "L1"}])
    config = json.loads(ear.until(LAMP))
    assert config["dev"] == {"ids": [object_id(TOPICS, "lamp")], "name": "Table lamp", "mdl": "L1"}
    assert config["o"]["name"] == "iot2mqtt-sdk"
    assert config.keys() <= {"dev", "o", "cmps", "availability", "availability_mode", "qos"}, "others are refused"
    read = {
        entity["name"]: render(entity["value_template"], ear.until(entity["state_topic"]))
        for entity in config["cmps"].values()
    }
    assert read == {"Power": "ON", "Brightness": "80", 'Odd "name" {{x}}': "a", "Temperature": "None"}
    assert {entity["name"]: entity["p"] for entity in config["cmps"].values()} == {
        "Power": "switch",
        "Brightness": "number",
        'Odd "name" {{x}}': "text",
        "Temperature": "sensor",
    }
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", key) for key in config["cmps"])


def test_what_home_assistant_sends_reaches_the_device(run: Run, ear: Ear) -> None:
    run()
    entities = {entity["name"]: entity for entity in json.loads(ear.until(LAMP))["cmps"].values()}
    ear.until(f"{ROOT}/status", "online".__eq__)
    ear.publish(entities["Power"]["command_topic"], entities["Power"]["payload_off"])
    ear.publish(entities["Brightness"]["command_topic"], command(entities["Brightness"], 35))
    odd = entities['Odd "name" {{x}}']
    ear.publish(odd["command_topic"], command(odd, 'say "}}" ü'))
    ear.until(entities["Power"]["state_topic"], "false".__eq__)
    ear.until(entities["Brightness"]["state_topic"], "35".__eq__)
    ear.until(odd["state_topic"], lambda payload: json.loads(payload) == 'say "}}" ü')


def test_availability_has_the_payloads_that_are_published(run: Run, ear: Ear) -> None:
    connector = run()
    status, own = json.loads(ear.until(LAMP))["availability"]
    ear.until(status["topic"], status["payload_available"].__eq__)
    ear.until(own["topic"], own["payload_available"].__eq__)
    connector.broken = True
    ear.until(own["topic"], own["payload_not_available"].__eq__)
    connector.stop()
    ear.until(status["topic"], status["payload_not_available"].__eq__)
    assert json.loads(ear.until(LAMP))["availability_mode"] == "all"


def test_a_device_that_is_not_polled_is_available_with_its_instance(run: Run, ear: Ear) -> None:
    run(Doorbell, devices=[{"device_id": "bell"}])
    config = json.loads(ear.until(f"homeassistant/device/{object_id(TOPICS, 'bell')}/config"))
    assert [entry["topic"] for entry in config["availability"]] == [f"{ROOT}/status"]


def test_devices_are_announced_again_when_home_assistant_starts(run: Run, ear: Ear) -> None:
    run()
    first = ear.until(LAMP)
    ear.publish(ON_BIRTH, "offline")
    ear.publish(ON_BIRTH, "online")
    assert ear.until(LAMP, after=1) == first


def test_devices_are_announced_again_to_a_broker_that_has_forgotten_them(run: Run, tmp_path: Path) -> None:
    port = free_port()
    with mosquitto(tmp_path, port) as first:
        ear = Ear(first)
        run(MQTT_PORT=str(port))
        ear.until(LAMP)
        ear.close()
    with mosquitto(tmp_path, port) as second:
        ear = Ear(second)
        ear.until(LAMP)
        ear.close()


def test_a_device_that_left_is_removed_and_those_of_others_stay(run: Run, ear: Ear, broker: int) -> None:
    gone = f"homeassistant/device/{object_id(TOPICS, 'gone')}/config"
    other = {**PREVIOUS, "availability": [{"topic": "site/a/v1/instances/cellar/status"}]}
    strange = {"elsewhere": json.dumps(other), "odd": '{"availability": 5}', "empty": "[]", "no_json": "{"}
    ear.publish(gone, json.dumps(PREVIOUS), retain=True)
    for name, payload in strange.items():
        ear.publish(f"homeassistant/device/{name}/config", payload, retain=True)
    run()
    ear.until(gone, "".__eq__)
    left = retained(broker, "homeassistant/device/+/config")
    assert left.keys() == {LAMP, *(f"homeassistant/device/{name}/config" for name in strange)}


def test_a_disabled_device_is_not_shown(run: Run, ear: Ear, broker: int) -> None:
    ear.publish(LAMP, json.dumps(PREVIOUS), retain=True)
    run(devices=[{"device_id": "lamp", "enabled": False}, {"device_id": "spare"}])
    ear.until(LAMP, "".__eq__)
    assert LAMP not in retained(broker, "homeassistant/device/+/config")


def test_a_property_that_left_is_removed_and_forgotten_with_the_next_start(run: Run, ear: Ear) -> None:
    components = {"power": {"p": "switch", "name": "Power"}, "volume": {"p": "number", "name": "Volume"}}
    ear.publish(LAMP, json.dumps({**PREVIOUS, "cmps": components}), retain=True)
    connector = run()
    removing = ear.until(LAMP, lambda payload: '"volume"' in payload, after=1)
    assert json.loads(removing)["cmps"]["volume"] == {"p": "number"}
    assert json.loads(removing)["cmps"]["power"]["unique_id"]
    connector.stop()
    before = len(ear.on(LAMP))
    run()
    assert "volume" not in json.loads(ear.until(LAMP, after=before))["cmps"]


def test_nothing_is_published_outside_the_instance_unless_it_is_asked_for(run: Run, ear: Ear) -> None:
    run(HOMEASSISTANT_DISCOVERY="")
    ear.publish(ON_BIRTH, "online")
    ear.until(f"{ROOT}/devices/lamp/state", after=2)
    assert {topic for topic, _ in ear.heard if not topic.startswith(f"{ROOT}/")} == {ON_BIRTH}


def test_the_prefix_can_be_another(run: Run, ear: Ear) -> None:
    run(HOMEASSISTANT_PREFIX="house/ha/")
    before = LAMP.replace("homeassistant", "house/ha")
    ear.until(before)
    ear.publish("house/ha/status", "online")
    ear.until(before, after=1)


def test_a_prefix_that_cannot_be_one_is_refused_before_anything_starts(run: Run) -> None:
    with pytest.raises(ConfigurationError, match=r"HOMEASSISTANT_PREFIX.*'home/#'"):
        run(HOMEASSISTANT_PREFIX="home/#")


def test_a_command_that_the_description_forbids_is_refused_and_never_reaches_the_hook(run: Run, ear: Ear) -> None:
    connector = run(HOMEASSISTANT_DISCOVERY="")
    ear.until(f"{ROOT}/status", "online".__eq__)
    before = dict(connector.state)
    ear.publish(COMMANDS, json.dumps({"id": "1", "values": {"power": False, "brightness": 101}}))
    ear.publish(COMMANDS, json.dumps({"id": "2", "values": {"temperature": 20}}))
    ear.publish(COMMANDS, json.dumps({"id": "3", "values": {"colour": "red"}}))
    answers = {}
    for number in range(3):
        answer = json.loads(ear.until(f"{COMMANDS}/response", after=number))
        answers[answer["cmd_id"]] = answer["error"]["code"]
    assert answers == {"1": "invalid_value", "2": "unsupported_property", "3": "unsupported_property"}
    assert connector.state == before


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        (Property(bool, device_class="door"), {"p": "binary_sensor", "payload_on": "ON", "device_class": "door"}),
        (Property(int, unit="W"), {"p": "sensor", "unit_of_measurement": "W"}),
        (Property(float, writable=True), {"p": "number", "min": -(2**31 - 1), "step": 0.1, "mode": "box"}),
        (Property(float, writable=True, minimum=5, maximum=30, step=0.5), {"min": 5, "max": 30, "step": 0.5}),
        (Property(str, options=("a", "b")), {"p": "sensor", "device_class": "enum", "options": ["a", "b"]}),
        (Property(str, writable=True, options=("a", "b")), {"p": "select", "options": ["a", "b"]}),
        (Property(str, options=("a", "b"), device_class="other"), {"p": "sensor", "device_class": "enum"}),
        (Property(str), {"p": "sensor"}),
    ],
)
def test_each_kind_of_property_becomes_the_entity_that_fits(described: Property, expected: dict[str, Any]) -> None:
    body = component("x/cmd", "level", described)
    assert expected.items() <= body.items()
    assert ("command_topic" in body) == described.writable


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("b", "a_b", "c"), ("b", "a", "b_c")),
        (("b", "a", "lämp"), ("b", "a", "lömp")),
        (("b", "a", "l" * 80), ("b", "a", "l" * 81)),
        (("b", "a", "c"), ("d", "a", "c")),
    ],
)
def test_names_that_look_alike_do_not_meet_in_home_assistant(one: Any, other: Any) -> None:
    ids = [object_id(Topics.of(base, instance), device) for base, instance, device in (one, other)]
    assert ids[0] != ids[1]
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", identity) for identity in ids)


def test_the_ids_of_entities_stay_the_same_from_version_to_version() -> None:
    device = DeviceState("lamp", {}, enabled=True, model=None, properties={"power": Property(bool)})
    config = device_config(TOPICS, device, polled=True)
    assert config["cmps"]["power"]["unique_id"] == "iot2mqtt_kitchen_lamp_52d7dbb234_power"
