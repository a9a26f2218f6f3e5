"""`iot2mqtt conformance`: the suite, for people who do not think in pytest."""

import os
import sys
from importlib.util import find_spec

import click

EXAMPLES = """\b
Examples:
  iot2mqtt conformance
  iot2mqtt conformance my_connector -k STATUS -x
"""


@click.command(epilog=EXAMPLES, context_settings={"ignore_unknown_options": True})
@click.argument("path", default=".", type=click.Path())
@click.argument("pytest_arguments", nargs=-1, type=click.UNPROCESSED)
def conformance(path: str, pytest_arguments: tuple[str, ...]) -> None:
    """Judge the connector in the folder PATH by the contract.

    The same as `pytest --iot2mqtt-conformance --iot2mqtt-connector=PATH`; further arguments are pytest's own.
    """
    if find_spec("pytest") is None:
        raise click.ClickException(
            "the conformance suite is not installed: run pip install 'iot2mqtt-sdk[conformance]'"
        )
    if path.startswith("-"):
        path, pytest_arguments = ".", (path, *pytest_arguments)
    options = ["--iot2mqtt-conformance", f"--iot2mqtt-connector={path}", *pytest_arguments]
    # A process that has not imported the SDK yet: pytest wants to be the first. -P, because pytest's own command does
    # not put this folder on the path either.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "pytest", *options])  # noqa: S606 - no shell is wanted
