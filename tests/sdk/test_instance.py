"""`load_instance`: what a program that is no BaseConnector reads."""

import json
import logging
from pathlib import Path

import pytest

from iot2mqtt_sdk import BaseConnector, ConfigurationError, load_instance, logs

DOCUMENT = {"connection": {"host": "10.0.0.5", "token": "${secret:token}"}, "devices": [{"device_id": "lamp"}]}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "instances").mkdir()
    (tmp_path / "instances" / "box.json").write_text(json.dumps(DOCUMENT), encoding="utf-8")
    (tmp_path / "box_creds").write_text("token=open-sesame\n", encoding="utf-8")
    for name in ("IOT2MQTT_PATH", "IOT2MQTT_SECRETS_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("INSTANCE_NAME", "box")
    return tmp_path


def test_a_program_reads_what_a_connector_reads_secrets_included(home: Path) -> None:
    found = load_instance()
    assert (found.instance_id, found.file) == ("box", home / "instances" / "box.json")
    assert found.config["connection"] == {"host": "10.0.0.5", "token": "open-sesame"}
    assert found.config == BaseConnector().config


def test_what_is_passed_comes_before_the_environment(home: Path) -> None:
    other = home / "other.json"
    other.write_text('{"devices": []}', encoding="utf-8")
    found = load_instance(str(other), "kitchen")
    assert (found.instance_id, found.file, found.config) == ("kitchen", other, {"devices": []})


def test_faults_are_named_with_file_and_place(home: Path) -> None:
    (home / "instances" / "box.json").write_text('{"devices": [{}]}', encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"instances/box\.json is malformed: devices\[0\]\.device_id"):
        load_instance()


def test_an_instance_without_a_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INSTANCE_NAME")
    with pytest.raises(ConfigurationError, match="set INSTANCE_NAME"):
        load_instance()


def test_secrets_do_not_reach_the_log() -> None:
    load_instance()
    line = logging.LogRecord("any", logging.INFO, "any", 1, "the token is %s", ("open-sesame",), None)
    assert logs._formatter.format(line).endswith("the token is ***")
