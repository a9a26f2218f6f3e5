"""What a person gets wrong is one sentence that says what to do, and no traceback."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from iot2mqtt_pipeline.adapters import parameters
from iot2mqtt_pipeline.adapters.checks import kafka_fault, mqtt_fault
from iot2mqtt_pipeline.adapters.kafka import KafkaSource
from iot2mqtt_pipeline.adapters.kafka_letters import KafkaLetters
from iot2mqtt_pipeline.adapters.kafka_out import KafkaOutbox, KafkaTransaction
from iot2mqtt_pipeline.adapters.kafka_topics import ensure_topics
from iot2mqtt_pipeline.adapters.mqtt import MqttInbox
from iot2mqtt_pipeline.adapters.mqtt_out import MqttPublisher
from iot2mqtt_pipeline.cli import cli
from iot2mqtt_pipeline.errors import TransientError
from iot2mqtt_pipeline.settings import Kafka, Mqtt
from iot2mqtt_sdk.errors import ConfigurationError

NOWHERE = "127.0.0.1:1"
WRONG_FILE = Kafka(bootstrap_servers=NOWHERE, security_protocol="SSL", ca_certs=Path("/no/such/ca.pem")).client()
NO_NAME = Kafka(bootstrap_servers=NOWHERE, security_protocol="SASL_SSL").client()


def source(client: dict[str, str]) -> KafkaSource:
    return KafkaSource(client=client, group="g", topics=["t"])


SPEAKING: dict[str, Callable[[dict[str, str]], object]] = {
    "topics": lambda client: ensure_topics(client, {"t": 1}),
    "letters": lambda client: list(KafkaLetters(client=client, topic="t").records()),
    "outbox": lambda client: KafkaOutbox(client=client).serve(0),
    "transaction": lambda client: KafkaTransaction(client=client, name="n", source=source(client)).open(),
    "source": lambda client: source(client).poll(1, 0),
}


@pytest.mark.parametrize(("client", "said"), [(WRONG_FILE, "ssl.ca.location"), (NO_NAME, "sasl.username")])
@pytest.mark.parametrize("speaking", SPEAKING)
def test_a_kafka_that_is_set_up_wrongly_is_one_sentence(client: dict[str, str], said: str, speaking: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"(?s)^Kafka cannot .*{said}.* check KAFKA_SECURITY_PROTOCOL, "):
        SPEAKING[speaking](client)
    assert said in (kafka_fault(client) or "")


def test_a_name_that_no_host_can_have_is_said(caplog: pytest.LogCaptureFixture) -> None:
    settings = Mqtt(host="broker..lan")
    why = "cannot be reached: it is no name that a host can have; check MQTT_HOST"
    assert mqtt_fault("broker..lan", 1883) == f"the broker broker..lan:1883 {why}"
    assert MqttInbox(settings=settings, filters=["#"]).receive(1, 0) == []
    assert why in caplog.text
    with pytest.raises(TransientError, match=why):
        MqttPublisher(settings=settings, stopped=lambda: True).start()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "rows", lambda _where: [])
    file = tmp_path / "missing" / "x.csv"
    found = CliRunner().invoke(cli, ["params", "export", str(file)])
    assert isinstance(found.exception, ConfigurationError)
    assert str(found.exception) == f"{file} cannot be written: No such file or directory"


@pytest.mark.parametrize("command", ["decode", "set"])
def test_a_factor_beyond_all_numbers_is_refused(command: str) -> None:
    words = {
        "decode": ["decode", "--encoding", "float", "--payload", "1"],
        "set": ["params", "set", "f2-0", "sensor-mode", "sensor", "1", "float"],
    }
    found = CliRunner().invoke(cli, [*words[command], "--scaling", "1e9999999"])
    assert isinstance(found.exception, ConfigurationError)
    assert "outside of 1e-30 to 1e30" in str(found.exception)
