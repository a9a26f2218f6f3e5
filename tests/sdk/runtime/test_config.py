"""Instance and secrets files in every wrong form."""

import json
from pathlib import Path
from typing import Any

import pytest

from iot2mqtt_sdk import ConfigurationError
from iot2mqtt_sdk.runtime.config import load, read, secrets
from iot2mqtt_sdk.settings import Settings


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", "it is no JSON"),
        (b'{"devices": [', "it is no JSON"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b"\xff\xfe{}", "it is no JSON"),
        pytest.param(b"[" * 100_000, "it nests too deeply", id="deep"),
        (b'{"update_interval": NaN}', "NaN is no JSON"),
        (b'{"devices": {}}', "devices must be a list"),
        (b'{"devices": null}', "devices must be a list"),
        (b'{"devices": ["lamp"]}', r"devices\[0\] must be an object"),
        (b'{"devices": [{"device_id": "a"}, {"device_id": "a"}]}', "stands there twice"),
        (b'{"devices": [{"device_id": "a", "enabled": "yes"}]}', "enabled must be true or false"),
        (b'{"groups": [{"group_id": "a/b"}]}', r"groups\[0\]\.group_id"),
        (b'{"groups": [{"group_id": "a", "devices": "b"}]}', "devices must be a list"),
        (b'{"connection": []}', "connection must be an object"),
        (b'{"config": 1}', "config must be an object"),
        (b'{"update_interval": 0}', "update_interval must be"),
        (b'{"update_interval": "10"}', "update_interval must be"),
        (b'{"update_interval": true}', "update_interval must be"),
        (b'{"update_interval": 1e300}', "update_interval must be"),
    ],
)
def test_a_malformed_instance_file_is_named_with_its_fault(tmp_path: Path, text: bytes, fault: str) -> None:
    file = tmp_path / "box.json"
    file.write_bytes(text)
    with pytest.raises(ConfigurationError, match=f"box.json is malformed: .*{fault}"):
        read(file)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"box\.json cannot be read: No such file"):
        read(tmp_path / "box.json")
    (tmp_path / "box.json").mkdir()
    with pytest.raises(ConfigurationError, match=r"box\.json cannot be read: Is a directory"):
        read(tmp_path / "box.json")


def test_an_instance_of_many_devices_may_be_larger_than_a_message(tmp_path: Path) -> None:
    devices = [{"device_id": f"d{number}", "note": "x" * 500} for number in range(10_000)]
    file = tmp_path / "box.json"
    file.write_text(json.dumps({"devices": devices}), encoding="utf-8")
    assert len(read(file)["devices"]) == 10_000


def test_secrets_are_merged_into_the_connection_and_replace_the_brokers(tmp_path: Path) -> None:
    (tmp_path / "box_creds").write_text("# of the hub\n\npassword = a=b c \nempty=\n", encoding="utf-8-sig")
    (tmp_path / "box_mqtt").write_text("username=me\n", encoding="utf-8")
    (tmp_path / "box.json").write_text('{"connection": {"host": "hub", "password": "old"}}', encoding="utf-8")
    settings = Settings(secrets_dir=tmp_path, username="other", password="kept")
    found = load(tmp_path / "box.json", settings, "box")
    assert found.document["connection"] == {"host": "hub", "password": "a=b c", "empty": ""}
    assert (found.settings.username, found.settings.password) == ("me", "kept")
    assert {"a=b c", "me"} <= found.secrets


def spoiled(folder: Path) -> dict[str, Path]:
    (folder / "noise").write_bytes(b"password=\xff\n")
    (folder / "words").write_text("username=me\nhunter2-alone\n", encoding="utf-8")
    (folder / "nameless").write_text("=value\n", encoding="utf-8")
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to(folder / "loop")
    return {name: folder / name for name in ("noise", "words", "nameless", "folder", "loop")}


@pytest.mark.parametrize("kind", ["noise", "words", "nameless", "folder", "loop"])
def test_a_malformed_secrets_file_is_named_and_not_repeated(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ConfigurationError, match=f"secrets file .*{kind}") as caught:
        secrets(spoiled(tmp_path)[kind])
    assert "hunter2" not in str(caught.value)


def test_no_secrets_file_means_no_secrets(tmp_path: Path) -> None:
    nothing: dict[str, Any] = {}
    assert secrets(tmp_path / "none") == nothing
