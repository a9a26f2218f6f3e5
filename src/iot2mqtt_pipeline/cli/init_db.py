"""`iot2mqtt-pipeline init-db`: makes the tables, or brings them up to date."""

import click

from iot2mqtt_pipeline.adapters.migrate import migrate
from iot2mqtt_pipeline.adapters.postgres import where
from iot2mqtt_pipeline.cli._running import settings, with_check_config


@click.command("init-db", epilog="Example: POSTGRES_HOST=db iot2mqtt-pipeline init-db")
@with_check_config
def init_db() -> None:
    """Make the tables of device parameters and measurements, or bring them up to date; safe to run twice."""
    found = settings()
    for part, database in (("parameters", found.postgres), ("measurements", found.timescale)):
        done = migrate(database.connection(), part=part)  # type: ignore[arg-type] # both are names of parts
        what = f"applied {', '.join(done)}" if done else "up to date"
        click.echo(f"{part} in {where(database.connection())}: {what}")
