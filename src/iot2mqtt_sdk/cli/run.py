"""`iot2mqtt run`: a connector in the foreground, as a container would run it."""

import os
import sys
from pathlib import Path

import click

PROGRAMS = ("main.py", "connector.py")


@click.command(epilog="Example: iot2mqtt run my_connector --instance kitchen")
@click.argument("folder", default=".", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--instance", metavar="NAME", help="Serve instances/NAME.json: the same as INSTANCE_NAME=NAME.")
def run(folder: Path, instance: str | None) -> None:
    """Run the connector in FOLDER: its main.py, or else its connector.py.

    FOLDER also holds .env and instances/, unless IOT2MQTT_PATH names another folder.
    """
    program = next((name for name in PROGRAMS if (folder / name).is_file()), None)
    if program is None:
        raise click.ClickException(f"{folder} holds no connector: it has neither {' nor '.join(PROGRAMS)}")
    environment = {"IOT2MQTT_PATH": str(folder.resolve()), **os.environ}
    if instance is not None:
        environment["INSTANCE_NAME"] = instance
    # The connector takes the place of this process, so that signals and exit code are its own.
    os.chdir(folder)
    os.execve(sys.executable, [sys.executable, program], environment)  # noqa: S606 - no shell is wanted
