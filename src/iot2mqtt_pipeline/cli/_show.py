"""The view of `up`: where its numbers come from, and when it is drawn."""

import logging
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import click
from prometheus_client import CollectorRegistry

from iot2mqtt_pipeline import live
from iot2mqtt_pipeline.adapters.counts import Cells, newest
from iot2mqtt_pipeline.cli._crew import STAGES
from iot2mqtt_pipeline.errors import PipelineError
from iot2mqtt_pipeline.live import Numbers, Trend
from iot2mqtt_pipeline.settings import Settings
from iot2mqtt_sdk.errors import ConfigurationError

_PREFIX = "iot2mqtt_pipeline_"
_FIELDS = {
    "received_total": "received",
    "forwarded_total": "forwarded",
    "dead_letters_total": "dead_letters",
    "duplicates_total": "duplicates",
    "connections_total": "connections",
    "lag_records": "lag",
}
_ROWS = 12
_NOTES = 4
_PLAIN_EVERY = 2.0
_LIVE_EVERY = 1.0


def numbers(registry: CollectorRegistry) -> dict[str, Numbers]:
    """Return what each stage has counted."""
    counts: dict[str, dict[str, int]] = {stage: {} for stage in STAGES}
    for metric in registry.collect():
        for sample in metric.samples:
            name = _FIELDS.get(sample.name.removeprefix(_PREFIX))
            stage = counts.get(sample.labels.get("stage", ""))
            if name is not None and stage is not None:
                stage[name] = stage.get(name, 0) + int(sample.value)
    return {stage: Numbers(**found) for stage, found in counts.items()}


class _Notes(logging.Handler):
    """Keeps what was logged last, for a screen that nothing else may write on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last: deque[str] = deque(maxlen=_NOTES)

    def emit(self, record: logging.LogRecord) -> None:
        self.last.append(f"{record.levelname} {record.getMessage()}")


class Show:
    """Shows what happens until it is told to end.

    Args:
        found: Where the newest rows are.
        registry: The metrics of the stages.
        services: A line on each service.
        simulated: Returns how many messages were published here; None where nobody simulates.

    Attributes:
        status: What is going on, for the heading.
    """

    def __init__(
        self,
        *,
        found: Settings,
        registry: CollectorRegistry,
        services: Mapping[str, str],
        simulated: Callable[[], int] | None,
    ) -> None:
        self._found = found
        self._registry = registry
        self._services = services
        self._simulated = simulated
        self._live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._trend = Trend()
        self._notes = _Notes()
        self._began = time.monotonic()
        self._due = 0.0
        self.status = "Ctrl-C ends"

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Use a screen of our own, where there is one, and leave it as it was."""
        if not self._live:
            yield
            return
        log = logging.getLogger()
        others = log.handlers[:]
        log.handlers[:] = [self._notes]
        click.echo(live.ENTER, nl=False)
        try:
            yield
        finally:
            click.echo(live.LEAVE, nl=False)
            log.handlers[:] = others

    def tick(self) -> None:
        """Show how things are, when it is time to."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + (_LIVE_EVERY if self._live else _PLAIN_EVERY)
        counted = numbers(self._registry)
        if self._simulated is not None:
            counted = {"simulator": Numbers(received=self._simulated()), **counted}
        first = not self._trend.now
        self._trend.add(counted, now)
        seconds = now - self._began
        if self._live:
            self._draw(seconds)
        elif not first:
            click.echo(live.plain(self._trend, seconds))

    def _draw(self, seconds: float) -> None:
        minutes, rest = divmod(int(seconds), 60)
        columns, rows = shutil.get_terminal_size()
        lines = live.screen(
            self._trend,
            status=f"{minutes:02}:{rest:02}   {self.status}",
            services=self._services,
            newest=self._newest(),
            notes=list(self._notes.last),
            size=(columns, rows),
        )
        if os.environ.get("NO_COLOR"):
            lines = [click.unstyle(line) for line in lines]
        click.echo(live.drawn(lines), nl=False)

    def _newest(self) -> Cells:
        try:
            return newest(self._found.timescale.connection(), _ROWS)
        except (PipelineError, ConfigurationError):
            # The stages say that the database is away; the view goes on.
            return []
