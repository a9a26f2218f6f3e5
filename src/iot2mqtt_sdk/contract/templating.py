"""Templates of setup flows: `{{ path.to.value }}` over six namespaces, and the conditions that use the same paths.

The language has paths and nothing else: no filters, no expressions. A text that is one placeholder takes the value as
it is; in longer texts placeholders become text. A value that does not exist becomes the empty string, as an optional
field that was left empty does; `iot2mqtt_sdk.contract.setup_check.check` finds beforehand what can never exist.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import JsonValue

NAMESPACES: Final = ("form", "tools", "selection", "oauth", "integration", "shared")
"""Where values come from: form.<step>.<field>, tools.<key>, selection.<key>, oauth.<provider>, integration, shared."""

_PLACEHOLDER: Final = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")


class Secret(str):
    """A text that is kept apart from the instance file; every text that a template makes of it is one as well."""

    __slots__ = ()


def split_path(path: str) -> list[str]:
    """Return the segments of a dotted path, without surrounding blanks."""
    return [segment.strip() for segment in path.split(".")]


def placeholders(value: JsonValue) -> Iterator[str]:
    """Yield the path of every placeholder in the texts of a value, however deeply nested."""
    if isinstance(value, str):
        yield from _PLACEHOLDER.findall(value)
    elif isinstance(value, list):
        for item in value:
            yield from placeholders(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from placeholders(item)


def resolve(value: JsonValue, context: Mapping[str, JsonValue]) -> JsonValue:
    """Return a value with all its placeholders replaced from a context of namespaces."""
    if isinstance(value, list):
        return [resolve(item, context) for item in value]
    if isinstance(value, dict):
        return {key: resolve(item, context) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    alone = sole_placeholder(value)
    if alone is not None:
        found = _look_up(alone, context)
        return "" if found is None else found
    text = _PLACEHOLDER.sub(lambda match: _text(_look_up(match[1], context)), value)
    hidden = any(_is_secret(_look_up(path, context)) for path in placeholders(value))
    return Secret(text) if hidden else text


def sole_placeholder(template: str) -> str | None:
    """Return the path of a template that is one placeholder and nothing else, None for any other text."""
    alone = _PLACEHOLDER.fullmatch(template)
    return None if alone is None else alone[1]


def holds(conditions: Mapping[str, JsonValue] | None, context: Mapping[str, JsonValue]) -> bool:
    """Tell whether every condition holds: the value at each path equals what is expected there.

    An expected list asks the value to be a list that contains all its items. A value that does not exist equals null.
    No conditions always hold.
    """
    return all(_matches(_look_up(path, context), resolve(want, context)) for path, want in (conditions or {}).items())


def _is_secret(value: JsonValue) -> bool:
    if isinstance(value, dict):
        return any(_is_secret(item) for item in value.values())
    if isinstance(value, list):
        return any(_is_secret(item) for item in value)
    return isinstance(value, Secret)


def _matches(actual: JsonValue, expected: JsonValue) -> bool:
    if isinstance(expected, list):
        return isinstance(actual, list) and all(any(_equal(item, have) for have in actual) for item in expected)
    return _equal(actual, expected)


def _equal(left: JsonValue, right: JsonValue) -> bool:
    """Compare as JSON does: true is not 1."""
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def _look_up(path: str, context: Mapping[str, JsonValue]) -> JsonValue:
    """Return the value at a path, None where there is none."""
    found: JsonValue = dict(context)
    for segment in split_path(path):
        if isinstance(found, dict):
            found = found.get(segment)
        elif isinstance(found, list) and segment.isdecimal() and int(segment) < len(found):
            found = found[int(segment)]
        else:
            return None
    return found


def _text(value: JsonValue) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
