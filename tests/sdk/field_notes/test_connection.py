"""Faults of another library in how it connects: 1 to 4, 15 to 17."""

import time
from typing import Any

import pytest
from tests.mosquitto import running
from tests.sdk.brokers import Broker, Faults, Recorder
from tests.sdk.workshop import Workshop, lamps
from tests.waiting import DEADLINE, wait_until

from iot2mqtt_conformance.ports import free_port
from iot2mqtt_sdk import BaseConnector, BrokerError, MQTTClient


class Lamp(BaseConnector):
    def get_device_state(self, device_id: str, device_config: Any) -> Any:
        return {"power": True, "of": device_id, "at": device_config.get("at")}

    def set_device_state(self, device_id: str, device_config: Any, state: Any) -> Any:
        return (device_id, device_config) and dict(state)


def test_fault_01_online_is_said_again_after_every_reconnection(
    workshop: Workshop, faults: Faults, seen: Recorder
) -> None:
    workshop.serve(Lamp)
    seen.wait_status("online")
    for _ in range(2):
        mark = seen.mark()
        faults.do(lambda proxy: proxy.cut())
        seen.wait_status("offline", since=mark)
        seen.wait_status("online", since=mark)
    assert faults.packets("PUBLISH")[0]["topic"].endswith("/status")
    late = Recorder(int(seen._client.port), seen.base)
    assert late.wait("status").payload == b"online"
    late.close()


def test_fault_02_online_waits_until_the_devices_are_initialised(
    workshop: Workshop, faults: Faults, seen: Recorder
) -> None:
    said: list[int] = []

    class Careful(Lamp):
        def initialize_connection(self) -> None:
            faults.wait_packets("SUBACK", 1, "b2c")
            said.append(len(seen.of("status")))

    workshop.serve(Careful)
    seen.wait_status("online")
    assert said == [0]


def test_fault_03_a_failed_initialisation_leaves_offline_and_ends_with_an_error(
    workshop: Workshop, seen: Recorder
) -> None:
    seen.publish("status", b"online", retain=True)
    seen.settle()
    program = workshop.program(
        """
        class Lamp(BaseConnector):
            def initialize_connection(self):
                raise OSError("the hub is on fire")
        """
    )
    assert program.wait() == 1
    assert "the hub is on fire" in program.log
    seen.wait_status("offline")
    assert seen.of("status")[-1].payload == b"offline"


def test_fault_04_a_rejected_login_ends_the_attempts_that_were_asked_for(workshop: Workshop, faults: Faults) -> None:
    faults.do(lambda proxy: proxy.refuse_connack(5))
    client = MQTTClient()
    began = time.monotonic()
    with pytest.raises(BrokerError, match=r"in 1 attempts: .*refused .*MQTT_USERNAME"):
        client.connect(retry_interval=2, max_retries=1)
    assert time.monotonic() - began < DEADLINE / 3
    assert workshop.base == client.base_topic


def test_fault_15_what_was_said_while_the_broker_was_away_arrives_later(
    workshop: Workshop, own_mosquitto: Broker, base: str
) -> None:
    workshop.env(MQTT_PORT=str(own_mosquitto.port))

    class Pushing(BaseConnector):
        pass

    connector = workshop.serve(Pushing, lamps("lamp", "fan"))
    wait_until(lambda: connector.mqtt.connected)
    own_mosquitto.stop()
    wait_until(lambda: not connector.mqtt.connected)
    for power in (1, 2, 3):
        connector.publish_state("lamp", {"power": power})
        connector.publish_event("lamp", "pressed", {"times": power})
    connector.mqtt.say("devices/lamp/cmd/response", {"cmd_id": "a", "status": "success", "result": {}})
    own_mosquitto.start()
    recorder = Recorder(own_mosquitto.port, base)
    try:
        recorder.wait("devices/lamp/state", lambda found: found.json["state"] == {"power": 3})
        assert recorder.response("lamp", "a")["status"] == "success"
        recorder.wait("devices/lamp/events", count=3)
        assert [found.json["data"]["times"] for found in recorder.of("devices/lamp/events")] == [1, 2, 3]
        assert [found.json["state"]["power"] for found in recorder.of("devices/lamp/state")] in ([3], [3, 3])
    finally:
        recorder.close()


def test_fault_16_qos_retain_and_keepalive_come_from_the_environment(
    workshop: Workshop, faults: Faults, seen: Recorder
) -> None:
    workshop.env(MQTT_QOS="2", MQTT_RETAIN="false", MQTT_KEEPALIVE="17", MQTT_USERNAME="only-a-name")
    workshop.serve(Lamp)
    seen.wait("devices/lamp/state/power")
    hello = faults.packets("CONNECT")[0]
    assert (hello["keepalive"], hello["username"], hello["password"]) == (17, "only-a-name", None)
    states = [packet for packet in faults.packets("PUBLISH") if "/state" in packet["topic"]]
    assert {(packet["qos"], packet["retain"]) for packet in states} == {(2, False)}


def test_fault_17_a_fast_response_is_not_missed(workshop: Workshop, seen: Recorder) -> None:
    client = workshop.serve(Lamp).mqtt
    seen.wait_status("online")
    called: list[Any] = []
    for number in range(20):
        identity = client.send_command("lamp", {"level": number}, callback=called.append)
        response = client.wait_for_response(identity, DEADLINE)
        assert response is not None
        assert response["result"] == {"level": number}
    assert [response["result"]["level"] for response in called] == list(range(20))


def test_fault_16_a_port_of_8883_means_tls(workshop: Workshop) -> None:
    workshop.env(MQTT_PORT="8883")
    assert MQTTClient().settings.tls


def test_a_broker_that_comes_later_finds_the_connector_online(workshop: Workshop, tmp_path: Any, base: str) -> None:
    broker = Broker(tmp_path / "late")
    workshop.env(MQTT_PORT=str(broker.port))
    connector = workshop.serve(Lamp)
    wait_until(lambda: connector.mqtt.trouble)
    assert "cannot be reached" in str(connector.mqtt.trouble)
    with running(broker):
        recorder = Recorder(broker.port, base)
        recorder.wait_status("online")
        recorder.close()
        connector.stop()
    assert free_port() != broker.port
