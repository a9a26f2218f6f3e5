"""`iot2mqtt-pipeline ledger`: whether everything that was published is somewhere."""

import json

import click

from iot2mqtt_pipeline.cli._books import document, gather, lines
from iot2mqtt_pipeline.cli._running import settings
from iot2mqtt_pipeline.decoders import add_decoders


@click.command(epilog="Example: iot2mqtt-pipeline ledger --all")
@click.option("--all", "everyone", is_flag=True, help="Show devices that balance, too.")
@click.option("--json", "as_json", is_flag=True, help="All of it as one JSON object.")
def ledger(*, everyone: bool, as_json: bool) -> None:
    """Compare published = stored + dead-lettered + duplicates, in rows, for each device.

    Reads all of the raw topic, decodes it with the parameters of now, and ends with code 1 where a device differs. What
    is under way counts as missing: look again when the stages have caught up.
    """
    found = settings()
    add_decoders()
    books = gather(found)
    if as_json:
        click.echo(json.dumps(document(books), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(lines(books, everyone=everyone)))
    if not books.balanced:
        raise click.exceptions.Exit(1)
