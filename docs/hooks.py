# ruff: noqa: INP001 - a hook is a file that mkdocs loads by its path
"""Fills generated text into the pages: `<!-- fill:NAME -->` becomes what the filler of that name returns."""

import re
from collections.abc import Callable, Iterator
from html import escape
from itertools import groupby

import click
from mkdocs.exceptions import PluginError

from iot2mqtt_conformance.clauses import JUDGES
from iot2mqtt_pipeline.cli import cli as pipeline
from iot2mqtt_pipeline.settings import Settings, variables
from iot2mqtt_sdk import errors
from iot2mqtt_sdk.cli import cli
from iot2mqtt_sdk.contract.clauses import Clause, load_clauses
from iot2mqtt_sdk.contract.schemas import names, schema

MARKER = re.compile(r"<!-- fill:(\w+) -->")
HELP_WIDTH = 88


def on_page_markdown(markdown: str, **_: object) -> str:
    """Fill a page in; mkdocs calls this for each.

    Raises:
        PluginError: A marker names no filler.
    """
    return MARKER.sub(_filled, markdown)


def _filled(marker: re.Match[str]) -> str:
    filler = FILLERS.get(marker.group(1))
    if filler is None:
        raise PluginError(f"docs/hooks.py knows no filler {marker.group(1)!r}: known are {', '.join(FILLERS)}")
    return filler()


def _judged() -> str:
    return f"{len(JUDGES)} of the contract's {len(load_clauses())} clauses"


def _area(clause: Clause) -> str:
    return clause.id.split("-")[1]


def _clauses() -> str:
    return "\n\n".join(_area_table(area, list(clauses)) for area, clauses in groupby(load_clauses(), _area))


def _area_table(area: str, clauses: list[Clause]) -> str:
    judged = sum(clause.id in JUDGES for clause in clauses)
    head = "<tr><th>Clause</th><th>Level</th><th>What is required</th><th>Judged now</th></tr>"
    rows = "\n".join(_row(clause) for clause in clauses)
    # One block of HTML without an empty line: Markdown leaves its braces, bars and asterisks alone.
    table = f"<table>\n<thead>{head}</thead>\n<tbody>\n{rows}\n</tbody>\n</table>"
    return f"## {area}\n\n{judged} of {len(clauses)} are judged now.\n\n{table}"


def _row(clause: Clause) -> str:
    needs = f"<br><small>Applies where declared: <code>{escape(clause.needs)}</code></small>" if clause.needs else ""
    check = f"<details><summary>How it is checked</summary>{_text(clause.check)}</details>"
    judged = "yes" if clause.id in JUDGES else "not yet"
    link = f'<a href="#{clause.id}">{clause.id}</a>'
    return (
        f'<tr id="{clause.id}"><td style="white-space: nowrap">{link}</td><td>{clause.level}</td>'
        f"<td>{_text(clause.text)}{needs}{check}</td><td>{judged}</td></tr>"
    )


def _text(text: str) -> str:
    """Return a clause's text as HTML; what stands in backticks becomes code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))


def _errors() -> str:
    """Return the tree of errors, which stands in the docstring of their module."""
    return (errors.__doc__ or "").partition("\n\n")[2].strip()


def _schemas() -> str:
    rows = [
        f"<tr><td><code>{name}</code></td><td>{escape(schema(name).get('title', ''))}</td>"
        f"<td>{_text(schema(name).get('description', ''))}</td></tr>"
        for name in names()
    ]
    head = "<tr><th>Schema</th><th>Title</th><th>What it describes</th></tr>"
    return f"<table>\n<thead>{head}</thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody>\n</table>"


def _commands() -> str:
    return _helps("iot2mqtt", cli, "##")


def _pipeline_commands() -> str:
    return _helps("iot2mqtt-pipeline", pipeline, "###")


def _helps(program: str, command: click.Command, level: str) -> str:
    return "\n\n".join(f"{level} {name}\n\n```text\n{text}\n```" for name, text in _walk(program, command))


def _pipeline_settings() -> str:
    """Return a table of the pipeline's variables; what each means stands in the docstrings of the settings."""
    head = "| variable | unless set | |\n|---|---|---|"
    return "\n".join([head, *(_setting(variable, place) for variable, place in variables().items())])


def _setting(variable: str, place: tuple[str, ...]) -> str:
    *part, name = place
    model = type(getattr(Settings(), part[0])) if part else Settings
    default = model.model_fields[name].default
    (meaning,) = re.findall(rf"^ +{name}: (.+)$", model.__doc__ or "", re.MULTILINE)
    meaning = re.sub(rf"^(?:{variable}|…_{name.upper()})\b[:,;]? ?", "", meaning).rstrip(".")
    shown = "" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"
    return f"| `{variable}` | {shown} | {meaning.replace('|', ' or ')} |"


def _walk(name: str, command: click.Command) -> Iterator[tuple[str, str]]:
    context = click.Context(command, info_name=name, terminal_width=HELP_WIDTH)
    yield name, command.get_help(context)
    for child, below in sorted(getattr(command, "commands", {}).items()):
        yield from _walk(f"{name} {child}", below)


FILLERS: dict[str, Callable[[], str]] = {
    "clauses": _clauses,
    "commands": _commands,
    "errors": _errors,
    "judged": _judged,
    "pipeline_commands": _pipeline_commands,
    "pipeline_settings": _pipeline_settings,
    "schemas": _schemas,
}
