"""The log of Kafka's driver while a broker is away."""

import logging

import pytest

from iot2mqtt_pipeline.adapters.kafka_log import SILENCE, OnceInAWhile

REFUSED = (
    "FAIL [rdkafka#{client}] [thrd:127.0.0.1:{port}/1]: 127.0.0.1:{port}/1: Connect to ipv4#127.0.0.1:{port} failed: "
    "Connection refused (after {ms}ms in state CONNECT, {many} identical error(s) suppressed)"
)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> logging.Logger:
    log = logging.getLogger("test.driver")
    log.filters.clear()
    caplog.set_level(logging.DEBUG)
    return log


def test_what_the_driver_repeats_is_logged_once_in_a_while(
    said: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    now = [1000.0]
    said.addFilter(OnceInAWhile(clock=lambda: now[0]))
    for number in range(100):
        said.error(REFUSED.format(client=f"producer-{number}", port=9092, ms=number, many=number * 2))
        now[0] += 0.1
    assert len(caplog.records) == 1
    now[0] += SILENCE
    said.error(REFUSED.format(client="producer-1", port=9092, ms=0, many=3))
    assert len(caplog.records) == 2


def test_another_broker_and_another_fault_are_logged_at_once(
    said: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    said.addFilter(OnceInAWhile(clock=lambda: 1000.0))
    for port in (9092, 9093, 9094):
        said.error(REFUSED.format(client="consumer-1", port=port, ms=0, many=1))
    said.warning("SESSTMOUT [rdkafka#consumer-1] [thrd:main]: Consumer group session timed out after 10012 ms")
    assert len(caplog.records) == 4


def test_no_number_of_different_messages_fills_the_memory() -> None:
    now = [1000.0]
    once = OnceInAWhile(clock=lambda: now[0])
    for number in range(10_000):
        now[0] += 1.0
        assert once.filter(logging.makeLogRecord({"msg": f"broker {number} is away"}))
    assert len(once._passed) <= 1001
