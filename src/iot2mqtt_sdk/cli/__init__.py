"""The command line `iot2mqtt`: one file a command, imported when it is called."""

import sys

import click

from iot2mqtt_sdk.cli.action import action
from iot2mqtt_sdk.cli.action_server import action_server
from iot2mqtt_sdk.cli.check import check
from iot2mqtt_sdk.cli.conformance import conformance
from iot2mqtt_sdk.cli.contract import contract
from iot2mqtt_sdk.cli.health import health
from iot2mqtt_sdk.cli.new import new
from iot2mqtt_sdk.cli.run import run
from iot2mqtt_sdk.cli.send import send
from iot2mqtt_sdk.cli.setup import setup
from iot2mqtt_sdk.cli.watch import watch

__all__ = ["main"]


@click.group(epilog="Each command's --help shows an example.")
@click.version_option(package_name="iot2mqtt-sdk")
def cli() -> None:
    """Write, run and judge IoT2MQTT connectors."""


for command in (action, action_server, check, conformance, contract, health, new, run, send, setup, watch):
    cli.add_command(command)


def main() -> None:
    """Run the command line."""
    sys.exit(cli())
