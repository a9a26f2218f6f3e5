"""`iot2mqtt watch`: what instances and devices say, as it happens."""

import os
import signal
import sys
from contextlib import suppress

import click

from iot2mqtt_sdk.contract.topics import Topics

EXAMPLES = """\b
Examples:
  iot2mqtt watch
  iot2mqtt watch kitchen --json | jq 'select(.topic | endswith("/error"))'
"""


@click.command(epilog=EXAMPLES)
@click.argument("instance", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for each message.")
def watch(*, instance: str | None, as_json: bool) -> None:
    """Show instances and their devices live: status, availability, age of the last state, state and errors.

    Without a terminal, it prints a line for each message. Ctrl-C ends it. A broker that goes away is shown, and
    connected to again when it is back.
    """
    from iot2mqtt_sdk.cli._broker import Connection, settings
    from iot2mqtt_sdk.cli._views import Lines, Table

    found = settings()
    try:
        topics = Topics.of(found.base_topic, instance or "all")
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    place = f"{found.host}:{found.port}"
    live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not as_json
    view = Table(topics.base, place) if live else Lines(topics.base, as_json=as_json)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    filters = [f"{topics.base}/v1/instances/{instance or '+'}/#"]
    with suppress(KeyboardInterrupt), Connection(found, filters) as connection, view.shown():
        while True:
            view.take(connection.next(view.patience()))
