"""`iot2mqtt conformance`: the suite, for people who do not think in pytest."""

import os
import sys
from importlib.util import find_spec
from typing import NoReturn

import click

EXAMPLES = """\b
Examples:
  iot2mqtt conformance
  iot2mqtt conformance my_connector -k STATUS -x
  iot2mqtt conformance init my_connector
"""


def _become(module: str, arguments: list[str]) -> NoReturn:
    """Go on as another module of the suite, in a process that has not imported the SDK yet.

    -P, because pytest's own command does not put this folder on the path either.
    """
    for needed in ("pytest", "aiomqtt", "psutil"):
        if find_spec(needed) is None:
            raise click.ClickException(
                "the conformance suite is not installed: run pip install 'iot2mqtt-sdk[conformance]'"
            )
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])  # noqa: S606 - no shell is wanted


class _Conformance(click.Command):
    """A command with one word of its own: whatever else comes first is a path, or an argument of pytest."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args[:1] == ["init"]:
            _become("iot2mqtt_conformance.adoption", args[1:])
        return super().parse_args(ctx, args)


@click.command(cls=_Conformance, epilog=EXAMPLES, context_settings={"ignore_unknown_options": True})
@click.argument("path", default=".", type=click.Path())
@click.argument("pytest_arguments", nargs=-1, type=click.UNPROCESSED)
def conformance(path: str, pytest_arguments: tuple[str, ...]) -> None:
    """Judge the connector in the folder PATH by the contract.

    The same as `pytest --iot2mqtt-conformance --iot2mqtt-connector=PATH`; further arguments are pytest's own.

    Where there is no conformance.toml yet, `iot2mqtt conformance init PATH` writes a first one.
    """
    if path.startswith("-"):
        path, pytest_arguments = ".", (path, *pytest_arguments)
    _become("pytest", ["--iot2mqtt-conformance", f"--iot2mqtt-connector={path}", *pytest_arguments])
