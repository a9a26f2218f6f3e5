"""`iot2mqtt-pipeline simulator`: controllers that do not exist, for demonstrations and for load."""

import json

import click

from iot2mqtt_pipeline.cli._running import settings, until_signal, with_check_config
from iot2mqtt_pipeline.cli._simulation import Simulation, fleet, set_parameters

FOLLOWED = 1.0
"""Seconds in which running processors have new parameters."""
POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command(epilog="Example: iot2mqtt-pipeline simulator --devices 100 --rate 1000 --duration 60 --init-params")
@click.option("--devices", default=5, show_default=True, type=click.IntRange(min=1), help="How many controllers.")
@click.option("--rate", type=POSITIVE, help="Messages a second of all together; PUBLISH_INTERVAL tells unless given.")
@click.option("--seed", default=0, show_default=True, help="The same seed makes the same devices.")
@click.option("--malformed", default=0.0, type=click.FloatRange(0, 1), help="Share of messages nobody can decode.")
@click.option("--duration", type=POSITIVE, help="Seconds after which it ends.")
@click.option("--count", type=click.IntRange(min=1), help="Messages after which it ends.")
@click.option("--init-params", is_flag=True, help="First set the parameters that decode what the devices send.")
@click.option("--json", "as_json", is_flag=True, help="The tally as JSON, with the rows of each device.")
@with_check_config
def simulator(
    *,
    devices: int,
    rate: float | None,
    seed: int,
    malformed: float,
    duration: float | None,
    count: int | None,
    init_params: bool,
    as_json: bool,
) -> None:
    """Publish what controllers publish, at QoS 1, until Ctrl-C; then say how much it was."""
    found = settings()
    devices_ = fleet(devices=devices, rate=rate, interval=found.publish_interval, seed=seed, malformed=malformed)
    with until_signal() as ending:
        if init_params:
            set_parameters(found.postgres, devices_)
            ending.wait(FOLLOWED)
        simulation = Simulation(found.mqtt, devices_, ending, duration, count)
        simulation.run()
    summary = simulation.summary()
    if as_json:
        click.echo(json.dumps(summary | {"published": simulation.tally.published()}))
    else:
        click.echo("{devices} devices: {messages} messages of {rows} rows, {malformed} malformed".format(**summary))
    if simulation.unsafe:
        click.echo(f"Error: the broker has not acknowledged {simulation.unsafe} messages", err=True)
        raise click.exceptions.Exit(1)
