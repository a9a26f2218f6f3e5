"""`iot2mqtt send`: one command to a device, and what became of it."""

import json
import sys
from typing import Any

import click

from iot2mqtt_sdk.contract.topics import Topics, check_level

EXAMPLES = """\b
Examples:
  iot2mqtt send kitchen light1 power=true brightness=40
  iot2mqtt send kitchen light1 color='{"r": 255}' --json | jq .result
"""


@click.command(epilog=EXAMPLES)
@click.argument("instance")
@click.argument("device")
@click.argument("values", metavar="NAME=VALUE...", nargs=-1, required=True)
@click.option("--timeout", metavar="S", default=5.0, show_default=True, type=click.FloatRange(0.001, 86400))
@click.option("--json", "as_json", is_flag=True, help="Print the response as it came.")
def send(*, instance: str, device: str, values: tuple[str, ...], timeout: float, as_json: bool) -> None:
    """Command DEVICE of INSTANCE, and wait for the response.

    A VALUE is read as JSON, or else as text. Exits with 0 where the device took the values, with 1 where they were
    refused or nobody answered, and with 2 where the command line is wrong.
    """
    from iot2mqtt_sdk.cli._broker import settings
    from iot2mqtt_sdk.cli._exchange import exchange

    wanted, found = _values(values), settings()
    try:
        topics = Topics.of(found.base_topic, instance)
        check_level(device, "device id")
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    _tell(exchange(found, topics, device, wanted, timeout), device, as_json=as_json)


def _values(pairs: tuple[str, ...]) -> dict[str, Any]:
    from iot2mqtt_sdk.jsontext import decode

    found: dict[str, Any] = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if not name or not separator:
            raise click.UsageError(f"{pair!r} must be NAME=VALUE, such as power=true")
        if name in found:
            raise click.UsageError(f"{name!r} stands there twice: give it one value")
        try:
            found[name] = decode(text.encode("utf-8", "replace"))
        except ValueError:
            found[name] = text
    return found


def _tell(response: dict[str, Any], device: str, *, as_json: bool) -> None:
    from iot2mqtt_sdk.cli._text import pairs, printable

    succeeded = response.get("status") == "success"
    if as_json:
        click.echo(json.dumps(response, indent=2))
    elif succeeded:
        result = response.get("result")
        click.echo(f"{device} took {pairs(result)}" if isinstance(result, dict) and result else f"{device}: success")
    else:
        error = response.get("error")
        fault = error if isinstance(error, dict) else {}
        code, message = fault.get("code", "error"), fault.get("message", "the connector does not say why")
        click.echo(f"Error: {device} refused: {printable(f'{message} ({code})')}", err=True)
    sys.exit(0 if succeeded else 1)
