"""The JSON Schemas of every payload and file, as package data that programs in any language can read."""

import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).with_name("schemas")


def names() -> list[str]:
    """Return the names of all schemas, such as `state` or `cmd_response`, in alphabetical order."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def schema(name: str) -> dict[str, Any]:
    """Return one JSON Schema (draft 2020-12), complete in itself.

    Args:
        name: One of `names()`.

    Raises:
        ValueError: There is no schema of this name; the message lists those that exist.
    """
    if name not in names():
        raise ValueError(f"there is no schema named {name!r}; choose one of {', '.join(names())}")
    document: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return document
