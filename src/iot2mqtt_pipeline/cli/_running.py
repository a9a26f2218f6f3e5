"""What every long-running command has: settings, a log, an end by signal, and health over HTTP."""

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
from prometheus_client import CollectorRegistry, generate_latest

from iot2mqtt_pipeline.adapters.prometheus import PrometheusFigures, StageFigures
from iot2mqtt_pipeline.health import Check, Endpoint, Health
from iot2mqtt_pipeline.settings import Settings
from iot2mqtt_pipeline.stage import Stopped
from iot2mqtt_sdk.logs import configure


def with_check_config(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command --check-config, which shows the settings with secrets masked, and does nothing else."""

    def show(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
        if wanted:
            click.echo(json.dumps(Settings.load().model_dump(mode="json"), indent=2))
            context.exit()

    text = "Show the settings with secrets masked, and end."
    return click.option("--check-config", is_flag=True, is_eager=True, expose_value=False, callback=show, help=text)(
        command
    )


def settings() -> Settings:
    """Read the settings, and begin to log.

    Raises:
        ConfigurationError: A variable has a value that it cannot have.
    """
    found = Settings.load()
    configure(found.log_level)
    return found


@contextmanager
def until_signal() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    ending = threading.Event()
    old: dict[signal.Signals, Any] = {}

    def end(_number: int, _frame: object) -> None:
        ending.set()
        for one, before in old.items():
            signal.signal(one, before)

    for one in (signal.SIGTERM, signal.SIGINT):
        old[one] = signal.signal(one, end)
    try:
        yield ending
    finally:
        for one, before in old.items():
            signal.signal(one, before)


@dataclass(frozen=True, slots=True)
class Watch:
    """How a process is looked at from outside.

    Attributes:
        registry: Its metrics.
        figures: Counts for a stage.
        health: What /health tells.
    """

    registry: CollectorRegistry
    figures: Callable[[str], StageFigures]
    health: Health


@contextmanager
def watched(*, at: Settings, checks: Mapping[str, Check]) -> Iterator[Watch]:
    """Serve metrics and health of a process, where HTTP_PORT says so.

    Raises:
        ConfigurationError: Nobody can listen on HTTP_HOST and HTTP_PORT.
    """
    registry = CollectorRegistry()
    metrics = PrometheusFigures(registry)
    health = Health(checks=checks, text=lambda: generate_latest(registry))
    endpoint = Endpoint(health=health, host=at.http_host, port=at.http_port or 0)
    if at.http_port is not None:
        endpoint.start()
    try:
        yield Watch(registry, lambda stage: StageFigures(metrics, stage), health)
    finally:
        endpoint.stop()


@contextmanager
def observed(
    stage: str, *, at: Settings, checks: Mapping[str, Check], stopped: Stopped
) -> Iterator[tuple[StageFigures, Stopped]]:
    """Serve metrics and health of one stage, and yield its figures and the `stopped` that tells it is alive.

    Raises:
        ConfigurationError: Nobody can listen on HTTP_HOST and HTTP_PORT.
    """
    with watched(at=at, checks=checks) as watch:
        yield watch.figures(stage), watch.health.watched(stage, stopped)


def out_of(text: str) -> None:
    """Write text that is a command's result."""
    sys.stdout.write(text)
