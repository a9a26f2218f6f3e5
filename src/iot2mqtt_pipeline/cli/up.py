"""`iot2mqtt-pipeline up`: everything in one process, on whatever services there are."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import click

from iot2mqtt_pipeline.adapters.counts import Cells, hourly, newest
from iot2mqtt_pipeline.adapters.migrate import migrate
from iot2mqtt_pipeline.cli import _wiring
from iot2mqtt_pipeline.cli._books import gather, lines
from iot2mqtt_pipeline.cli._crew import STAGES, crew
from iot2mqtt_pipeline.cli._running import Watch, until_signal, watched, with_check_config
from iot2mqtt_pipeline.cli._services import Kind, Services, services
from iot2mqtt_pipeline.cli._show import Show, numbers
from iot2mqtt_pipeline.cli._simulation import Simulation, fleet, set_parameters
from iot2mqtt_pipeline.cli.simulator import POSITIVE
from iot2mqtt_pipeline.decoders import add_decoders
from iot2mqtt_pipeline.live import Numbers, table
from iot2mqtt_pipeline.settings import Settings
from iot2mqtt_sdk.errors import Iot2MqttError
from iot2mqtt_sdk.logs import configure

_log = logging.getLogger("iot2mqtt.pipeline.up")

DRAINED = 60.0
"""Seconds for what is under way to arrive, at the most."""
QUIET = 20.0
"""Seconds without any progress after which no more is waited for: so long may a Kafka that has just started take."""
SETTLED = 3.0
"""Seconds until it is known how far a stage is behind in a given Kafka, which may have held something before."""
BEGUN = 30.0
"""Seconds for the bridge to subscribe, before anything is simulated."""
_TICK = 0.1
_ROWS, _HOURS, _DEVICES = 10, 12, 20
_TRIAL = "What is embedded is for trying out: it keeps all in memory, and not every promise that a real Kafka does."
_KIND = click.Choice(["local", "embedded"])


@click.command(epilog="Example: iot2mqtt-pipeline up --simulate 5 --duration 60")
@click.option("--simulate", metavar="N", type=click.IntRange(min=1), help="Also simulate N controllers.")
@click.option("--rate", type=POSITIVE, help="Messages a second of all simulated ones; PUBLISH_INTERVAL unless given.")
@click.option("--malformed", default=0.0, type=click.FloatRange(0, 1), help="Share of messages nobody can decode.")
@click.option("--duration", type=POSITIVE, help="Seconds after which it ends.")
@click.option("--broker", type=_KIND, help="Start Mosquitto or amqtt, whatever MQTT_HOST says.")
@click.option("--kafka", type=_KIND, help="Start Kafka, by Maven if need be, or the embedded one.")
@with_check_config
def up(
    *,
    simulate: int | None,
    rate: float | None,
    malformed: float,
    duration: float | None,
    broker: Kind | None,
    kafka: Kind | None,
) -> None:
    """Run all stages in this process, on given services or on those of this machine, or of pip.

    MQTT_HOST, KAFKA_BOOTSTRAP_SERVERS, POSTGRES_HOST and TIMESCALE_HOST are used where they are set; what is started
    here instead forgets everything in the end. Then it shows rows, hourly statistics and the ledger, and ends with code
    1 where the ledger does not balance.
    """
    began = time.monotonic()
    found = Settings.load()
    configure(found.log_level if "log_level" in found.model_fields_set else "WARNING")
    add_decoders()
    with until_signal() as ending, services(found, broker=broker, kafka=kafka) as made:
        _introduce(made, time.monotonic() - began)
        for part, database in (("parameters", made.settings.postgres), ("measurements", made.settings.timescale)):
            migrate(database.connection(), part=part)  # type: ignore[arg-type] # both are names of parts
        simulation = None
        if simulate is not None:
            interval = found.publish_interval
            devices = fleet(devices=simulate, rate=rate, interval=interval, seed=0, malformed=malformed)
            set_parameters(made.settings.postgres, devices)
            simulation = Simulation(made.settings.mqtt, devices, threading.Event())
        _run(made, simulation, ending, duration)
        _conclude(made.settings)


def _introduce(made: Services, seconds: float) -> None:
    for name, text in made.said.items():
        click.echo(f"{name:<12}  {text}")
    if made.trial:
        click.echo(_TRIAL)
    if made.variables:
        click.echo(f"\nStarted within {seconds:.1f} s. Other commands reach them with")
        for name, value in made.variables.items():
            click.echo(f"  export {name}={value}")
    click.echo()


def _run(made: Services, simulation: Simulation | None, ending: threading.Event, duration: float | None) -> None:
    """Run the stages, show what happens until it is time to end, and wait until all of it has arrived."""
    needs = _wiring.Needs(made.settings)
    checks = {name: check for stage in STAGES for name, check in needs.of(stage).items()}
    published = simulation.published if simulation is not None else None
    with watched(at=made.settings, checks=checks) as watch, ExitStack() as stack:
        stack.enter_context(crew(made.settings, watch, expiry=made.expiry))
        show = Show(found=made.settings, registry=watch.registry, services=made.said, simulated=published)
        stack.enter_context(show.shown())
        _watch(show, ending, BEGUN, lambda: _subscribed(watch))
        thread = threading.Thread(target=_simulate, args=(simulation, ending), name="simulator", daemon=True)
        if simulation is not None:
            thread.start()
        _watch(show, ending, duration or float("inf"), lambda: False)
        if simulation is not None:
            simulation.ending.set()
            thread.join()
        show.status = "ending: what is under way is waited for"
        sent = published() if published is not None else 0
        _drain(watch, show, sent, settled=0 if "KAFKA_BOOTSTRAP_SERVERS" in made.variables else SETTLED)


def _simulate(simulation: Simulation, ending: threading.Event) -> None:
    try:
        simulation.run()
    except Iot2MqttError as error:
        _log.error("the simulator has ended: %s", error)
        ending.set()


def _watch(show: Show, ending: threading.Event, seconds: float, enough: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not enough() and time.monotonic() < end and not ending.wait(_TICK):
        show.tick()


def _subscribed(watch: Watch) -> bool:
    return numbers(watch.registry)["bridge"].connections > 0


def _drain(watch: Watch, show: Show, sent: int, *, settled: float) -> None:
    """Wait until everything has arrived, or nothing moves any more."""
    end = time.monotonic() + DRAINED
    still, since = None, time.monotonic()
    known = since + settled
    while time.monotonic() < end:
        now = numbers(watch.registry)
        if now["bridge"].forwarded < sent:
            known = time.monotonic() + settled
        if _arrived(now, sent) and time.monotonic() > known:
            return
        if now != still:
            still, since = now, time.monotonic()
        elif time.monotonic() - since > QUIET:
            return
        show.tick()
        time.sleep(_TICK)


def _arrived(now: dict[str, Numbers], sent: int) -> bool:
    bridge, processor, sink = (now[stage] for stage in STAGES)
    return (
        bridge.received >= sent
        and bridge.forwarded >= bridge.received
        and processor.received >= bridge.forwarded - bridge.dead_letters
        and sink.received >= processor.forwarded - processor.dead_letters
        and sink.forwarded + sink.dead_letters >= sink.received
        and processor.lag == sink.lag == 0
    )


def _show(name: str, head: Sequence[str], rows: Cells) -> None:
    click.echo(f"\nNewest rows of {name}\n")
    click.echo("\n".join(table(head, rows)))


def _conclude(found: Settings) -> None:
    """Show what has come of it.

    Raises:
        Exit: The books do not balance.
    """
    where = found.timescale.connection()
    _show("iot_measurements", ("time", "device", "component", "id", "value", "text", "unit"), newest(where, _ROWS))
    columns = ("hour", "device", "component", "id", "unit", "avg", "min", "max", "count")
    _show("iot_hourly_stats", columns, hourly(where, _HOURS))
    books = gather(found)
    click.echo("\nLedger\n")
    click.echo("\n".join(lines(books, everyone=len(books.devices) <= _DEVICES)))
    if not books.balanced:
        raise click.exceptions.Exit(1)
