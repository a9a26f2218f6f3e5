"""A connector that runs already is judged through its own broker, and left as it was."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trustme

from iot2mqtt_conformance.adoption.attach import Attached
from iot2mqtt_conformance.adoption.target import Target, TargetError, parse_target
from iot2mqtt_conformance.declaration import load
from iot2mqtt_conformance.ports import free_port
from tests.conformance.suite_runs import REFERENCES, run_suite

SECRET = "s3cret-word/%"
IN_THE_URL = "s3cret-word%2F%25"
STARTED_WITHIN = 20.0


@dataclass(frozen=True, slots=True)
class Running:
    """A connector beside a broker, both started by hand."""

    folder: Path
    url: str
    port: int
    process: "subprocess.Popen[bytes]"

    def kept(self, suffix: str) -> str:
        """Return what the broker keeps."""
        topic = f"home/v1/instances/hostile/{suffix}"
        command = [
            "mosquitto_sub",
            "-p",
            str(self.port),
            "-u",
            "suite",
            "-P",
            SECRET,
            "-t",
            topic,
            "-C",
            "1",
            "-W",
            "5",
        ]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def listens(port: int) -> None:
    """Wait until a port accepts connections."""
    end = time.monotonic() + STARTED_WITHIN
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            continue
        return
    raise TimeoutError(f"nobody listens on {port}")


@contextmanager
def broker(folder: Path, more: str = "") -> Iterator[int]:
    port, users = free_port(), folder / "users"
    subprocess.run(["mosquitto_passwd", "-b", "-c", users, "suite", SECRET], check=True, capture_output=True)
    users.chmod(0o644)
    text = f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {users}\nuser root\n{more}"
    (folder / "broker.conf").write_text(text, encoding="utf-8")
    process = subprocess.Popen(["/usr/sbin/mosquitto", "-c", folder / "broker.conf"], stderr=subprocess.DEVNULL)
    try:
        listens(port)
        yield port
    finally:
        process.terminate()
        process.wait()


@contextmanager
def running(folder: Path, *, breaks: str = "", more: str = "") -> Iterator[Running]:
    copy = shutil.copytree(REFERENCES / "hostile", folder / "hostile", ignore=shutil.ignore_patterns("__pycache__"))
    file = copy / "conformance" / "instance.json"
    instance = json.loads(file.read_text(encoding="utf-8"))
    instance["update_interval"] = 60
    file.write_text(json.dumps(instance), encoding="utf-8")
    (copy / "instances").mkdir()
    shutil.copy(file, copy / "instances" / "hostile.json")
    with (copy / "conformance.toml").open("a", encoding="utf-8") as declaration:
        declaration.write('\n[attach]\nbase_topic = "home"\n')
    with broker(folder, more) as port:
        environment = {
            **os.environ,
            "IOT2MQTT_PATH": str(copy),
            "INSTANCE_NAME": "hostile",
            "CONNECTOR_TYPE": "hostile",
            "MQTT_PORT": str(port),
            "MQTT_HOST": "127.0.0.1",
            "MQTT_BASE_TOPIC": "home",
            "MQTT_USERNAME": "suite",
            "MQTT_PASSWORD": SECRET,
            **({"BREAK": breaks} if breaks else {}),
        }
        process = subprocess.Popen(
            [sys.executable, "main.py"], cwd=copy, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        found = Running(copy, f"mqtt://suite:{IN_THE_URL}@127.0.0.1:{port}", port, process)
        try:
            assert found.kept("status") == "online"
            yield found
        finally:
            process.terminate()
            process.wait()


def outcomes(report: Path) -> dict[str, str]:
    found = json.loads((report / "hostile.report.json").read_text(encoding="utf-8"))
    return {clause["id"]: clause["outcome"] for clause in found["clauses"]}


def test_a_running_connector_is_judged_by_what_is_seen_and_left_as_it_was(tmp_path: Path) -> None:
    with running(tmp_path) as found:
        before = json.loads(found.kept("devices/light1/state"))["state"]
        report = tmp_path / "report"
        done = run_suite(f"--iot2mqtt-broker={found.url}", f"--iot2mqtt-report={report}", "-rs", cwd=found.folder)
        assert done.returncode == 0, done.stdout
        assert found.process.poll() is None
        assert json.loads(found.kept("devices/light1/state"))["state"] == before
        assert found.kept("status") == "online"
    seen = outcomes(report)
    for clause in ("STATUS-02", "STATE-01", "CMD-01", "CMD-05", "GET-02", "GET-03", "META-01", "PUB-03", "PUB-05"):
        assert seen[f"I2M-{clause}"] == "pass", clause
    for clause in ("STATUS-01", "LIFE-01", "SUB-01", "CMD-08", "GROUP-01"):
        assert seen[f"I2M-{clause}"] == "not judged", clause
    assert "not run: cannot be judged when attached" in done.stdout
    count = sum(outcome == "not judged" for outcome in seen.values())
    assert f"partial: {count} clauses were not judged, because the connector was running already" in done.stdout
    for text in (done.stdout, done.stderr, *(file.read_text(encoding="utf-8") for file in report.iterdir())):
        assert SECRET not in text
        assert IN_THE_URL not in text


@pytest.mark.parametrize(
    "clause",
    [
        "I2M-CMD-02",
        "I2M-PUB-03",
        *(pytest.param(one, marks=pytest.mark.soak) for one in ("I2M-GET-03", "I2M-META-01", "I2M-STATUS-02")),
    ],
)
def test_a_running_connector_that_breaks_a_clause_fails_it(tmp_path: Path, clause: str) -> None:
    with running(tmp_path, breaks=clause) as found:
        chosen = (f"--iot2mqtt-broker={found.url}", f"--iot2mqtt-clauses={clause}", "--iot2mqtt-strict")
        done = run_suite(*chosen, cwd=found.folder)
    assert done.returncode == 1, done.stdout
    assert f"FAILED conformance.toml::{clause}[hostile]" in done.stdout


def test_strange_payloads_are_sent_to_a_running_connector_only_on_request(tmp_path: Path) -> None:
    with running(tmp_path) as found:
        chosen = (f"--iot2mqtt-broker={found.url}", "--iot2mqtt-clauses=I2M-CMD-08")
        kind = run_suite(*chosen, "-rs", cwd=found.folder)
        assert "without --iot2mqtt-rough" in kind.stdout
        # Nothing else was asked for, so that nothing was proved.
        assert kind.returncode == 1
        rough = run_suite(*chosen, "--iot2mqtt-rough", cwd=found.folder)
    assert rough.returncode == 0, rough.stdout


def test_a_connector_that_never_polls_is_no_fault() -> None:
    declared = load(REFERENCES / "hostile")
    mute = replace(declared, instance={**declared.instance, "update_interval": None})
    assert "get" not in Attached(Target("127.0.0.1", 1), mute).scenarios


def test_a_connector_that_is_not_there_is_named_with_its_topic(tmp_path: Path) -> None:
    with running(tmp_path) as found:
        with (found.folder / "conformance.toml").open("a", encoding="utf-8") as file:
            file.write('instance = "other"\n')
        done = run_suite(f"--iot2mqtt-broker={found.url}", cwd=found.folder)
    assert done.returncode == 1
    assert "no connector is online at home/v1/instances/other/status, where the broker keeps nothing" in done.stdout


def test_a_broker_that_lets_nobody_in_ends_the_run_without_the_password(tmp_path: Path) -> None:
    with broker(tmp_path) as port:
        url = f"--iot2mqtt-broker=mqtt://suite:wrong-{IN_THE_URL}@127.0.0.1:{port}"
        done = run_suite(url, cwd=REFERENCES / "hostile")
    assert done.returncode == 3
    assert f"the broker mqtt://127.0.0.1:{port} cannot be used" in done.stdout + done.stderr
    assert "wrong-" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("url", "ca", "says"),
    [
        ("http://u:hidden@h", None, "must begin with mqtt://"),
        ("mqtt://u:hidden@", None, "name a host"),
        ("mqtt://u:hidden@h:port", None, "no valid host and port"),
        ("mqtt://u:hid/den@h", None, "no valid host and port|more than a host"),
        ("mqtt://u:hidden@h", "ca.pem", "for mqtts:// only"),
        ("mqtts://u:hidden@h", "/nowhere/ca.pem", "holds no certificates"),
    ],
)
def test_a_wrong_url_is_told_without_its_password(url: str, ca: str | None, says: str) -> None:
    with pytest.raises(TargetError, match=says) as caught:
        parse_target(url, ca)
    assert "hid" not in str(caught.value)


def test_a_url_with_tls_has_the_port_of_tls_and_verifies() -> None:
    found = parse_target("mqtts://us%40er:p%3Aw@broker.local")
    assert (found.host, found.port, found.username, found.password) == ("broker.local", 8883, "us@er", "p:w")
    assert found.tls is not None
    assert found.tls.check_hostname
    assert "p:w" not in repr(found) + str(found)


def test_a_broker_with_tls_is_used_only_when_its_certificate_is_trusted(tmp_path: Path) -> None:
    authority, port = trustme.CA(), free_port()
    served = authority.issue_cert("127.0.0.1")
    served.private_key_and_cert_chain_pem.write_to_path(tmp_path / "broker.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    file = tmp_path / "broker.pem"
    more = f"listener {port} 127.0.0.1\ncertfile {file}\nkeyfile {file}\n"
    url = f"--iot2mqtt-broker=mqtts://suite:{IN_THE_URL}@127.0.0.1:{port}"
    chosen = (url, "--iot2mqtt-clauses=I2M-STATUS-02")
    with running(tmp_path, more=more) as found:
        trusted = run_suite(*chosen, f"--iot2mqtt-ca={tmp_path / 'ca.pem'}", cwd=found.folder)
        strange = run_suite(*chosen, cwd=found.folder)
    assert trusted.returncode == 0, trusted.stdout
    assert strange.returncode == 3
    assert f"the broker mqtts://127.0.0.1:{port} cannot be used" in strange.stdout + strange.stderr
    assert "CERTIFICATE_VERIFY_FAILED" in strange.stdout + strange.stderr
