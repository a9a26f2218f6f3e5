"""`iot2mqtt action-server`: the test runner of setup flows over HTTP."""

import logging
import os
import threading
from pathlib import Path

import click

from iot2mqtt_sdk.cli._signals import open_signals

EXAMPLES = """\b
Examples:
  iot2mqtt action-server --connectors connectors
  ACTION_TOKEN_FILE=/run/secrets/action_token iot2mqtt action-server --host 0.0.0.0
"""


@click.command(name="action-server", epilog=EXAMPLES)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8001, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option(
    "--connectors",
    default="connectors",
    show_default=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder whose folders are the connectors.",
)
@click.option(
    "--token-file",
    envvar="ACTION_TOKEN_FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the token that clients must send; else ACTION_TOKEN. Or ACTION_TOKEN_FILE.",
)
@click.option("--token", envvar="ACTION_TOKEN", hidden=True)
@click.option("--concurrency", default=4, show_default=True, type=click.IntRange(1), help="Actions at once.")
def action_server(
    *, host: str, port: int, connectors: Path, token_file: Path | None, token: str | None, concurrency: int
) -> None:
    """Serve POST /actions/{connector}/execute and GET /health.

    Without a token it listens to programs of this machine only. SIGTERM lets running actions end for 5 seconds.
    """
    from iot2mqtt_sdk.action_server import ActionServer, ActionServerOptions
    from iot2mqtt_sdk.errors import ConfigurationError

    if token_file is not None:
        token = _read(token_file)
    _log(token)
    server = ActionServer(
        ActionServerOptions(connectors=connectors, host=host, port=port, token=token or None, concurrency=concurrency)
    )
    signals = open_signals()
    try:
        server.open()
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from None
    threading.Thread(target=server.serve_forever, name="accept", daemon=True).start()
    click.echo(f"serving the actions of {connectors} at {server.url}")
    os.read(signals, 1)
    server.stop()


def _read(file: Path) -> str:
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"the token file {file} cannot be read: {error}") from None
    if not token:
        raise click.ClickException(f"the token file {file} is empty; write the token into it")
    return token


def _log(token: str | None) -> None:
    from iot2mqtt_sdk.masking import Mask, MaskingFormatter

    formatter = MaskingFormatter("%(asctime)s %(levelname)s %(message)s")
    formatter.mask = Mask([token])
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
