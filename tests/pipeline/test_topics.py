"""What topics say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iot2mqtt_pipeline.errors import PermanentError
from iot2mqtt_pipeline.topics import component_of, device_of, filters, origin_of, verdict_of
from iot2mqtt_sdk.contract.topics import Topics, matches

DEVICE = "f2-e4fd45f654be"


@pytest.mark.parametrize("prefix", ["cmnd", "stat", "tele"])
def test_a_controller_tells_mode_plug_and_component(prefix: str) -> None:
    origin = origin_of(f"{prefix}/{DEVICE}/alarm-mode/J3/motion-sensor-1")
    assert origin == (DEVICE, "alarm-mode", "J3", "motion-sensor", "1", "component")
    assert device_of(f"{prefix}/{DEVICE}/alarm-mode/J3/motion-sensor-1") == DEVICE


@pytest.mark.parametrize(
    ("name", "component_type", "component_id"),
    [
        ("door-sensors", "door-sensors", None),
        ("exit-buttons", "exit-buttons", None),
        ("motion-sensor-1", "motion-sensor", "1"),
        ("strike-12", "strike", "12"),
        ("sensor-3", "sensor", "3"),
        ("sensor-3-4", "sensor-3", "4"),
        ("sensor3", "sensor3", None),
        ("sensor-", "sensor-", None),
    ],
)
def test_the_number_after_the_last_dash_is_the_id(name: str, component_type: str, component_id: str | None) -> None:
    assert component_of(name) == (component_type, component_id)


@pytest.mark.parametrize("base", ["IoT2mqtt", "site/a", "a/v1/instances/b", "v1/instances"])
@pytest.mark.parametrize("instance", ["hue", "v1", "instances"])
@pytest.mark.parametrize("device", ["light1", "state", "devices", "lampe ü"])
def test_the_state_of_a_connector_is_carried_under_any_base(base: str, instance: str, device: str) -> None:
    topic = Topics.of(base, instance).device(device, "state")
    assert origin_of(topic) == (device, "iot2mqtt", instance, "", None, "state")
    assert verdict_of(topic) == "carry"


@pytest.mark.parametrize(
    "suffix",
    [
        "status",
        "discovered",
        "meta/info",
        "meta/devices_list",
        "meta/request/info",
        "groups/all/state",
        "groups/all/cmd",
        "groups/all/cmd/response",
        "devices/d/state/brightness",
        "devices/d/cmd",
        "devices/d/cmd/response",
        "devices/d/get",
        "devices/d/error",
        "devices/d/events",
        "devices/d/telemetry",
        "devices/d/availability",
    ],
)
def test_what_else_the_contract_knows_is_ignored_and_has_no_device(suffix: str) -> None:
    topic = Topics.of("site/a", "hue").below(suffix)
    assert verdict_of(topic) == "ignore"
    with pytest.raises(PermanentError) as caught:
        device_of(topic)
    assert caught.value.reason == "unknown_topic"


def test_the_events_of_all_instances_are_ignored() -> None:
    assert verdict_of("site/a/v1/global/events") == "ignore"


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "cmnd",
        f"cmnd/{DEVICE}/alarm-mode/J3",
        f"cmnd/{DEVICE}/alarm-mode/J3/siren-1/more",
        f"cmnd/{DEVICE}/alarm-mode//siren-1",
        f"cmnd/{DEVICE}/alarm-mode/J3/siren-1\n",
        f"info/{DEVICE}/alarm-mode/J3/siren-1",
        "cmnd/f2-E4FD45F654BE/alarm-mode/J3/siren-1",
        "cmnd/f2-e4fd45f654/alarm-mode/J3/siren-1",
        "/v1/instances/i/devices/d/state",
        "IoT2mqtt/v1/instances//devices/d/state",
        "IoT2mqtt/v1/instances/i/devices//state",
        "IoT2mqtt/v1/instances/i/devices/d/state\n",
        "IoT2mqtt/v1/instances/i/devices/d/other",
        "IoT2mqtt/v2/instances/i/devices/d/state",
    ],
)
def test_other_topics_are_unknown(topic: str) -> None:
    assert verdict_of(topic) == "unknown"
    with pytest.raises(PermanentError) as caught:
        origin_of(topic)
    assert caught.value.reason == "unknown_topic"


@pytest.mark.parametrize(
    ("topic", "wanted"),
    [
        (f"cmnd/{DEVICE}/alarm-mode/J3/siren-1", True),
        (f"tele/{DEVICE}/mistaken", True),
        ("site/a/v1/instances/i/devices/d/state", True),
        ("site/a/v1/instances/i/devices/d/state/brightness", False),
        ("site/a/v1/instances/i/status", False),
        ("other/v1/instances/i/devices/d/state", False),
    ],
)
def test_the_bridge_hears_everything_of_controllers_and_only_states_of_connectors(topic: str, wanted: bool) -> None:
    assert any(matches(pattern, topic) for pattern in filters("/site/a/")) is wanted


@given(st.text())
def test_any_text_gets_a_verdict(topic: str) -> None:
    assert verdict_of(topic) in {"carry", "ignore", "unknown"}


def test_what_is_remembered_of_topics_is_bounded() -> None:
    assert origin_of.cache_parameters()["maxsize"] is not None
