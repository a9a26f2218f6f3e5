"""`iot2mqtt check`: what is wrong with a connector's files, before anybody runs it."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

EXAMPLES = """\b
Examples:
  iot2mqtt check my_connector
  iot2mqtt check my_connector --json | jq -r '.[].message'
"""


@click.command(epilog=EXAMPLES)
@click.argument("folder", default=".", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As a JSON array of objects.")
def check(*, folder: Path, as_json: bool) -> None:
    """Find the faults of setup.json, manifest.json and the example instances of the connector in FOLDER.

    One line for each: the file, the place in it, what is wrong and what to do. Exits with 0 where there is none, and
    with 1 where there is one.
    """
    from iot2mqtt_sdk.setup_flow.folder_check import check_folder

    findings = check_folder(folder)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
    else:
        for finding in findings:
            click.echo(finding)
        if not findings:
            click.echo("no faults found", err=True)
    sys.exit(1 if findings else 0)
