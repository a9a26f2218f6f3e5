"""The static check of setup.json: what a schema cannot say (clauses I2M-FILE-01 and I2M-FILE-02).

It finds what would fail only when somebody runs a flow: missing scripts, unknown tools and flows, templates that
nothing fills, values of the wrong type, steps that nobody can reach.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from iot2mqtt_sdk.contract.actions import resolve_tool
from iot2mqtt_sdk.contract.setup import (
    CheckboxField,
    Flow,
    FormField,
    FormStep,
    GotoFlow,
    InstanceStep,
    NumberField,
    OAuthStep,
    SelectField,
    SelectStep,
    Setup,
    Step,
    SummaryStep,
    TextField,
    ToolStep,
)
from iot2mqtt_sdk.contract.templating import NAMESPACES, placeholders, sole_placeholder, split_path


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault found by `check`: where in the file, and what to do about it."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


_INTEGRATION_KEYS: Final = frozenset({"name", "display_name"})
_ANSWER_KEYS: Final = frozenset({"ok", "result"})
_START: Final = 512
"""Bytes of a script that tell what it is: a program that a compiler made has a zero byte among them."""
_NO_SECRETS: Final = frozenset({"number", "checkbox", "select", "textarea"})
_PLAIN_PATH: Final = re.compile(r"[^.\s|]+(\s*\.\s*[^.\s|]+)*")


def check(setup: Setup, folder: Path) -> list[Problem]:
    """Find what would go wrong when somebody runs the flows, without running them.

    Args:
        setup: The parsed setup.json.
        folder: The connector's folder, in which the tools' scripts must lie.

    Returns:
        The problems in the order of the file; empty when there is none. `shared` is filled by the host application, so
        its paths are not judged.
    """
    found = chain(
        _check_tools(setup, folder),
        _check_loop(setup),
        chain.from_iterable(_check_flow(flow, setup) for flow in setup.flows),
    )
    return list(found)


def _check_tools(setup: Setup, folder: Path) -> Iterator[Problem]:
    for name, tool in setup.tools.items():
        try:
            fault = _start_fault(resolve_tool(folder, tool.entry), tool.entry)
        except ValueError as error:
            fault = str(error)
        if fault is not None:
            yield Problem(f"tools.{name}", fault)


def _start_fault(script: Path, entry: str) -> str | None:
    """Say why a script cannot be started: what is no .py file is executed by itself."""
    if script.suffix == ".py":
        return None
    if not os.access(script, os.X_OK):
        return f"entry {entry!r} is not executable; run chmod +x on it"
    with script.open("rb") as file:
        start = file.read(_START)
    if start.startswith(b"#!") or b"\0" in start:
        return None
    return f"entry {entry!r} is no program; begin it with a line such as #!/bin/sh"


def _check_loop(setup: Setup) -> Iterator[Problem]:
    loop = setup.multi_device
    if loop is None or not loop.enabled:
        return
    orders = [[step.id for step in flow.steps] for flow in setup.flows]
    for step in (loop.loop_from_step, loop.loop_to_step):
        if not any(step in ids for ids in orders):
            yield Problem("multi_device", f"no flow has a step {step!r}; name the first and the last step of the loop")
            return
    both = [ids for ids in orders if loop.loop_from_step in ids and loop.loop_to_step in ids]
    if not any(ids.index(loop.loop_from_step) <= ids.index(loop.loop_to_step) for ids in both):
        yield Problem("multi_device", "no flow has loop_from_step before loop_to_step; exchange them")


@dataclass(frozen=True, slots=True)
class _Scope:
    """What the steps before a place have filled: form fields by step, and the keys of the other namespaces."""

    forms: dict[str, frozenset[str]] = field(default_factory=dict)
    keys: dict[str, set[str]] = field(default_factory=lambda: {"tools": set(), "selection": set(), "oauth": set()})

    def add(self, step: Step) -> None:
        if isinstance(step, FormStep):
            self.forms[step.id] = frozenset(item.name for item in step.form.fields)
        elif isinstance(step, ToolStep):
            self.keys["tools"].add(step.output_key or step.tool)
        elif isinstance(step, SelectStep):
            self.keys["selection"].add(step.output_key or step.id)
        elif isinstance(step, OAuthStep):
            self.keys["oauth"].add(step.oauth.provider)

    def fault(self, path: str) -> str | None:
        """Say why a path has no value here, or None when it has one."""
        if not _PLAIN_PATH.fullmatch(path):
            return "templates are plain dotted paths without filters or expressions"
        namespace, *rest = split_path(path)
        if namespace not in NAMESPACES:
            return f"there is no {namespace!r}; paths start with one of {', '.join(NAMESPACES)}"
        if not rest or namespace == "shared":
            return None
        if namespace == "form":
            return self._form_fault(rest)
        if namespace == "integration":
            return None if rest[0] in _INTEGRATION_KEYS else "integration has only name and display_name"
        return self._key_fault(namespace, rest)

    def _key_fault(self, namespace: str, rest: list[str]) -> str | None:
        if rest[0] not in self.keys[namespace]:
            return f"no step before this one fills {namespace}.{rest[0]}"
        if namespace == "tools" and rest[1:] and rest[1] not in _ANSWER_KEYS:
            return f"a tool's values are under tools.{rest[0]}.result"
        return None

    def _form_fault(self, rest: list[str]) -> str | None:
        if rest[0] not in self.forms:
            return f"no form step {rest[0]!r} comes before this one"
        if rest[1:] and rest[1] not in self.forms[rest[0]]:
            return f"form {rest[0]!r} has no field {rest[1]!r}"
        return None


def _check_flow(flow: Flow, setup: Setup) -> Iterator[Problem]:
    scope, whole = _Scope(), _Scope()
    for step in flow.steps:
        whole.add(step)
    ended_by: str | None = None
    for step in flow.steps:
        where = f"flows.{flow.id}.{step.id}"
        if ended_by is not None:
            yield Problem(where, f"nobody reaches this step: {ended_by!r} before it ends the flow")
        if isinstance(step, InstanceStep) and not step.conditions:
            ended_by = ended_by or step.id
        yield from _check_references(step, where, setup)
        yield from _check_conditions(step.conditions, where, scope, whole, flow)
        yield from _check_templates(_templated(step), where, scope, whole)
        yield from _check_types(step, where, flow)
        scope.add(step)
        if isinstance(step, FormStep):
            yield from _check_fields(step, where, scope, whole, flow)
    if not any(_leads_on(step) for step in flow.steps):
        yield Problem(f"flows.{flow.id}", "the flow creates nothing; end it with an instance step")


def _leads_on(step: Step) -> bool:
    return isinstance(step, InstanceStep) or any(isinstance(action, GotoFlow) for action in step.actions or ())


def _check_references(step: Step, where: str, setup: Setup) -> Iterator[Problem]:
    if isinstance(step, ToolStep) and step.tool not in setup.tools:
        yield Problem(where, f"there is no tool {step.tool!r}; declare it under tools")
    flows = {flow.id for flow in setup.flows}
    for action in step.actions or ():
        if isinstance(action, GotoFlow) and action.flow not in flows:
            yield Problem(where, f"there is no flow {action.flow!r} to go to")


def _templated(step: Step) -> Iterator[JsonValue]:
    """Yield the parts of a step in which templates are resolved, without those of a select step's items."""
    if isinstance(step, FormStep):
        yield from (item.default for item in step.form.fields)
    elif isinstance(step, ToolStep):
        yield step.input
    elif isinstance(step, SelectStep):
        yield step.items
        yield from (_without_item(part) for part in (step.item_label, step.item_value))
    elif isinstance(step, SummaryStep):
        yield from (section.value for section in step.sections)
    elif isinstance(step, InstanceStep):
        yield step.instance.model_dump(mode="json")
    elif isinstance(step, OAuthStep):
        yield step.oauth.redirect_uri


