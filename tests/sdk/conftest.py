"""What the tests of the SDK share: a broker, a recording subscriber, and a workshop that makes connectors."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.mosquitto import running
from tests.sdk.brokers import Broker, Faults, Recorder
from tests.sdk.homes import AsyncHome, Home
from tests.sdk.workshop import Workshop
from tests.waiting import DEADLINE

from iot2mqtt_sdk import MQTTClient


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that many tests share; each has a base topic of its own."""
    with running(Broker(tmp_path_factory.mktemp("broker"))) as broker:
        yield broker


@pytest.fixture
def own_mosquitto(tmp_path: Path) -> Iterator[Broker]:
    """A broker that a test may stop."""
    with running(Broker(tmp_path / "own")) as broker:
        yield broker


@pytest.fixture
def base() -> str:
    return f"site/{uuid4().hex}"


@pytest.fixture
def seen(mosquitto: Broker, base: str) -> Iterator[Recorder]:
    recorder = Recorder(mosquitto.port, base)
    yield recorder
    recorder.close()


@pytest.fixture
def workshop(mosquitto: Broker, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    made = Workshop(tmp_path, monkeypatch, mosquitto.port, base)
    yield made
    made.close()


@pytest.fixture
def faults(mosquitto: Broker, workshop: Workshop) -> Iterator[Faults]:
    """The proxy between the workshop's connectors and the shared broker."""
    proxy = Faults(mosquitto.port)
    workshop.env(MQTT_PORT=str(proxy.port))
    yield proxy
    workshop.close()
    proxy.close()


@pytest.fixture
def recorder(base: str) -> Iterator[Callable[[int], Recorder]]:
    """Makes a recording subscriber at the broker on a port."""
    made: list[Recorder] = []

    def make(port: int) -> Recorder:
        made.append(Recorder(port, base))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def connect(workshop: Workshop) -> Iterator[Callable[..., MQTTClient]]:
    """Makes clients of the instance `box`, connected, and disconnects them."""
    made: list[MQTTClient] = []

    def make(**variables: str) -> MQTTClient:
        workshop.env(**variables)
        client = MQTTClient()
        made.append(client)
        client.connect(retry_interval=DEADLINE)
        return client

    yield make
    for client in made:
        client.disconnect()


@pytest.fixture(params=[Home, AsyncHome])
def home(request: pytest.FixtureRequest) -> Any:
    """A connector class of the test's own, with hooks of either kind."""
    return type("TestHome", (request.param,), {})
