"""`iot2mqtt-pipeline params`: device parameters from the terminal; running processors follow within a second."""

from pathlib import Path
from typing import Any

import click

from iot2mqtt_pipeline import params as files
from iot2mqtt_pipeline.adapters import parameters as table
from iot2mqtt_pipeline.cli._running import out_of, settings
from iot2mqtt_pipeline.decoders import add_decoders
from iot2mqtt_sdk.errors import ConfigurationError

_FORMATS = {".csv": (files.read_csv, files.write_csv), ".json": (files.read_json, files.write_json)}


@click.group()
def params() -> None:
    """List, set, import and export device parameters."""
    add_decoders()


@params.command("list", epilog="Example: iot2mqtt-pipeline params list --device f2-e4fd45f654be")
@click.option("--device", help="Only those of this device.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_(device: str | None, as_json: bool) -> None:
    """Show device parameters as CSV."""
    found = table.rows(settings().postgres.connection(), device_id=device)
    out_of((files.write_json if as_json else files.write_csv)(found))


@params.command(
    "set", epilog="Example: iot2mqtt-pipeline params set dev1 sensor-mode sensor 3 hex_to_float --scaling 0.1"
)
@click.argument("device_id")
@click.argument("connector_mode")
@click.argument("component_type")
@click.argument("component_id")
@click.argument("encoding_type")
@click.option("--units", help="The unit of what is measured.")
@click.option("--scaling", "scaling_factor", default="1", show_default=True, help="A decimal number.")
@click.option("--decode", metavar="JSON", help="How to find the value in the payload.")
def set_(component_id: str, **values: Any) -> None:
    """Set the parameters of one component; a COMPONENT_ID of - serves all ids of its type."""
    row = files.parse({**values, "component_id": None if component_id == "-" else component_id})
    changed = table.put(settings().postgres.connection(), [row])
    click.echo("set" if changed else "unchanged")


@params.command("import", epilog="Example: iot2mqtt-pipeline params import devices.csv")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_(file: Path) -> None:
    """Read parameters from a .csv or .json FILE: all of them, or none where one is wrong."""
    read, _write = _format(file)
    try:
        rows = read(file.read_text(encoding="utf-8"), name=str(file))
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file} is no UTF-8 text") from None
    changed = table.put(settings().postgres.connection(), rows)
    click.echo(f"{len(rows)} rows, {changed} of them new or changed")


@params.command(epilog="Example: iot2mqtt-pipeline params export devices.json")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def export(file: Path) -> None:
    """Write all parameters to a .csv or .json FILE."""
    _read, write = _format(file)
    rows = table.rows(settings().postgres.connection())
    try:
        file.write_text(write(rows), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}") from None
    click.echo(f"{len(rows)} rows")


def _format(file: Path) -> Any:
    if file.suffix not in _FORMATS:
        raise ConfigurationError(f"{file} is neither .csv nor .json")
    return _FORMATS[file.suffix]
