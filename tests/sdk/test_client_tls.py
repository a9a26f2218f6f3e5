"""MQTTClient over TLS: whom it trusts, and who it says it is."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.mosquitto import running
from tests.sdk.brokers import Broker
from tests.sdk.workshop import Workshop
from tests.waiting import wait_until

from iot2mqtt_sdk import ConfigurationError, MQTTClient

Connect = Callable[..., MQTTClient]


class Certificates:
    """An authority of our own, with a broker's certificate and a client's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=Authority -keyout ca.key -out ca.pem")
        for name in ("broker", "client"):
            self._openssl(f"req -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout {name}.key -out {name}.csr")
            (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n", encoding="utf-8")
            self._openssl(
                f"x509 -req -days 2 -in {name}.csr -out {name}.pem -extfile names "
                "-CA ca.pem -CAkey ca.key -CAcreateserial"
            )
        self._openssl("rsa -aes128 -passout pass:hush -in client.key -out locked.key")
        self._openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=Stranger -keyout s.key -out stranger.pem")

    def _openssl(self, arguments: str) -> None:
        subprocess.run(["openssl", *arguments.split()], cwd=self.folder, check=True, capture_output=True)

    def __getitem__(self, name: str) -> str:
        return str(self.folder / name)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture
def tls_broker(tmp_path: Path, certificates: Certificates) -> Iterator[Broker]:
    lines = [
        "allow_anonymous true",
        f"cafile {certificates['ca.pem']}",
        f"certfile {certificates['broker.pem']}",
        f"keyfile {certificates['broker.key']}",
        "require_certificate true",
    ]
    with running(Broker(tmp_path / "tls", listener="\n".join(lines))) as broker:
        yield broker


def test_tls_with_an_authority_of_our_own_and_a_client_certificate(
    tls_broker: Broker, certificates: Certificates, connect: Connect
) -> None:
    client = connect(
        MQTT_PORT=str(tls_broker.port),
        MQTT_TLS="true",
        MQTT_CA_CERTS=certificates["ca.pem"],
        MQTT_CERTFILE=certificates["client.pem"],
        MQTT_KEYFILE=certificates["client.key"],
    )
    assert client.connected


# paho drops the socket of a failed handshake without closing it; its reference count does.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_a_broker_that_cannot_be_verified_is_refused(
    tls_broker: Broker, certificates: Certificates, workshop: Workshop
) -> None:
    workshop.env(MQTT_PORT=str(tls_broker.port), MQTT_TLS="1", MQTT_CA_CERTS=certificates["stranger.pem"])
    client = MQTTClient()
    client.begin()
    wait_until(lambda: client.trouble)
    assert "not trusted" in str(client.trouble)
    assert "MQTT_CA_CERTS" in str(client.trouble)
    client.disconnect()


@pytest.mark.parametrize(
    ("ca", "cert", "key"),
    [
        ("none.pem", "client.pem", "client.key"),
        ("broker.key", "client.pem", "client.key"),
        ("ca.pem", "client.pem", "broker.key"),
        ("ca.pem", "client.pem", "locked.key"),
    ],
)
def test_tls_files_that_cannot_be_used_are_told_at_once(
    certificates: Certificates, workshop: Workshop, ca: str, cert: str, key: str
) -> None:
    names = {"MQTT_CA_CERTS": ca, "MQTT_CERTFILE": cert, "MQTT_KEYFILE": key}
    workshop.env(MQTT_TLS="true", **{name: certificates[file] for name, file in names.items()})
    with pytest.raises(ConfigurationError, match="TLS cannot be set up from MQTT_CA_CERTS"):
        MQTTClient()
