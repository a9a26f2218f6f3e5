from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from iot2mqtt_pipeline.settings import LARGEST_FILE, Settings, variables
from iot2mqtt_sdk.errors import ConfigurationError


def fault(environment: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as raised:
        Settings.load(environment)
    return str(raised.value)


def test_a_secret_is_read_from_the_file_that_is_named(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("s3cret word \n")
    settings = Settings.load({"POSTGRES_PASSWORD_FILE": str(file)})
    assert settings.postgres.connection()["password"] == "s3cret word "
    assert "s3cret" not in repr(settings) + settings.model_dump_json()


def test_a_secrets_file_that_is_missing_is_an_error_and_no_fallback(tmp_path: Path) -> None:
    said = fault({"MQTT_PASSWORD_FILE": str(tmp_path / "gone")})
    assert "MQTT_PASSWORD_FILE" in said
    assert "No such file" in said


def test_a_value_and_a_file_for_the_same_variable_are_refused(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("one")
    said = fault({"KAFKA_PASSWORD": "two", "KAFKA_PASSWORD_FILE": str(tmp_path / "password")})
    assert said == "KAFKA_PASSWORD and KAFKA_PASSWORD_FILE are both set: keep one of them"


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * (LARGEST_FILE + 1)])
def test_a_secrets_file_without_a_usable_text_is_an_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    assert "POSTGRES_PASSWORD_FILE" in fault({"POSTGRES_PASSWORD_FILE": str(file)})


def test_every_wrong_variable_is_named_with_its_value() -> None:
    said = fault({"MQTT_PORT": "1e9", "BATCH_TIMEOUT": "inf", "UNKNOWN_COMPONENTS": "drop"})
    assert all(text in said for text in ("MQTT_PORT='1e9'", "BATCH_TIMEOUT='inf'", "UNKNOWN_COMPONENTS='drop'"))


def test_measurements_go_to_the_database_of_the_parameters_unless_said_otherwise() -> None:
    settings = Settings.load({"POSTGRES_HOST": "db", "POSTGRES_PORT": "5433", "TIMESCALE_PORT": "5434"})
    assert (settings.timescale.host, settings.timescale.port) == ("db", 5434)


def test_a_wrong_value_that_two_databases_share_is_named_once_as_it_was_given() -> None:
    assert fault({"POSTGRES_PORT": "many"}).count("POSTGRES_PORT='many'") == 1


def test_the_port_of_tls_turns_tls_on_unless_it_is_turned_off() -> None:
    assert Settings.load({"MQTT_PORT": "8883"}).mqtt.tls
    assert not Settings.load({"MQTT_PORT": "8883", "MQTT_TLS": "false"}).mqtt.tls
    assert not Settings.load({}).mqtt.tls


@pytest.mark.parametrize("variable", ["MQTT_CA_CERTS", "MQTT_CERTFILE", "MQTT_KEYFILE"])
def test_a_file_for_tls_turns_tls_on_and_cannot_be_named_without_it(variable: str) -> None:
    certificate = {"MQTT_CERTFILE": "cert.pem"} if variable == "MQTT_KEYFILE" else {}
    assert Settings.load({variable: "x.pem", **certificate}).mqtt.tls
    said = f"{variable} would be of no use with MQTT_TLS=false: unset either"
    assert fault({variable: "x.pem", "MQTT_TLS": "false"}) == said


@pytest.mark.parametrize("variable", ["MQTT_PASSWORD", "MQTT_HOST", "KAFKA_USERNAME"])
def test_bytes_that_are_no_text_are_named_and_not_shown(variable: str) -> None:
    assert fault({variable: "s3cret\udcff"}) == f"{variable} must be UTF-8 text"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"MQTT_KEYFILE": "key.pem"}, "MQTT_KEYFILE is the key of a certificate: set MQTT_CERTFILE as well"),
        ({"KAFKA_USERNAME": "u"}, "are not sent with KAFKA_SECURITY_PROTOCOL=PLAINTEXT"),
        ({"KAFKA_PASSWORD": "s3cret", "KAFKA_SECURITY_PROTOCOL": "SSL"}, "are not sent with"),
        ({"KAFKA_CA_CERTS": "ca.pem"}, "KAFKA_CA_CERTS is not used with KAFKA_SECURITY_PROTOCOL=PLAINTEXT"),
        ({"KAFKA_RAW_TOPIC": "decoded_iot_data"}, "KAFKA_RAW_TOPIC and KAFKA_DECODED_TOPIC are both decoded_iot_data"),
        ({"BATCH_TIMEOUT": "31"}, "BATCH_TIMEOUT='31': input should be less than or equal to 30"),
        ({"RETENTION_DAYS": "36501"}, "RETENTION_DAYS='36501': input should be less than or equal to 36500"),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(environment: dict[str, str], said: str) -> None:
    assert said in fault(environment)
    assert "\n" not in fault(environment)
    assert "s3cret" not in fault(environment)


def test_credentials_of_kafka_reach_its_client() -> None:
    given = {"KAFKA_USERNAME": "u", "KAFKA_PASSWORD": "p"}
    client = Settings.load({**given, "KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}).kafka.client()
    assert (client["sasl.username"], client["sasl.password"]) == ("u", "p")


@pytest.mark.parametrize(("variable", "place"), variables().items())
def test_every_variable_reaches_its_place(variable: str, place: tuple[str, ...]) -> None:
    known = {
        "MQTT_TLS": "true",
        "MQTT_VERSION": "3.1.1",
        "BATCH_TIMEOUT": "7.0",
        "KAFKA_SECURITY_PROTOCOL": "SSL",
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "POSTGRES_SSLMODE": "require",
        "TIMESCALE_SSLMODE": "require",
        "UNKNOWN_COMPONENTS": "deadletter",
        "LOG_LEVEL": "ERROR",
    }
    needed = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"} if place[0] == "kafka" else {}
    needed |= {"MQTT_CERTFILE": "cert.pem"} if variable == "MQTT_KEYFILE" else {}
    value: Any = Settings.load({**needed, variable: known.get(variable, "77")})
    for name in place:
        value = getattr(value, name)
    shown = value.get_secret_value() if isinstance(value, SecretStr) else str(value).lower()
    assert shown in {known.get(variable, "77").lower(), "77.0"}
