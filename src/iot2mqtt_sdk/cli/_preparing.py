"""What a connector needs before it can be started: the `prepare` of its conformance.toml."""

import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from iot2mqtt_sdk.cli import _simulation


def prepare(folder: Path, declared: Mapping[str, Any]) -> None:
    """Run what a folder's conformance.toml declares as `prepare`; what it prints goes to stderr.

    It is run each time: what builds does nothing where nothing has changed. npm begins anew each time, and is left out
    where it has installed what package-lock.json names.

    Raises:
        ClickException: It is no command, cannot be started or fails.
    """
    connector = declared.get("connector", {})
    if "prepare" not in connector:
        return
    command = connector["prepare"]
    if not isinstance(command, list) or not command or not all(isinstance(part, str) for part in command):
        raise click.ClickException(f"{_simulation.FILE}: [connector] prepare is no command: write a list of texts")
    workdir = folder / str(connector.get("workdir", "."))
    if command[0] == "npm" and _installed(workdir):
        return
    told = f"`{shlex.join(command)}` in {workdir}"
    click.echo(f"preparing: {told}", err=True)
    try:
        # stdout is the connector's.
        code = subprocess.run(_simulation.program(command), cwd=workdir, stdout=sys.stderr, check=False).returncode
    except OSError as error:
        raise click.ClickException(f"{told} cannot be started: {error.strerror}; is it installed?") from None
    if code:
        raise click.ClickException(
            f"{told}, which prepares the connector, ended with code {code}: what it printed says what is missing"
        )


def _installed(folder: Path) -> bool:
    """Whether the note that npm leaves of what it has installed is no older than what is wanted."""
    try:
        noted = (folder / "node_modules" / ".package-lock.json").stat().st_mtime
        return noted >= (folder / "package-lock.json").stat().st_mtime
    except OSError:
        return False
