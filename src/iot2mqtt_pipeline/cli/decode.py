"""`iot2mqtt-pipeline decode`: tries one payload by hand."""

import json

import click

from iot2mqtt_pipeline.decoders import add_decoders
from iot2mqtt_pipeline.decoding import try_decode


@click.command(
    epilog="""Example: iot2mqtt-pipeline decode --encoding hex_to_float --scaling 0.1 --payload '{"data": "0x12A"}'"""
)
@click.option("--encoding", required=True, help="As in device_parameters.")
@click.option("--payload", required=True, help="What the device publishes.")
@click.option("--scaling", default="1", show_default=True, help="scaling_factor, a decimal number.")
@click.option("--decode", "options", metavar="JSON", help="The column decode.")
def decode(encoding: str, payload: str, scaling: str, options: str | None) -> None:
    """Show what a payload becomes, one JSON object a line."""
    add_decoders()
    for reading in try_decode(encoding, payload, scaling, options):
        click.echo(json.dumps(reading, ensure_ascii=False, default=str))
