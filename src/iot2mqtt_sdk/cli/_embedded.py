"""A broker from pip alone, inside this process: for trying out, not for production. Importing this needs amqtt."""

import asyncio
import json
import logging
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import click
from amqtt.broker import Broker
from amqtt.errors import BrokerError

from iot2mqtt_sdk.cli._broker import record
from iot2mqtt_sdk.cli._port import HOST, free_port

PREFERRED_PORT = 1883
PATIENCE = 10.0
"""Seconds in which the broker must have started, or ended."""


class _Mended(Broker):  # type: ignore[misc]  # amqtt carries no types
    """amqtt (seen in 0.12) sends a new client what is retained for the filters of all others: watch saw it twice."""

    async def _publish_retained_messages_for_subscription(self, subscription: tuple[str, int], session: Any) -> None:
        subscribers = [subscriber for subscriber, _ in self._subscriptions.get(subscription[0], [])]
        if session in subscribers:
            await super()._publish_retained_messages_for_subscription(subscription, session)


@contextmanager
def broker() -> Iterator[int]:
    """Run amqtt on a loopback port, 1883 where that is free, and yield the port.

    Raises:
        ClickException: It does not start.
    """
    # What it logs are its own steps, and the coming and going of its peers.
    for name in ("amqtt", "transitions"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    port = free_port(PREFERRED_PORT)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="iot2mqtt-broker", daemon=True)
    thread.start()
    try:
        running = asyncio.run_coroutine_threadsafe(_start(port), loop).result(PATIENCE)
    except (BrokerError, OSError, TimeoutError) as error:
        raise click.ClickException(f"the embedded broker does not start on {HOST}:{port}: {error}") from None
    try:
        with _recorded(port):
            yield port
    finally:
        ended: Future[None] = asyncio.run_coroutine_threadsafe(running.shutdown(), loop)
        ended.exception(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)


def address(port: int) -> dict[str, str]:
    """Return the variables that lead a connector to the broker, whatever else its environment says."""
    return {
        "MQTT_HOST": HOST,
        "MQTT_PORT": str(port),
        "MQTT_TLS": "false",
        "MQTT_USERNAME": "",
        "MQTT_PASSWORD": "",
        "MQTT_VERSION": "3.1.1",
    }


async def _start(port: int) -> Broker:
    made = _Mended(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{HOST}:{port}", "max_connections": 500}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await made.start()
    return made


@contextmanager
def _recorded(port: int) -> Iterator[None]:
    """Leave a note of the port, so that `watch` and `send` find the broker."""
    file = record()
    note = json.dumps({"pid": os.getpid(), "port": port})
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_text(note, encoding="utf-8")
    except OSError as error:
        click.echo(f"{file} cannot be written ({error.strerror}): set MQTT_PORT={port} for watch and send", err=True)
    try:
        yield
    finally:
        # Another broker may have left its own note meanwhile.
        if file.is_file() and file.read_text(encoding="utf-8") == note:
            file.unlink()
