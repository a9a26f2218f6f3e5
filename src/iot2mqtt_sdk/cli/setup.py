"""`iot2mqtt setup`: a connector's setup flow in the terminal."""

import shlex
import signal
from pathlib import Path

import click

FILE = click.Path(dir_okay=False, path_type=Path)
EXAMPLES = """\b
Examples:
  iot2mqtt setup my_connector
  iot2mqtt setup my_connector --answers kitchen.json --output /srv/iot2mqtt
"""


@click.command(epilog=EXAMPLES)
@click.argument("folder", default=".", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--answers", type=FILE, help="Take all answers from this JSON file, and ask nothing.")
@click.option("--recorded", type=FILE, help="Take the tools' answers from this JSON file, and run no script.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write instances/<connector>/<id>.json and secrets/<id>_creds below this folder, as a host keeps them.",
)
@click.option("--overwrite", is_flag=True, help="Replace an instance of the same id, and its secrets.")
def setup(*, folder: Path, answers: Path | None, recorded: Path | None, output: Path | None, overwrite: bool) -> None:
    """Run the setup flow of the connector in FOLDER, and write the instance that it yields.

    The instance goes to FOLDER/instances/<id>.json, where `iot2mqtt run FOLDER` reads it, and its secrets to
    FOLDER/secrets/<id>_creds. Nothing is written before the flow is done.
    """
    from iot2mqtt_sdk.errors import Iot2MqttError
    from iot2mqtt_sdk.setup_flow.run import Run

    # Whatever ends the run also ends the script that it has started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        done = Run(folder=folder, answers=answers, recorded=recorded, output=output, overwrite=overwrite).go()
    except Iot2MqttError as error:
        raise click.ClickException(str(error)) from None
    except (KeyboardInterrupt, click.Abort):
        click.echo(err=True)
        raise click.ClickException("stopped before the end; nothing was written") from None
    if done is None:
        click.echo("Nothing was written.")
        return
    for note in done.notes:
        click.echo(note)
    for file in done.files:
        click.echo(f"wrote {file}")
    if output is None:
        secrets = f"IOT2MQTT_SECRETS_DIR={shlex.quote(str(folder.resolve() / 'secrets'))} " if done.has_secrets else ""
        click.echo(f"start it: {secrets}iot2mqtt run {shlex.quote(str(folder))} --instance {done.instance_id}")
