"""Settings: every variable, in every wrong form."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from iot2mqtt_sdk import ConfigurationError, MQTTClient
from iot2mqtt_sdk.settings import Settings, load


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    assert load({}) == Settings()


def test_every_variable_is_read(tmp_path: Path) -> None:
    found = load(
        {
            "INSTANCE_NAME": "box",
            "CONNECTOR_TYPE": "yeelight",
            "IOT2MQTT_PATH": str(tmp_path),
            "IOT2MQTT_SECRETS_DIR": "/secrets",
            "MQTT_HOST": "broker",
            "MQTT_PORT": "8883",
            "MQTT_USERNAME": "me",
            "MQTT_PASSWORD": "pässword",
            "MQTT_BASE_TOPIC": "site/a",
            "MQTT_CLIENT_PREFIX": "pre",
            "MQTT_QOS": "2",
            "MQTT_RETAIN": "False",
            "MQTT_KEEPALIVE": "5",
            "MQTT_CA_CERTS": "ca",
            "MQTT_CERTFILE": "cert",
            "MQTT_KEYFILE": "key",
            "MQTT_VERSION": "5",
            "MODE": "development",
            "LOG_LEVEL": "debug",
        }
    )
    assert found == Settings(
        instance_name="box",
        connector_type="yeelight",
        path=tmp_path,
        secrets_dir=Path("/secrets"),
        host="broker",
        port=8883,
        username="me",
        password="pässword",
        base_topic="site/a",
        client_prefix="pre",
        qos=2,
        retain=False,
        keepalive=5,
        tls=True,
        ca_certs="ca",
        certfile="cert",
        keyfile="key",
        version="5",
        mode="development",
        log_level="debug",
    )
    assert "pässword" not in repr(found)


def test_empty_variables_count_as_unset() -> None:
    names = ("MQTT_HOST", "MQTT_PORT", "MQTT_QOS", "MQTT_RETAIN", "MQTT_KEEPALIVE", "MQTT_TLS", "MQTT_VERSION", "MODE")
    more = ("INSTANCE_NAME", "IOT2MQTT_PATH", "MQTT_USERNAME", "MQTT_PASSWORD", "MQTT_BASE_TOPIC", "LOG_LEVEL")
    assert load(dict.fromkeys(names + more, "")) == Settings()


@pytest.mark.parametrize("name", ["MQTT_CA_CERTS", "MQTT_CERTFILE", "MQTT_KEYFILE"])
def test_whoever_names_a_file_for_tls_sends_nothing_in_clear(name: str) -> None:
    certificate = {"MQTT_CERTFILE": "/a/cert.pem"} if name == "MQTT_KEYFILE" else {}
    assert load({name: "/a/file.pem", **certificate}).tls
    with pytest.raises(ConfigurationError, match=f"^{name} .*MQTT_TLS=false"):
        load({name: "/a/file.pem", "MQTT_TLS": "false"})


def test_a_key_without_its_certificate_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="set MQTT_CERTFILE as well"):
        load({"MQTT_KEYFILE": "/a/key.pem"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MQTT_PORT", "mqtt"),
        ("MQTT_PORT", "0"),
        ("MQTT_PORT", "65536"),
        ("MQTT_PORT", "-1"),
        ("MQTT_PORT", "1883.0"),
        ("MQTT_PORT", "1" * 10_000),
        ("MQTT_QOS", "3"),
        ("MQTT_QOS", "one"),
        ("MQTT_RETAIN", "maybe"),
        ("MQTT_KEEPALIVE", "0"),
        ("MQTT_KEEPALIVE", "65536"),
        ("MQTT_KEEPALIVE", "60s"),
        ("MQTT_TLS", "2"),
        ("MQTT_VERSION", "3"),
        ("MODE", "develop"),
        ("MQTT_HOST", "bro\nker"),
        ("MQTT_USERNAME", "a\x00b"),
        ("MQTT_BASE_TOPIC", "caf\udce9"),
        ("INSTANCE_NAME", "caf\udce9"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_the_name_of_its_variable(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name}"):
        load({name: value})


def test_a_password_is_not_repeated_in_its_error() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load({"MQTT_PASSWORD": "hush\x07hush"})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("name", ["a/b", "+", "#", "../etc"])
def test_an_instance_name_that_no_topic_can_hold_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="instance id"):
        MQTTClient(name, settings=Settings())


@pytest.mark.parametrize("topic", ["#", "a/+", "a//b", "///"])
def test_a_base_topic_that_is_none_is_refused(topic: str) -> None:
    with pytest.raises(ConfigurationError, match="base topic"):
        MQTTClient("box", settings=Settings(base_topic=topic))


def test_no_instance_name_at_all_is_said() -> None:
    with pytest.raises(ConfigurationError, match="set INSTANCE_NAME"):
        MQTTClient(settings=Settings())


def test_the_process_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b'\xef\xbb\xbfMQTT_HOST=file\r\nMQTT_PORT="1884"\r\nMQTT_PASSWORD=a$b${c}\r\n')
    found = load({"IOT2MQTT_PATH": str(tmp_path), "MQTT_PORT": "1885"})
    assert (found.host, found.port, found.password) == ("file", 1885, "a$b${c}")


def as_folder(file: Path) -> None:
    file.mkdir()


def as_noise(file: Path) -> None:
    file.write_bytes(b"MQTT_HOST=\xff\xfe\n")


def as_loop(file: Path) -> None:
    file.symlink_to(file)


@pytest.mark.parametrize("spoil", [as_folder, as_noise, as_loop])
def test_an_env_file_that_cannot_be_read_is_named(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    spoil(tmp_path / ".env")
    with pytest.raises(ConfigurationError, match=r"the file .*\.env cannot be read: "):
        load({"IOT2MQTT_PATH": str(tmp_path)})


def test_the_environment_is_that_of_the_process_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQTT_HOST", "from-the-process")
    assert load().host == "from-the-process"
    assert os.environ["MQTT_HOST"] == "from-the-process"
