import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from iot2mqtt_pipeline.adapters.prometheus import PrometheusFigures, StageFigures
from iot2mqtt_pipeline.health import FRESH, STUCK, Endpoint, Health
from iot2mqtt_sdk.errors import ConfigurationError


class World:
    """A clock that is set, and a server that is there or not."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.fault: str | None = None
        self.asked = 0

    def check(self) -> str | None:
        self.asked += 1
        return self.fault


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def health(world: World, registry: CollectorRegistry) -> Health:
    return Health(checks={"kafka": world.check}, text=lambda: generate_latest(registry), clock=lambda: world.now)


@pytest.fixture
def root(health: Health) -> Iterator[str]:
    endpoint = Endpoint(health=health, host="127.0.0.1", port=0)
    yield f"http://127.0.0.1:{endpoint.start()}"
    endpoint.stop()


def got(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own server on loopback
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_stage_whose_server_is_away_is_live_and_not_ready(root: str, world: World) -> None:
    assert got(f"{root}/health/ready")[0] == 200
    world.fault, world.now = "no answer from 10.0.0.1:9092", world.now + FRESH + 1
    status, body = got(f"{root}/health/ready")
    assert (status, json.loads(body)["faults"]) == (503, {"kafka": "no answer from 10.0.0.1:9092"})
    assert got(f"{root}/health/live")[0] == 200


def test_a_stage_that_goes_round_no_more_is_not_live(root: str, health: Health, world: World) -> None:
    stopped = health.watched("sink", lambda: False)
    world.now += STUCK - 1
    assert not stopped()
    world.now += STUCK - 1
    assert got(f"{root}/health/live")[0] == 200
    world.now += 2
    status, body = got(f"{root}/health/live")
    assert (status, list(json.loads(body)["faults"])) == (503, ["sink"])


def test_many_questions_in_a_row_ask_a_server_once(health: Health, world: World) -> None:
    for _ in range(10):
        health.unready()
    assert world.asked == 1


def test_what_a_stage_counts_is_read_by_prometheus(root: str, registry: CollectorRegistry) -> None:
    metrics = PrometheusFigures(registry)
    sink, bridge = StageFigures(metrics, "sink"), StageFigures(metrics, "bridge")
    sink.received(5000)
    sink.dead_letter("bad_value")
    sink.batch(5000, 0.2)
    bridge.received(7)
    text = got(f"{root}/metrics")[1]
    assert 'iot2mqtt_pipeline_received_total{stage="sink"} 5000.0' in text
    assert 'iot2mqtt_pipeline_received_total{stage="bridge"} 7.0' in text
    assert 'iot2mqtt_pipeline_dead_letters_total{reason="bad_value",stage="sink"} 1.0' in text
    assert 'iot2mqtt_pipeline_batch_seconds_count{stage="sink"} 1.0' in text


def test_the_lag_of_a_partition_that_another_worker_took_over_is_no_longer_told(registry: CollectorRegistry) -> None:
    figures = StageFigures(PrometheusFigures(registry), "sink")
    figures.lag({("decoded", 0): 4, ("decoded", 1): 9})
    figures.lag({("decoded", 1): 8})
    told = generate_latest(registry).decode()
    assert 'partition="0"' not in told
    assert 'partition="1",stage="sink",topic="decoded"} 8.0' in told


def test_a_page_that_is_not_there_names_those_that_are(root: str) -> None:
    status, body = got(f"{root}/health")
    assert status == 404
    assert "/health/ready" in body


def test_an_address_that_is_taken_is_a_clear_error(root: str, health: Health) -> None:
    port = int(root.rpartition(":")[2])
    with pytest.raises(ConfigurationError, match="HTTP_PORT"):
        Endpoint(health=health, host="127.0.0.1", port=port).start()
