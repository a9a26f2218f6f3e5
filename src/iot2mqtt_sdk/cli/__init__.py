"""The command line `iot2mqtt`: one file a command, imported when it is called."""

import sys

import click

from iot2mqtt_sdk.cli.conformance import conformance
from iot2mqtt_sdk.cli.contract import contract
from iot2mqtt_sdk.cli.health import health
from iot2mqtt_sdk.cli.run import run

__all__ = ["main"]


@click.group(epilog="Each command's --help shows an example.")
@click.version_option(package_name="iot2mqtt-sdk")
def cli() -> None:
    """Write, run and judge IoT2MQTT connectors."""


for command in (run, health, conformance, contract):
    cli.add_command(command)


def main() -> None:
    """Run the command line."""
    sys.exit(cli())
