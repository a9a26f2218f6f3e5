"""What a schema cannot say of a setup.json: references, templates, and the instance that a flow yields.

Read from the contract's schemas and this text alone, so that a fault of the SDK's own check cannot approve itself.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jsonschema import ValidationError

from iot2mqtt_conformance.contract import validator

PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
PATH = re.compile(r"[^.\s|]+(\s*\.\s*[^.\s|]+)*")
NAMESPACES = ("form", "tools", "selection", "oauth", "integration", "shared")
INTEGRATION = ("name", "display_name")
SHOWN = 200


def schema_faults(name: str, document: Any) -> list[str]:
    """Return what is wrong with a document by its schema, each with its place."""
    return [_told(error) for error in validator(name).iter_errors(document)]


def _told(error: ValidationError) -> str:
    """Say what is wrong, of a choice by `type` what is wrong with the chosen kind."""
    if error.validator in ("oneOf", "anyOf"):
        branches: dict[Any, list[ValidationError]] = {}
        for below in error.context or ():
            branches.setdefault(below.relative_schema_path[0], []).append(below)
        meant = [found for found in branches.values() if not any(_other_kind(below) for below in found)]
        if len(meant) == 1:
            return _told(meant[0][0])
        kind = error.instance.get("type") if isinstance(error.instance, dict) else None
        if not meant and kind is not None:
            return f"{_place(error)}: there is no type {kind!r}"
    text = error.message if len(error.message) <= SHOWN else f"…{error.message[-SHOWN:]}"
    return f"{_place(error)}: {text}"


def _other_kind(error: ValidationError) -> bool:
    return list(error.relative_path)[-1:] == ["type"] and error.validator in ("const", "enum")


def _place(error: ValidationError) -> str:
    return "/".join(str(step) for step in error.absolute_path) or "the whole document"


def reference_faults(setup: Mapping[str, Any], scripts: Mapping[str, str]) -> Iterator[str]:
    """Yield what a setup.json that fits its schema refers to and is not there, and what is there twice.

    Args:
        setup: The document.
        scripts: By tool, why its script cannot be started; empty where it can.
    """
    yield from (f"tools.{tool}: {fault}" for tool, fault in scripts.items() if fault)
    flows = setup["flows"]
    yield from (f"two flows have the id {name}" for name in _repeated(flow["id"] for flow in flows))
    if sum(flow.get("default", False) for flow in flows) > 1:
        yield "more than one flow is the default"
    for flow in flows:
        where = f"flow {flow['id']}"
        yield from (f"{where}: two steps have the id {name}" for name in _repeated(s["id"] for s in flow["steps"]))
        for step in flow["steps"]:
            place = f"{where}, step {step['id']}"
            fields = (item["name"] for item in _fields(step))
            yield from (f"{place}: two fields have the name {name}" for name in _repeated(fields))
            if step["type"] == "tool" and step["tool"] not in setup.get("tools", {}):
                yield f"{place}: there is no tool {step['tool']}"
            goals = (a["flow"] for a in step.get("actions") or () if a["type"] == "goto_flow")
            yield from (f"{place}: there is no flow {g} to go to" for g in goals if g not in {f["id"] for f in flows})


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, number in Counter(names).items() if number > 1]


def _fields(step: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(step["schema"]["fields"]) if step["type"] == "form" else []


def texts(value: Any) -> Iterator[str]:
    """Yield the paths of all templates in a value."""
    if isinstance(value, str):
        yield from PLACEHOLDER.findall(value)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)


def template_faults(setup: Mapping[str, Any]) -> Iterator[str]:
    """Yield the templates that no step before them fills."""
    for flow in setup["flows"]:
        filled: dict[str, Any] = {"form": {}, "tools": set(), "selection": set(), "oauth": set()}
        for step in flow["steps"]:
            for path in texts(_templated(step)):
                fault = _path_fault(path, filled, within_select=step["type"] == "select")
                if fault is not None:
                    yield f"flow {flow['id']}, step {step['id']}: {{{{ {path} }}}} has no value: {fault}"
            _fill(filled, step)


def _templated(step: Mapping[str, Any]) -> list[Any]:
    """Return the parts of a step in which templates are resolved."""
    keys = {
        "tool": ("input",),
        "select": ("items", "item_label", "item_value"),
        "summary": ("sections",),
        "instance": ("instance",),
        "oauth": ("oauth",),
    }
    return [step.get(key) for key in keys.get(step["type"], ())] + [field.get("default") for field in _fields(step)]


def _fill(filled: dict[str, Any], step: Mapping[str, Any]) -> None:
    """Note what a step gives a value to."""
    if step["type"] == "form":
        filled["form"][step["id"]] = {item["name"] for item in _fields(step)}
    elif step["type"] == "oauth":
        filled["oauth"].add(step["oauth"]["provider"])
    elif step["type"] in ("tool", "select"):
        filled["tools" if step["type"] == "tool" else "selection"].add(output_of(step))


def output_of(step: Mapping[str, Any]) -> str:
    """Return the key under which a step's answer or choice is found."""
    return str(step.get("output_key") or (step["tool"] if step["type"] == "tool" else step["id"]))


def _path_fault(path: str, filled: Mapping[str, Any], *, within_select: bool) -> str | None:
    if not PATH.fullmatch(path):
        return "a template is a dotted path and nothing else"
    namespace, *rest = split(path)
    if namespace not in (*NAMESPACES, *(["item"] if within_select else [])):
        return f"a path begins with one of {', '.join(NAMESPACES)}"
    if not rest or namespace in ("shared", "item"):
        return None
    if namespace == "integration":
        return None if rest[0] in INTEGRATION else "integration has name and display_name"
    return _key_fault(namespace, rest, filled[namespace])


def _key_fault(namespace: str, rest: list[str], filled: Any) -> str | None:
    key, *more = rest
    if key not in filled:
        return f"no step before it fills {namespace}.{key}"
    if namespace == "form" and more and more[0] not in filled[key]:
        return f"the form {key} has no field {more[0]}"
    if namespace == "tools" and more and more[0] not in ("ok", "result"):
        return f"what a tool answers stands under tools.{key}.result"
    return None


def split(path: str) -> list[str]:
    """Return the segments of a path."""
    return [segment.strip() for segment in path.split(".")]
