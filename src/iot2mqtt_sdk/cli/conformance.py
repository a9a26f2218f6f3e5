"""`iot2mqtt conformance`: the suite, for people who do not think in pytest."""

import sys

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
    try:
        import pytest
    except ModuleNotFoundError:
        raise click.ClickException(
            "the conformance suite is not installed: run pip install 'iot2mqtt-sdk[conformance]'"
        ) from None
    if path.startswith("-"):
        path, pytest_arguments = ".", (path, *pytest_arguments)
    sys.exit(pytest.main(["--iot2mqtt-conformance", f"--iot2mqtt-connector={path}", *pytest_arguments]))
