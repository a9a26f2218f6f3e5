"""Connectors written for the source documents' BaseConnector and MQTTClient run after a change of their import line."""

import json
import re
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.conformance.suite_runs import run_suite
from tests.sdk.brokers import Broker, Recorder
from tests.sdk.workshop import Program, Workshop

CONNECTORS = Path(__file__).parent / "connectors"
DOCUMENT = {
    "instance_id": "box",
    "update_interval": 0.2,
    "devices": [{"device_id": "light1", "ip": "192.168.1.100", "enabled": True}],
}


class _Service(BaseHTTPRequestHandler):
    """A service of one of the bridge's other processes."""

    def do_GET(self) -> None:
        self._answer({"/state": {"temperature": 21.5}, "/read": {"temperature": 22.0}}[self.path])

    def do_POST(self) -> None:
        self._answer({"file": "snapshot.jpg"})

    def _answer(self, value: Any) -> None:
        text = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's signature
        """Keep quiet."""


@pytest.fixture
def service() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Service) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def room(own_mosquitto: Broker, workshop: Workshop) -> Iterator[Recorder]:
    """What goes over a broker with the base topic that old connectors have in their code."""
    workshop.env(MQTT_PORT=str(own_mosquitto.port), MQTT_BASE_TOPIC="IoT2mqtt")
    workshop.configure(DOCUMENT)
    recorder = Recorder(own_mosquitto.port, "IoT2mqtt")
    yield recorder
    recorder.close()


def start(workshop: Workshop, name: str, program: str, **environment: str) -> Program:
    return workshop.run([sys.executable, "-u", program], CONNECTORS / name, PYTHONDONTWRITEBYTECODE="1", **environment)


def retained_status(broker: Broker) -> str:
    """Return the status that a newcomer is told."""
    newcomer = Recorder(broker.port, "IoT2mqtt")
    try:
        return newcomer.wait("status", lambda seen: seen.retain).payload.decode()
    finally:
        newcomer.close()


def answered(room: Recorder, device: str, **body: Any) -> dict[str, Any]:
    """Send a command as the documents do, and return its response."""
    identity = str(uuid4())
    room.publish(f"devices/{device}/cmd", {"id": identity, **body})
    return room.response(device, identity)


def test_a_polling_connector_with_its_own_main(workshop: Workshop, room: Recorder, own_mosquitto: Broker) -> None:
    program = start(workshop, "polling", "main.py")
    room.wait_status("online")
    state = room.wait("devices/light1/state").json["state"]
    assert state["power"] is False
    assert datetime.fromisoformat(state["seen"])
    assert answered(room, "light1", values={"power": True, "brightness": "80"})["status"] == "success"
    room.wait(
        "devices/light1/state",
        lambda seen: seen.json["state"]["power"] is True and seen.json["state"]["brightness"] == 80,
    )
    assert answered(room, "light1", values={"brightness": "bright"})["status"] == "error"
    assert room.wait("devices/light1/error").json["error_code"] == "COMMAND_FAILED"
    assert program.signal(signal.SIGTERM)[0] == 0, program.log
    assert "bulbs closed" in program.log
    assert "Traceback" not in program.log
    assert retained_status(own_mosquitto) == "offline"


def test_a_command_handler_that_answers_by_itself(workshop: Workshop, room: Recorder, own_mosquitto: Broker) -> None:
    program = start(workshop, "handler", "main.py")
    room.wait_status("online")
    room.wait("devices/light1/state")
    now = datetime.now().isoformat()  # noqa: DTZ005 - old connectors compare local times
    assert answered(room, "light1", timestamp=now, values={"power": True})["status"] == "success"
    room.wait("devices/light1/state", lambda seen: seen.json["state"] == {"power": True})
    room.publish("devices/light1/cmd", {"timestamp": now, "values": {"fail": 1}})
    assert room.wait("devices/light1/error").json["message"] == "device does not answer"
    assert program.signal(signal.SIGTERM)[0] == 0, program.log
    assert retained_status(own_mosquitto) == "offline"


def test_a_bridge_of_several_processes(workshop: Workshop, room: Recorder, own_mosquitto: Broker, service: str) -> None:
    addresses = {"SENSOR_API": service, "CAMERA_API": service}
    program = start(workshop, "bridge", "mqtt_bridge.py", HANDLE_SIGNALS="1", **addresses)
    room.wait_status("online")
    assert room.wait("devices/hub/state").json["state"] == {"temperature": 21.5}
    room.publish("devices/camera/cmd", {"snapshot": True})
    assert room.wait("devices/camera/events").json["data"] == {"file": "snapshot.jpg"}
    room.publish("devices/sensor/cmd", {"sensor_read": True})
    assert room.wait("devices/sensor/state").json["state"] == {"temperature": 22.0}
    assert answered(room, "hub", values={})["status"] == "success"
    assert program.signal(signal.SIGTERM)[0] == 0, program.log
    assert {seen.payload for seen in room.of("status")} == {b"online", b"offline"}
    assert retained_status(own_mosquitto) == "offline"


def test_a_bridge_that_handles_no_signals_is_offline_by_its_last_will(
    workshop: Workshop, room: Recorder, own_mosquitto: Broker, service: str
) -> None:
    program = start(workshop, "bridge", "mqtt_bridge.py", SENSOR_API=service, CAMERA_API=service)
    room.wait_status("online")
    assert program.signal(signal.SIGTERM)[0] == -signal.SIGTERM
    room.wait_status("offline")
    assert retained_status(own_mosquitto) == "offline"


def test_a_program_that_watches_running_ends_with_it(workshop: Workshop, room: Recorder) -> None:
    program = workshop.program(
        """
        import signal, time
        class Lamp(BaseConnector):
            def __init__(self):
                super().__init__()
                self.running = False
            def get_device_state(self, device_id, device_config):
                return {"power": True}
        lamp = Lamp()
        lamp.start()
        signal.signal(signal.SIGTERM, lambda *_: setattr(lamp, "running", False))
        while lamp.running:
            time.sleep(0.05)
        lamp.stop()
        raise SystemExit(0)
        """,
        DOCUMENT,
    )
    room.wait("devices/light1/state")
    assert program.signal(signal.SIGTERM)[0] == 0, program.log
    room.wait_status("offline")


@pytest.mark.soak
def test_an_old_polling_connector_breaks_only_the_clauses_that_its_own_code_is_about(tmp_path: Path) -> None:
    folder = shutil.copytree(CONNECTORS / "polling", tmp_path / "polling", ignore=shutil.ignore_patterns("__pycache__"))
    said = run_suite("--iot2mqtt-services=local", cwd=folder).stdout
    assert set(re.findall(r"^FAILED \S+::(I2M-[A-Z]+-\d+)", said, re.MULTILINE)) <= {"I2M-CMD-09", "I2M-ENV-12"}, said
    passed = re.search(r"polling: .*?(\d+) pass", said)
    assert passed is not None, said
    assert int(passed[1]) >= 70
