"""`iot2mqtt-pipeline up`: everything in one process, on what pip brings."""

import logging
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from iot2mqtt_conformance.ports import free_port
from iot2mqtt_pipeline import live
from iot2mqtt_pipeline.adapters.prometheus import PrometheusFigures, StageFigures
from iot2mqtt_pipeline.cli._crew import keep
from iot2mqtt_pipeline.cli._running import Watch
from iot2mqtt_pipeline.cli._show import numbers
from iot2mqtt_pipeline.errors import FencedError
from iot2mqtt_pipeline.health import Health
from iot2mqtt_pipeline.live import Numbers, Trend
from iot2mqtt_pipeline.stage import Stopped
from tests.pipeline.kafkas import DEADLINE
from tests.pipeline.pipelines import started, until_said

EMBEDDED = ("--broker", "embedded", "--kafka", "embedded")


@pytest.mark.slow
def test_with_nothing_but_pip_everything_that_is_simulated_is_stored_and_the_books_balance(tmp_path: Path) -> None:
    log = tmp_path / "up.log"
    words = [*EMBEDDED, "--simulate", "3", "--rate", "60", "--malformed", "0.1", "--duration", "3"]
    process = started("up", *words, env={}, log=log)
    assert process.wait(2 * DEADLINE) == 0, log.read_text(encoding="utf-8")
    said = log.read_text(encoding="utf-8")
    assert "embedded (amqtt)" in said
    assert "for trying out" in said
    assert "simulator" in said
    assert "celsius" in said.partition("iot_hourly_stats")[2]
    (total,) = [line.split() for line in said.splitlines() if line.startswith("all 3 ")]
    published, stored, dead, duplicates, missing = map(int, total[2:])
    assert published == stored + dead
    assert dead > 0
    assert (duplicates, missing) == (0, 0)
    assert "The books balance" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_ctrl_c_ends_it_in_order(tmp_path: Path) -> None:
    log = tmp_path / "up.log"
    process = started("up", *EMBEDDED, "--simulate", "1", "--rate", "50", env={"HTTP_PORT": str(free_port())}, log=log)
    try:
        until_said(log, "simulator 5", process)
    finally:
        process.send_signal(signal.SIGINT)
    assert process.wait(2 * DEADLINE) == 0, log.read_text(encoding="utf-8")
    assert "The books balance" in log.read_text(encoding="utf-8")


def watch() -> Watch:
    registry = CollectorRegistry()
    metrics = PrometheusFigures(registry)
    health = Health(checks={}, text=lambda: generate_latest(registry))
    return Watch(registry, lambda stage: StageFigures(metrics, stage), health)


def test_a_stage_that_dies_is_said_and_started_again(caplog: pytest.LogCaptureFixture) -> None:
    over, began = threading.Event(), []

    class Dying:
        def run(self, stopped: Stopped) -> None:
            began.append(stopped())
            if len(began) == 1:
                raise FencedError("another one writes")
            if len(began) == 2:
                raise ZeroDivisionError
            over.set()

    keep("sink", Dying, watch(), over)
    assert began == [False] * 3
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert errors[0].startswith("the sink has ended: another one writes; it starts again in ")
    assert errors[1].startswith("the sink has ended by a defect; ")


def test_the_view_is_fed_by_the_metrics() -> None:
    seen = watch()
    sink = seen.figures("sink")
    sink.received(7)
    sink.dead_letter("bad_time")
    sink.dead_letter("bad_value")
    sink.lag({("decoded", 0): 3, ("decoded", 1): 4})
    assert numbers(seen.registry)["sink"] == Numbers(received=7, dead_letters=2, lag=7)
    assert numbers(seen.registry)["bridge"] == Numbers()


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (200, 60)])
def test_the_view_fits_into_the_terminal(size: tuple[int, int]) -> None:
    trend = Trend()
    for second in range(40):
        trend.add({"bridge": Numbers(received=second * second), "sink": Numbers(dead_letters=1)}, float(second))
    row = (datetime.now(UTC), "f2-e4fd45f654be", "door-sensors", "door\x1b[31m", 1.0, None, "state")
    services = {"broker": "127.0.0.1:1883, " + "x" * 100}
    lines = live.screen(trend, status="x" * 300, services=services, newest=[row] * 80, notes=["w\x1b"] * 3, size=size)
    plain = [click.unstyle(line) for line in lines]
    assert len(plain) <= size[1]
    assert max(map(len, plain)) <= size[0]
    assert not any("\x1b" in line for line in plain)


def test_the_bars_grow_with_the_rate() -> None:
    assert live.sparks([0, 50, 100]) == "▁▅█"
    assert live.sparks([0, 0]) == "▁▁"
    trend = Trend()
    trend.add({"bridge": Numbers(received=10)}, 1.0)
    trend.add({"bridge": Numbers(received=30)}, 3.0)
    assert trend.rate("bridge") == 10.0
    assert live.plain(trend, 3.0).startswith("    3 s  bridge 10/s;")
