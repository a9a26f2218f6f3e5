"""`iot2mqtt new`: a folder with a connector that works, to begin from."""

import re
from collections.abc import Iterable
from pathlib import Path

import click

from iot2mqtt_sdk.cli import _templates

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")


class _Listing(click.Command):
    """Shows the templates below the help; they are read only when somebody asks."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Templates"):
            formatter.write_dl([(name, each.description) for name, each in _templates.find().items()])
        super().format_epilog(ctx, formatter)


@click.command(cls=_Listing, epilog="Example: iot2mqtt new my-lamps && cd my-lamps && iot2mqtt run --broker embedded")
@click.argument("name")
@click.option("--template", default=_templates.DEFAULT, show_default=True, help="What to begin from: see below.")
def new(name: str, template: str) -> None:
    """Make a folder NAME with a connector that works, to be changed into yours.

    It honours the contract as it is, and brings the declaration by which the conformance suite judges it, a setup flow
    and an example instance.
    """
    found = _templates.find()
    if template not in found:
        known = ", ".join(found)
        raise click.UsageError(f"there is no template {template!r}: choose one of {known}, which --help describes")
    if not NAME.fullmatch(name):
        raise click.UsageError(
            f"{name!r} cannot name a connector: begin with a letter, and use up to 40 letters, digits, - and _"
        )
    chosen = found[template]
    if chosen.clashes(name):
        raise click.UsageError(f"{name!r} names something in the template already: choose another name")
    folder = Path(name)
    try:
        _write(chosen, name, folder)
    except OSError as error:
        raise click.ClickException(f"{error.filename or folder} cannot be written: {error.strerror}") from None
    click.echo(_next_steps(chosen, name))


def _write(template: _templates.Template, name: str, folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise click.ClickException(f"{folder} is there already, and is no folder: choose another name")
    if folder.is_dir() and any(folder.iterdir()):
        raise click.ClickException(f"the folder {folder} is not empty: choose another name, or empty it")
    for path, text, mode in template.written(name):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(mode | 0o600)


def _next_steps(template: _templates.Template, name: str) -> str:
    first, meanwhile = template.to_try(name)
    return f"""{name} is there: {template.description}. It needs {template.needs}. Next:

{_indented([f"cd {name}", *first])}

and, while that runs, in other terminals:

{_indented([*meanwhile, f"iot2mqtt conformance {name}"])}

README.md says what to change to make it yours."""


def _indented(lines: Iterable[str]) -> str:
    return "\n".join(f"  {line}" for line in lines)
