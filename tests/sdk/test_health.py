"""`iot2mqtt health`, run as a container runs it, against a connector that is well, ill, away or behind TLS."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.sdk.live import SECONDS, Ear, mosquitto, write_instance

from iot2mqtt_conformance.ports import free_port
from iot2mqtt_sdk import BaseConnector
from iot2mqtt_sdk.clock import Clock
from iot2mqtt_sdk.runtime.condition import FAILING, LATE, SILENT, faults
from iot2mqtt_sdk.runtime.device import LONGEST_BACKOFF, DeviceState
from iot2mqtt_sdk.runtime.engine import Engine
from iot2mqtt_sdk.runtime.figures import Figures

IOT2MQTT = str(Path(sys.executable).with_name("iot2mqtt"))
STATUS = "IoT2mqtt/v1/instances/kitchen/status"
DEVICES = [{"device_id": f"lamp{number}"} for number in range(12)]
Variables = dict[str, str]


class Lamps(BaseConnector):
    update_interval = 0.1

    def get_device_state(self, device_id: str, device_config: Any) -> Any:  # noqa: ARG002
        return {"power": True}


class Unplugged(BaseConnector):
    update_interval = 0.1

    def get_device_state(self, device_id: str, device_config: Any) -> Any:  # noqa: ARG002
        raise OSError("unplugged")


@pytest.fixture
def variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Variables:
    write_instance(tmp_path, "kitchen", devices=DEVICES)
    found = {
        "INSTANCE_NAME": "kitchen",
        "IOT2MQTT_PATH": str(tmp_path),
        "IOT2MQTT_SECRETS_DIR": str(tmp_path / "secrets"),
        "MQTT_HOST": "127.0.0.1",
        "MQTT_PORT": str(free_port()),
    }
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


Run = Callable[[type[BaseConnector]], BaseConnector]


@pytest.fixture
def run(variables: Variables) -> Iterator[Run]:
    started: list[BaseConnector] = []
    assert variables

    def start(kind: type[BaseConnector]) -> BaseConnector:
        started.append(kind())
        started[-1].start()
        return started[-1]

    yield start
    for connector in started:
        connector.stop()


def health() -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [IOT2MQTT, "health"], capture_output=True, text=True, timeout=3 * SECONDS, check=False, env=dict(os.environ)
    )


def test_a_connector_that_is_well_is_healthy_and_its_session_is_left_alone(
    run: Run, variables: Variables, tmp_path: Path
) -> None:
    with mosquitto(tmp_path, int(variables["MQTT_PORT"])) as port:
        ear = Ear(port, STATUS)
        run(Lamps)
        ear.until(STATUS, "online".__eq__)
        asked = health()
        assert (asked.returncode, asked.stdout) == (0, "healthy\n"), asked.stderr
        assert "offline" not in ear.on(STATUS)
        ear.close()


def test_a_connector_that_can_read_next_to_nothing_is_unhealthy(run: Run, variables: Variables, tmp_path: Path) -> None:
    with mosquitto(tmp_path, int(variables["MQTT_PORT"])) as port:
        ear = Ear(port)
        run(Unplugged)
        ear.until("IoT2mqtt/v1/instances/kitchen/devices/lamp11/availability")
        asked = health()
        ear.close()
    assert asked.returncode == 1
    assert "unhealthy: 100% of the last" in asked.stderr
    assert "Traceback" not in asked.stderr


def test_where_no_connector_answers_it_says_so(variables: Variables, tmp_path: Path) -> None:
    with mosquitto(tmp_path, int(variables["MQTT_PORT"])):
        asked = health()
    assert (asked.returncode, asked.stderr) == (1, "unhealthy: the connector does not answer\n")


def test_where_there_is_no_broker_it_says_where_it_looked(variables: Variables) -> None:
    asked = health()
    assert asked.returncode == 1
    assert f"the broker 127.0.0.1:{variables['MQTT_PORT']} cannot be reached" in asked.stderr


def make_certificate(folder: Path, name: str) -> Path:
    """Make a certificate of 127.0.0.1 that signs itself, and its key beside it."""
    file = folder / f"{name}.crt"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", str(folder / f"{name}.key"), "-out", str(file), *names], check=True)
    return file


def secured(folder: Path) -> str:
    """Return the configuration of a broker with TLS that lets in nobody but the instance's own user."""
    file = make_certificate(folder, "broker")
    users = folder / "users"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(users), "kitchen", "open sesame"], check=True)
    users.chmod(0o600)
    key = file.with_suffix(".key")
    return f"allow_anonymous false\npassword_file {users}\ncertfile {file}\nkeyfile {key}"


