"""The contract as data: clauses and JSON Schemas, read from the SDK's files without importing its code.

A bug in the SDK must not be able to approve itself, so only the location of the package is looked up.
"""

import json
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator


@dataclass(frozen=True, slots=True)
class Clause:
    """One sentence of the contract, and how it is checked."""

    id: str
    level: str
    text: str
    check: str
    needs: str | None = None
    seen: str | None = None

    @property
    def area(self) -> str:
        """The clause's area, such as `STATUS`."""
        return self.id.split("-")[1]


@cache
def contract_folder() -> Path:
    """Return the folder that holds clauses.toml and schemas/.

    Raises:
        FileNotFoundError: The package iot2mqtt_sdk is not installed beside the suite.
    """
    spec = find_spec("iot2mqtt_sdk")
    locations = list(spec.submodule_search_locations or []) if spec else []
    if not locations:
        raise FileNotFoundError("the contract's files are missing: install iot2mqtt-sdk, which carries them")
    return Path(locations[0]) / "contract"


@cache
def clauses() -> dict[str, Clause]:
    """Return every clause of the contract by id, in the contract's order."""
    text = (contract_folder() / "clauses.toml").read_text(encoding="utf-8")
    return {entry["id"]: Clause(**entry) for entry in tomllib.loads(text)["clause"]}


@cache
def validator(name: str) -> Draft202012Validator:
    """Return the validator of one payload or file, such as `state` or `cmd_response`."""
    schema = json.loads((contract_folder() / "schemas" / f"{name}.json").read_text(encoding="utf-8"))
    return Draft202012Validator(_inlined(schema, schema, ()))


def _inlined(part: Any, schema: dict[str, Any], within: tuple[str, ...]) -> Any:
    """Return a part of a schema with what it refers to in its place: half of the time goes into looking that up."""
    if isinstance(part, list):
        return [_inlined(item, schema, within) for item in part]
    if not isinstance(part, dict):
        return part
    path = str(part.get("$ref", ""))
    if part.keys() != {"$ref"} or not path.startswith("#/") or path in within:
        return {key: _inlined(item, schema, within) for key, item in part.items()}
    found: Any = schema
    for name in path.removeprefix("#/").split("/"):
        found = found[name]
    return _inlined(found, schema, (*within, path))


def schema_fault(name: str, document: Any) -> str | None:
    """Return the first reason why a document does not fit a schema, or None where it does."""
    error = next(iter(validator(name).iter_errors(document)), None)
    if error is None:
        return None
    where = "/".join(str(step) for step in error.absolute_path) or "the whole document"
    return f"{where}: {error.message}"
