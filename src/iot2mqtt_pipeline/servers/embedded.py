"""A broker and a Kafka from pip alone, inside this process: for trying out, never for data that matter."""

import asyncio
import logging
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from iot2mqtt_pipeline.servers.ports import free_port
from iot2mqtt_sdk.errors import ConfigurationError

PATIENCE = 10.0
"""Seconds in which a server must have started, or ended."""
HOST = "127.0.0.1"


@contextmanager
def broker() -> Iterator[int]:
    """Run amqtt on a free loopback port, and yield the port.

    Raises:
        ConfigurationError: It is not installed, or does not start.
    """
    try:
        from amqtt.broker import Broker
        from amqtt.errors import BrokerError
    except ImportError:
        raise ConfigurationError(
            "there is no Mosquitto on this machine: install it, or the Python package amqtt, or set MQTT_HOST"
        ) from None
    # What they log are their own steps, and the coming and going of their peers.
    for name in ("amqtt", "transitions", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    port = free_port()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="iot2mqtt-broker", daemon=True)
    thread.start()
    try:
        running = asyncio.run_coroutine_threadsafe(_start(Broker, port), loop).result(PATIENCE)
    except (BrokerError, OSError, TimeoutError) as error:
        raise ConfigurationError(f"the embedded broker does not start on {HOST}:{port}: {error}") from None
    try:
        yield port
    finally:
        ended: Future[None] = asyncio.run_coroutine_threadsafe(running.shutdown(), loop)
        ended.exception(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)


async def _start(kind: Any, port: int) -> Any:
    made = kind(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{HOST}:{port}", "max_connections": 500}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await made.start()
    return made


@contextmanager
def kafka(topics: Iterable[str]) -> Iterator[str]:
    """Run the mock cluster of librdkafka with these topics, and yield its address.

    It speaks enough of the protocol for groups and transactions. It keeps records in memory, five megabytes of a
    partition at the most, and hides nothing of a transaction that was given up.

    Raises:
        ConfigurationError: It does not start.
    """
    log = logging.getLogger("iot2mqtt.pipeline.embedded")
    log.setLevel(logging.ERROR)
    cluster = AdminClient({"test.mock.num.brokers": "1", "bootstrap.servers": HOST}, logger=log)
    try:
        known = cluster.list_topics(timeout=PATIENCE).brokers.values()
        address = ",".join(f"{one.host}:{one.port}" for one in known)
        # It creates no topics on request, but those that a producer asks for.
        producer = Producer({"bootstrap.servers": address}, logger=log)
        for topic in topics:
            producer.list_topics(topic, PATIENCE)
    except KafkaException as exception:
        raise ConfigurationError(f"the embedded Kafka does not start: {exception}") from None
    yield address
    del cluster
