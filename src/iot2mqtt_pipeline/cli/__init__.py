"""The command line `iot2mqtt-pipeline`: one file a command or group; only this package joins stages and adapters."""

import sys

import click

from iot2mqtt_pipeline.cli.decode import decode
from iot2mqtt_pipeline.cli.dlq import dlq
from iot2mqtt_pipeline.cli.init_db import init_db
from iot2mqtt_pipeline.cli.ledger import ledger
from iot2mqtt_pipeline.cli.params import params
from iot2mqtt_pipeline.cli.simulator import simulator
from iot2mqtt_pipeline.cli.stages import bridge, processor, sink
from iot2mqtt_pipeline.cli.up import up
from iot2mqtt_pipeline.errors import PipelineError
from iot2mqtt_sdk.errors import ConfigurationError

__all__ = ["main"]


@click.group(epilog="Settings come from the environment; `iot2mqtt-pipeline bridge --check-config` shows them all.")
@click.version_option(package_name="iot2mqtt-sdk")
def cli() -> None:
    """Carry what devices publish on MQTT through Kafka into TimescaleDB, with nothing lost."""


for command in (bridge, decode, dlq, init_db, ledger, params, processor, simulator, sink, up):
    cli.add_command(command)


def main() -> None:
    """Run the command line; what a person can mend is one sentence."""
    try:
        sys.exit(cli(standalone_mode=True))
    except (ConfigurationError, PipelineError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
