"""`iot2mqtt send`, against a real connector, and against none."""

import getpass
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.sdk.cli.command import IOT2MQTT, Running, at, call, mosquitto

from iot2mqtt_conformance.ports import free_port


@pytest.fixture
def serving(connector: Path, broker: int) -> Iterator[Running]:
    with Running(IOT2MQTT, "run", str(connector), variables=at(broker)) as running:
        running.wait_for("online: ")
        yield running


def send(port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return call("send", *arguments, cwd=None, **at(port))


@pytest.mark.usefixtures("serving")
def test_values_are_json_or_else_text_and_what_took_effect_is_printed(broker: int) -> None:
    sent = send(broker, "kitchen", "light1", "power=false", "level=4.5", "scene=movie night", 'color={"r": 255}')
    assert sent.returncode == 0, sent.stderr
    assert sent.stdout == 'light1 took power=false level=4.5 scene=movie night color={"r":255}\n'


@pytest.mark.usefixtures("serving")
def test_json_is_the_response_itself(broker: int) -> None:
    sent = send(broker, "kitchen", "light1", "power=false", "--json")
    response = json.loads(sent.stdout)
    assert (sent.returncode, response["status"], response["result"]) == (0, "success", {"power": False})
    refused = send(broker, "kitchen", "light1", "fan=1", "--json")
    assert (refused.returncode, json.loads(refused.stdout)["error"]["code"]) == (1, "unsupported_property")


@pytest.mark.usefixtures("serving")
def test_a_refusal_is_told_in_the_connectors_words(broker: int) -> None:
    refused = send(broker, "kitchen", "light1", "fan=1")
    assert refused.returncode == 1
    assert refused.stderr == "Error: light1 refused: there is no fan (unsupported_property)\n"


def test_the_connector_keeps_its_connection_and_its_status(serving: Running, broker: int) -> None:
    for _ in range(2):
        assert send(broker, "kitchen", "light1", "power=true").returncode == 0
    assert not [line for line in serving.lines if "lost" in line or "WARNING" in line]


def test_silence_is_told_after_the_timeout(broker: int, say: Callable[[str, str], None]) -> None:
    say("kitchen/status", "online")
    silent = send(broker, "kitchen", "light1", "power=true", "--timeout", "0.1")
    assert silent.returncode == 1
    assert "light1 of kitchen did not answer within 0.1 s" in silent.stderr


def test_an_instance_that_is_offline_gets_no_command(broker: int, say: Callable[[str, str], None]) -> None:
    say("kitchen/status", "offline")
    with Running(IOT2MQTT, "watch", "--json", variables=at(broker)) as watching:
        watching.wait_for("status")
        refused = send(broker, "kitchen", "light1", "power=true")
        say("cellar/status", "online")
        watching.wait_for("cellar")
    assert refused.returncode == 1
    assert "the instance kitchen is offline" in refused.stderr
    assert "/cmd" not in watching.output


def test_a_wrong_name_is_answered_with_those_there_are(broker: int, say: Callable[[str, str], None]) -> None:
    say("kitchen/status", "online")
    refused = send(broker, "kitchn", "light1", "power=true")
    assert refused.returncode == 1
    assert "no instance kitchn below IoT2mqtt" in refused.stderr
    assert "(known: kitchen)" in refused.stderr


def test_a_broker_that_is_away_is_named() -> None:
    port = free_port()
    refused = send(port, "kitchen", "light1", "power=true")
    assert refused.returncode == 1
    assert f"the broker 127.0.0.1:{port} cannot be reached: Connection refused" in refused.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("kitchen", "light1"),
        ("kitchen", "light1", "power"),
        ("kitchen", "light1", "=1"),
        ("kitchen", "light1", "power=1", "power=2"),
        ("kit/chen", "light1", "power=1"),
        ("kitchen", "light+", "power=1"),
        ("kitchen", "light1", "power=1", "--timeout", "0"),
    ],
)
def test_a_wrong_command_line_exits_with_2(arguments: tuple[str, ...]) -> None:
    refused = send(free_port(), *arguments)
    assert refused.returncode == 2
    assert "Error: " in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_wrong_variable_is_named() -> None:
    refused = call("send", "kitchen", "light1", "power=1", MQTT_PORT="many")
    assert refused.returncode == 1
    assert refused.stderr == "Error: MQTT_PORT='many' must be a number from 1 to 65535\n"


@pytest.fixture
def certified(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A broker with TLS that wants a password; yields what a .env must say, apart from the password."""
    port, cert, key, passwords = free_port(), tmp_path / "ca.pem", tmp_path / "key.pem", tmp_path / "passwords"
    request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(cert)]
    subprocess.run(["openssl", *request, *name, *files], check=True, capture_output=True)
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "ann", "pass word"], check=True)
    # Started by root, Mosquitto would become a user who cannot read these files.
    lines = [
        f"user {getpass.getuser()}",
        f"certfile {cert}",
        f"keyfile {key}",
        "allow_anonymous false",
        f"password_file {passwords}",
    ]
    with mosquitto(tmp_path, port, *lines):
        yield {**at(port), "MQTT_TLS": "true", "MQTT_CA_CERTS": str(cert), "MQTT_USERNAME": "ann"}


def test_tls_and_credentials_come_from_env_of_the_connectors_folder(connector: Path, certified: dict[str, str]) -> None:
    lines = [f"{name}={value}" for name, value in {**certified, "MQTT_PASSWORD": "pass word"}.items()]
    (connector / ".env").write_text("\n".join(lines), encoding="utf-8")
    with Running(IOT2MQTT, "run", ".", cwd=connector) as running:
        running.wait_for("online: ")
        sent = call("send", "kitchen", "light1", "power=true", cwd=connector)
        assert (sent.returncode, sent.stdout) == (0, "light1 took power=true\n"), sent.stderr
    refused = call("send", "kitchen", "light1", "power=true", cwd=connector, MQTT_PASSWORD="wrong")
    assert refused.returncode == 1
    assert "check MQTT_USERNAME and MQTT_PASSWORD" in refused.stderr
    strange = call("send", "kitchen", "light1", "power=true", cwd=connector, MQTT_CA_CERTS="")
    assert strange.returncode == 1
    assert "cannot be reached" in strange.stderr
    assert "certificate" in strange.stderr
    missing = call("send", "kitchen", "light1", "power=true", cwd=connector, MQTT_CA_CERTS="nowhere.pem")
    assert "TLS cannot be set up" in missing.stderr
