"""`iot2mqtt health`: for a container's HEALTHCHECK; asks the running connector over MQTT, so that it needs no port."""

import sys
import time
from dataclasses import replace

import click

from iot2mqtt_sdk.cli._broker import Connection, Down, Message, Up
from iot2mqtt_sdk.contract.topics import Topics
from iot2mqtt_sdk.errors import ConfigurationError
from iot2mqtt_sdk.jsontext import decode
from iot2mqtt_sdk.runtime.config import secrets
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
    deadline = time.monotonic() + PATIENCE
    with Connection(_with_secrets(settings), [topics.below("meta/info")]) as connection:
        while (left := deadline - time.monotonic()) > 0:
            match connection.next(left):
                case Up():
                    connection.publish(topics.below("meta/request/info"), b"{}")
                case Down(reason):
                    return reason
                case Message(payload=answer):
                    return _faults(answer)
    return "the connector does not answer"


def _faults(answer: bytes) -> str | None:
    """Return what the connector's info says is wrong; a connector that says nothing of its health is well."""
    info = decode(answer)
    report = info.get("health") if isinstance(info, dict) else None
    if not isinstance(report, dict) or report.get("ok") is not False:
        return None
    return "; ".join(map(str, report.get("faults") or ["the connector says so"]))


def _with_secrets(settings: Settings) -> Settings:
    """Return the settings with the credentials that the connector itself takes."""
    given = secrets(settings.secrets_dir / f"{settings.instance_name}_mqtt")
    return replace(
        settings,
        username=given.get("username") or settings.username,
        password=given.get("password") or settings.password,
    )