def _without_item(part: JsonValue) -> JsonValue:
    paths = (path for path in placeholders(part) if split_path(path)[0] != "item")
    return [f"{{{{ {path} }}}}" for path in paths]


def _check_templates(parts: Iterable[JsonValue], where: str, scope: _Scope, whole: _Scope) -> Iterator[Problem]:
    for path in chain.from_iterable(placeholders(part) for part in parts):
        fault = _fault(path, scope, whole)
        if fault is not None:
            yield Problem(where, f"{{{{ {path} }}}} has no value: {fault}")


def _fault(path: str, scope: _Scope, whole: _Scope) -> str | None:
    fault = scope.fault(path)
    if fault is not None and whole.fault(path) is None:
        return "the step that fills it comes later, or is this one; move it before"
    return fault


def _check_conditions(
    conditions: Mapping[str, JsonValue] | None, where: str, scope: _Scope, whole: _Scope, flow: Flow
) -> Iterator[Problem]:
    for path, expected in (conditions or {}).items():
        fault = _fault(path, scope, whole)
        if fault is not None:
            yield Problem(where, f"its condition on {path} never holds: {fault}")
        elif _never_chosen(path, expected, flow):
            yield Problem(where, f"its condition on {path} never holds: {expected!r} is none of the field's options")
    yield from _check_templates([dict(conditions or {})], where, scope, whole)


