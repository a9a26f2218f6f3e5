"""`iot2mqtt health`: for a container's HEALTHCHECK; asks the running connector over MQTT, so that it needs no port."""

import queue
import sys
import threading
from typing import Any
from uuid import uuid4

import click
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from iot2mqtt_sdk.contract.topics import Topics
from iot2mqtt_sdk.errors import ConfigurationError
from iot2mqtt_sdk.jsontext import decode
from iot2mqtt_sdk.runtime.config import secrets
from iot2mqtt_sdk.runtime.link import explain, tls_context
from iot2mqtt_sdk.settings import Settings, load

PATIENCE = 5.0
"""Seconds from the call until the connector must have answered."""


@click.command(epilog="Example, in a Dockerfile: HEALTHCHECK CMD iot2mqtt health")
def health() -> None:
    """Exit with 0 where the connector of INSTANCE_NAME is well, and with 1 where it is not.

    It is well where it answers meta/request/info and reports no faults: its timers and its polling run, and not nearly
    all of its last polls have failed.
    """
    try:
        fault = _examine(load())
    except (ConfigurationError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    if fault is not None:
        click.echo(f"unhealthy: {fault}", err=True)
        sys.exit(1)
    click.echo("healthy")


def _examine(settings: Settings) -> str | None:
    """Ask the connector for its info; return what is wrong, or None where it is well."""
    if settings.instance_name is None:
        raise ConfigurationError("the instance has no name: set INSTANCE_NAME")
    topics = Topics.of(settings.base_topic, settings.instance_name)
    client = _client(settings)
    connected = threading.Event()
    answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def on_connect(client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if not reason.is_failure:
            connected.set()
            client.subscribe(topics.below("meta/info"), 1)

    def on_subscribe(client: paho.Client, _data: Any, _mid: int, _reasons: Any, _properties: Any) -> None:
        client.publish(topics.below("meta/request/info"), b"{}", qos=1)

    client.on_connect = on_connect
    client.on_subscribe = on_subscribe
    client.on_message = lambda _client, _data, message: answers.put(bytes(message.payload))
    try:
        client.connect(settings.host, settings.port, settings.keepalive)
    except OSError as error:
        return f"the broker {settings.host}:{settings.port} cannot be reached: {explain(error)}"
    client.loop_start()
    try:
        return _faults(answers.get(timeout=PATIENCE))
    except queue.Empty:
        return "the connector does not answer" if connected.is_set() else "the broker refuses the connection"
    finally:
        client.disconnect()
        client.loop_stop()


def _faults(answer: bytes) -> str | None:
    """Return what the connector's info says is wrong; a connector that says nothing of its health is well."""
    info = decode(answer)
    report = info.get("health") if isinstance(info, dict) else None
    if not isinstance(report, dict) or report.get("ok") is not False:
        return None
    return "; ".join(map(str, report.get("faults") or ["the connector says so"]))


def _client(settings: Settings) -> paho.Client:
    version = paho.MQTTv5 if settings.version == "5" else paho.MQTTv311
    # A client id of its own: that of the connector would take over the connector's session.
    client_id = f"{settings.client_prefix}_{settings.instance_name}_health_{uuid4().hex[:8]}"
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version)
    given = secrets(settings.secrets_dir / f"{settings.instance_name}_mqtt")
    username = given.get("username") or settings.username
    password = given.get("password") or settings.password
    if username is not None or password is not None:
        client.username_pw_set(username or "", password)
    if settings.tls:
        client.tls_set_context(tls_context(settings))
    return client
