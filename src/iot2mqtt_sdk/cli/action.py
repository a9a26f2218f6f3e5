"""`iot2mqtt action`: one action script, run as a setup flow runs it."""

import json
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from iot2mqtt_sdk.cli._signals import open_signals

if TYPE_CHECKING:
    from iot2mqtt_sdk.action_runner import Stop

EXAMPLES = """\b
Examples:
  iot2mqtt action my_connector validate --input '{"host": "192.168.1.50"}'
  iot2mqtt action my_connector validate --input - <input.json
"""


@click.command(epilog=EXAMPLES)
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("tool")
@click.option("--input", "text", metavar="JSON", default="{}", help="The tool's inputs, an object; - reads stdin.")
@click.option("--timeout", metavar="S", type=click.FloatRange(0, min_open=True), help="Seconds; else setup.json's.")
def action(folder: Path, tool: str, text: str, timeout: float | None) -> None:
    """Run TOOL of the connector in DIR, as its setup.json declares it.

    Prints the tool's answer, one JSON object, to stdout; what the script writes to stderr goes to stderr, without the
    values of its secrets. Exits with 0 where the answer is ok, with 1 where it is an error, and with 2 where there is
    nothing to run. Ctrl-C ends the script.
    """
    from iot2mqtt_sdk.action_runner import Stop, run_tool
    from iot2mqtt_sdk.errors import ConfigurationError

    inputs = _inputs(sys.stdin.read() if text == "-" else text)
    stop, signals = Stop(), open_signals()
    threading.Thread(target=_stop_on_signal, args=(signals, stop), name="signals", daemon=True).start()
    try:
        answer = run_tool(folder, tool, inputs, timeout=timeout, stop=stop, on_stderr=_pass_on)
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from None
    click.echo(json.dumps(answer, indent=2))
    sys.exit(0 if answer["ok"] else 1)


def _stop_on_signal(signals: int, stop: "Stop") -> None:
    os.read(signals, 1)
    stop.ask()


def _inputs(text: str) -> dict[str, Any]:
    from iot2mqtt_sdk.jsontext import decode

    try:
        inputs = decode(text.encode())
    except ValueError as error:
        raise click.UsageError(f"--input must be a JSON object: {error}") from None
    if not isinstance(inputs, dict):
        raise click.UsageError('--input must be a JSON object, such as {"host": "192.168.1.50"}')
    return inputs


def _pass_on(piece: bytes) -> None:
    sys.stderr.buffer.write(piece)
    sys.stderr.buffer.flush()
