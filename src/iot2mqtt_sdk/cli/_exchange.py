"""One command and its response, as `iot2mqtt send` has them."""

import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import click

from iot2mqtt_sdk.cli._broker import Connection, Down, Message, News, Up
from iot2mqtt_sdk.cli._text import printable
from iot2mqtt_sdk.clock import Clock
from iot2mqtt_sdk.contract.time import format_timestamp
from iot2mqtt_sdk.contract.topics import Topics, matches
from iot2mqtt_sdk.jsontext import decode, encode
from iot2mqtt_sdk.settings import Settings

PATIENCE = 10.0
"""Seconds in which the broker must have let us in."""
ARRIVAL = 2.0
"""Seconds from then on in which it must have told the status of the instance, which it keeps."""
GRACE = 1.0
"""Seconds beyond the command's timeout in which the connector must have said that it ran out (clause I2M-CMD-14)."""


def exchange(
    settings: Settings, topics: Topics, device: str, values: Mapping[str, Any], timeout: float
) -> dict[str, Any]:
    """Send a command to a device, and return the response.

    Args:
        settings: The broker's.
        topics: The instance's.
        device: The device.
        values: Wanted value by property name.
        timeout: Seconds that the command may take.

    Raises:
        ClickException: The broker cannot be reached, the instance is unknown or offline, or nobody answers in time.
    """
    statuses = f"{topics.base}/v1/instances/+/status"
    with Connection(settings, [statuses, topics.device(device, "cmd/response")]) as connection:
        made = _Exchange(connection, topics, statuses)
        made.find_instance()
        return made.ask(device, values, timeout)


class _Exchange:
    def __init__(self, connection: Connection, topics: Topics, statuses: str) -> None:
        self._connection = connection
        self._topics = topics
        self._filter = statuses
        self._statuses: dict[str, str] = {}

    def find_instance(self) -> None:
        """Wait until the instance is known to be online: a command must not wait in a broker for later."""
        while not isinstance(self._next(time.monotonic() + PATIENCE, "the broker lets nobody in"), Up):
            continue  # some brokers send what they keep before they acknowledge
        deadline = time.monotonic() + ARRIVAL
        name = self._topics.instance_id
        while self._statuses.get(name) != "online":
            if self._statuses.get(name) == "offline":
                raise click.ClickException(f"the instance {name} is offline: start its connector")
            known = printable(", ".join(sorted(self._statuses))) or "none"
            advice = f"check its name and MQTT_BASE_TOPIC (known: {known})"
            self._next(deadline, f"the broker knows no instance {name} below {self._topics.base}: {advice}")

    def ask(self, device: str, values: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Send the command and return its response."""
        number, name = uuid4().hex, self._topics.instance_id
        command = {
            "id": number,
            "timestamp": format_timestamp(Clock().now()),
            "values": values,
            "timeout": max(round(timeout * 1000), 1),
        }
        self._connection.publish(self._topics.device(device, "cmd"), encode(command))
        deadline = time.monotonic() + timeout + GRACE
        while True:
            news = self._next(deadline, f"{device} of {name} did not answer within {timeout:g} s")
            response = _response(news)
            if response.get("cmd_id") == number:
                return response
            if self._statuses[name] == "offline":
                raise click.ClickException(f"the instance {name} went offline before it answered")

    def _next(self, deadline: float, otherwise: str) -> News:
        """Return the next piece of news, keeping statuses in mind."""
        news = self._connection.next(deadline - time.monotonic())
        if news is None:
            raise click.ClickException(otherwise)
        if isinstance(news, Down):
            raise click.ClickException(news.reason)
        if isinstance(news, Message) and matches(self._filter, news.topic):
            self._statuses[news.topic.split("/")[-2]] = news.payload.decode(errors="replace")
        return news


def _response(news: News) -> dict[str, Any]:
    try:
        response = decode(news.payload) if isinstance(news, Message) else None
    except ValueError:
        return {}
    return response if isinstance(response, dict) else {}