def _never_chosen(path: str, expected: JsonValue, flow: Flow) -> bool:
    """Tell whether a condition expects a value that its field cannot have; null stands for one left empty."""
    item = _field_at(path, flow)
    if item is None or expected is None or any(placeholders(expected)):
        return False
    if isinstance(item, SelectField):
        return not isinstance(expected, list | dict) and expected not in [option.value for option in item.options]
    if isinstance(item, TextField):
        return not isinstance(expected, str)
    if isinstance(item, NumberField):
        return isinstance(expected, bool) or not isinstance(expected, int | float)
    return not isinstance(expected, bool)


def _field_at(path: str, flow: Flow) -> FormField | None:
    """Return the field whose value a path is, None where it is none of the flow's."""
    match split_path(path):
        case ["form", step_id, name]:
            steps = (step for step in flow.steps if isinstance(step, FormStep) and step.id == step_id)
            return next((item for step in steps for item in step.form.fields if item.name == name), None)
    return None


def _check_types(step: Step, where: str, flow: Flow) -> Iterator[Problem]:
    """Find the templates whose value has a type that their place does not take."""
    for place, template, wanted in _typed(step):
        kind = _kind(template, flow)
        if kind is not None and kind != wanted:
            yield Problem(where, f"{place} must be {wanted}, and {template!r} is {kind}; take another value")


def _typed(step: Step) -> Iterator[tuple[str, JsonValue, str]]:
    """Yield the places of a step that take one type, what stands there, and the type."""
    if isinstance(step, SelectStep):
        yield "items", step.items, "a list"
    elif isinstance(step, InstanceStep):
        yield "instance.update_interval", step.instance.update_interval, "a number"
        yield "instance.enabled", step.instance.enabled, "true or false"
        if isinstance(step.instance.config, str):
            yield "instance.config", step.instance.config, "an object"
        if isinstance(step.instance.devices, str):
            yield "instance.devices", step.instance.devices, "a list"
    elif isinstance(step, FormStep):
        for item in step.form.fields:
            if isinstance(item, NumberField):
                yield f"default of {item.name}", item.default, "a number"
            elif isinstance(item, CheckboxField):
                yield f"default of {item.name}", item.default, "true or false"


def _kind(template: JsonValue, flow: Flow) -> str | None:
    """Return the type of a template's value, None where only a run can tell."""
    paths = list(placeholders(template))
    if not isinstance(template, str) or not paths:
        return None
    if sole_placeholder(template) is None:
        return "a text"
    item = _field_at(paths[0], flow)
    if isinstance(item, TextField):
        return "a text"
    if isinstance(item, NumberField):
        return "a number"
    return "true or false" if isinstance(item, CheckboxField) else None


def _check_fields(step: FormStep, where: str, scope: _Scope, whole: _Scope, flow: Flow) -> Iterator[Problem]:
    for item in step.form.fields:
        place = f"{where}.{item.name}"
        yield from _check_conditions(item.conditions, place, scope, whole, flow)
        if item.secret and item.type in _NO_SECRETS:
            yield Problem(place, "a secret is kept as one line of text; make the field a password")
        if isinstance(item, NumberField):
            yield from _check_range(item, place)
        elif isinstance(item, SelectField):
            yield from _check_choice(item, place)


def _check_range(item: NumberField, where: str) -> Iterator[Problem]:
    lowest = float("-inf") if item.min is None else item.min
    highest = float("inf") if item.max is None else item.max
    if lowest > highest:
        yield Problem(where, f"min {lowest:g} is above max {highest:g}; exchange them")
    elif isinstance(item.default, int | float) and not lowest <= item.default <= highest:
        yield Problem(where, f"default {item.default:g} lies outside {lowest:g} to {highest:g}")


def _check_choice(item: SelectField, where: str) -> Iterator[Problem]:
    if item.default is None or any(placeholders(item.default)):
        return
    if item.default not in [option.value for option in item.options]:
        yield Problem(where, f"default {item.default!r} is none of the options")
