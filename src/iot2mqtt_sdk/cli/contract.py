"""`iot2mqtt contract`: the clauses and schemas that connectors are judged by."""

import json
from dataclasses import asdict

import click

EXAMPLES = """\b
Examples:
  iot2mqtt contract clauses
  iot2mqtt contract schemas --json | jq .cmd
  iot2mqtt contract asyncapi >asyncapi.json
"""


@click.group(epilog=EXAMPLES)
def contract() -> None:
    """Print the contract."""


@contract.command(epilog="Example: iot2mqtt contract clauses")
@click.option("--json", "as_json", is_flag=True, help="As a JSON array of objects.")
def clauses(*, as_json: bool) -> None:
    """Print every clause: its id, its level, what is required."""
    from iot2mqtt_sdk.contract.clauses import load_clauses

    found = load_clauses()
    if as_json:
        click.echo(json.dumps([asdict(clause) for clause in found], indent=2, ensure_ascii=False))
        return
    for clause in found:
        click.echo(f"{clause.id:<14} {clause.level:<6} {clause.text}")


@contract.command(epilog="Example: iot2mqtt contract schemas --json | jq .cmd")
@click.option("--json", "as_json", is_flag=True, help="The schemas themselves, in one JSON object by name.")
def schemas(*, as_json: bool) -> None:
    """Print the name of every JSON Schema, or all of them."""
    from iot2mqtt_sdk.contract.schemas import names, schema

    if as_json:
        click.echo(json.dumps({name: schema(name) for name in names()}, indent=2, ensure_ascii=False))
        return
    for name in names():
        click.echo(name)


@contract.command(epilog="Example: iot2mqtt contract asyncapi >asyncapi.json")
def asyncapi() -> None:
    """Print topics and payloads as an AsyncAPI 3.0 document, for generators of code and documentation."""
    from iot2mqtt_sdk.contract.asyncapi import document

    click.echo(json.dumps(document(), indent=2, ensure_ascii=False))