def test_it_speaks_tls_and_has_the_user_name_and_password_of_the_secrets_file(
    run: Run, variables: Variables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "kitchen_mqtt").write_text("username=kitchen\npassword=open sesame\n", encoding="utf-8")
    with mosquitto(tmp_path, int(variables["MQTT_PORT"]), secured(tmp_path)):
        monkeypatch.setenv("MQTT_TLS", "true")
        monkeypatch.setenv("MQTT_CA_CERTS", str(tmp_path / "broker.crt"))
        run(Lamps).mqtt.connect(SECONDS, 1)
        asked = health()
        assert (asked.returncode, asked.stdout) == (0, "healthy\n"), asked.stderr
        monkeypatch.setenv("MQTT_CA_CERTS", str(make_certificate(tmp_path, "stranger")))
        asked = health()
        assert asked.returncode == 1
        assert "its certificate is not trusted" in asked.stderr
        assert "check MQTT_CA_CERTS" in asked.stderr
        monkeypatch.setenv("MQTT_CA_CERTS", str(tmp_path / "missing.crt"))
        asked = health()
        assert asked.returncode == 1
        assert "TLS cannot be set up from MQTT_CA_CERTS" in asked.stderr


# ---------------------------------------------------------------- what a connector says of itself
class Stopped(Clock):
    """A clock that is set by hand."""

    seconds = 1000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


def judge(figures: Figures, engine: Engine, clock: Clock, *, enabled: bool = True, interval: float | None = 10) -> str:
    device = DeviceState("lamp", {}, enabled=enabled, model=None)
    return "; ".join(faults(figures, engine, now=clock.monotonic(), interval=interval, devices=[device]))


def test_timers_that_nobody_serves_are_a_fault() -> None:
    clock = Stopped()
    engine = Engine(clock)
    engine.after(5, lambda: None)
    clock.seconds += 5 + LATE
    assert judge(Figures(), engine, clock) == ""
    clock.seconds += 5
    assert judge(Figures(), engine, clock) == "the timers are 15 s late"


def test_polling_that_is_stuck_is_a_fault_unless_nothing_is_polled() -> None:
    clock = Stopped()
    engine, figures = Engine(clock), Figures()
    figures.count_connection(clock.monotonic())
    clock.seconds += 10 * LONGEST_BACKOFF
    assert judge(figures, engine, clock) == ""
    clock.seconds += SILENT + 10
    assert "no poll of any device has ended for 120 s" in judge(figures, engine, clock)
    assert judge(figures, engine, clock, enabled=False) == ""
    assert judge(figures, engine, clock, interval=None) == ""
    figures.count_connection(clock.monotonic())
    assert judge(figures, engine, clock) == "", "while the broker is away nothing is polled"


def test_one_device_that_fails_among_others_is_no_fault() -> None:
    clock = Stopped()
    engine, figures = Engine(clock), Figures()
    for number in range(100):
        figures.count_poll(clock.monotonic(), clock.monotonic(), good=number % 10 == 0)
    assert judge(figures, engine, clock) == "", f"{FAILING:.0%} may fail"
    figures.count_poll(clock.monotonic(), clock.monotonic(), good=False)
    assert judge(figures, engine, clock) == "91% of the last 100 polls failed"
