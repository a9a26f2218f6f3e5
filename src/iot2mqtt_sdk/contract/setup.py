"""setup.json as frozen models, and the static check of what a schema cannot say (clauses I2M-FILE-01 and I2M-FILE-02).

The models refuse a malformed file. `check` then finds what would fail only when somebody runs a flow: missing scripts,
unknown tools and flows, templates that nothing fills, steps that nobody can reach.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    StrictStr,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from iot2mqtt_sdk.contract.actions import resolve_tool
from iot2mqtt_sdk.contract.manifest import Count, Id, Part, Text
from iot2mqtt_sdk.contract.templating import NAMESPACES, placeholders, split_path

_T = TypeVar("_T")

# Integers stay integers, so that a port typed as 80 does not reach a tool as 80.0.
Number = Annotated[
    StrictInt | Annotated[float, Field(strict=True, allow_inf_nan=False)],
    WithJsonSchema({"type": "number"}),
]
Positive = Annotated[
    Annotated[int, Field(strict=True, gt=0)] | Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)],
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0}),
]
Template = Annotated[StrictStr, Field(pattern=r"\{\{[^{}]+\}\}", description="A text with a {{ path }} in it.")]
ConditionPath = Annotated[StrictStr, Field(pattern=rf"^({'|'.join(NAMESPACES)})(\.[^.\s{{}}]+)+(?![\s\S])")]
Conditions = Annotated[
    dict[ConditionPath, JsonValue],
    Field(description="Expected value by path; all must hold. An expected list asks for a list that contains it."),
]


def _not_empty(items: tuple[_T, ...]) -> tuple[_T, ...]:
    if not items:
        raise ValueError("must have at least one item")
    return items


# Not Field(min_length=1), which calls a list empty when its items are wrong.
NOT_EMPTY: Final = AfterValidator(_not_empty)
AT_LEAST_ONE: Final = Field(json_schema_extra={"minItems": 1})


def _refuse_repeats(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise PydanticCustomError(
                "repeated", "{what} '{name}' is used twice; give each its own", {"what": what, "name": name}
            )
        seen.add(name)


class _Field(Part):
    name: Id
    label: StrictStr | None = None
    description: StrictStr | None = None
    required: StrictBool = False
    placeholder: StrictStr | None = None
    secret: Annotated[StrictBool, Field(description="Kept apart from the instance file and masked in output.")] = False
    advanced: Annotated[StrictBool, Field(description="Shown only on demand.")] = False
    conditions: Conditions | None = None


class TextField(_Field):
    """A field that yields a text."""

    type: Literal["text", "password", "ip", "url", "email", "textarea"]
    default: StrictStr | None = None
    pattern: Annotated[StrictStr | None, Field(description="Regular expression that the text must match.")] = None
    multiline: StrictBool = False


class NumberField(_Field):
    """A field that yields a number."""

    type: Literal["number"]
    default: Number | Template | None = None
    min: Number | None = None
    max: Number | None = None
    step: Positive | None = None


class CheckboxField(_Field):
    """A field that yields true or false."""

    type: Literal["checkbox"]
    default: StrictBool | Template | None = None


class Option(Part):
    """One choice of a select field."""

    value: JsonValue
    label: Text


class SelectField(_Field):
    """A field that yields the value of one of its options."""

    type: Literal["select"]
    default: JsonValue = None
    options: Annotated[tuple[Option, ...], NOT_EMPTY, AT_LEAST_ONE]


FormField = Annotated[TextField | NumberField | CheckboxField | SelectField, Field(discriminator="type")]


class FormSchema(Part):
    """The fields of a form step, with unique names."""

    fields: Annotated[tuple[FormField, ...], NOT_EMPTY, AT_LEAST_ONE]

    @model_validator(mode="after")
    def _unique(self) -> Self:
        _refuse_repeats("field name", (item.name for item in self.fields))
        return self


class Confirm(Part):
    """A question asked before a step action is carried out."""

    title: StrictStr | None = None
    description: StrictStr | None = None


class _Action(Part):
    label: StrictStr | None = None
    payload: dict[str, JsonValue] | None = None
    confirm: Confirm | None = None


class GotoFlow(_Action):
    """A button that switches to another flow."""

    type: Literal["goto_flow"]
    flow: Id


class OpenUrl(_Action):
    """A button that opens a page."""

    type: Literal["open_url"]
    url: Text


class PlainAction(_Action):
    """A button that needs no target."""

    type: Literal["reset_flow", "rerun_step", "submit", "close", "custom"]


StepAction = Annotated[GotoFlow | OpenUrl | PlainAction, Field(discriminator="type")]


class _Step(Part):
    id: Id
    title: StrictStr | None = None
    description: StrictStr | None = None
    actions: tuple[StepAction, ...] | None = None
    auto_advance: StrictBool = False
    optional: StrictBool = False
    conditions: Conditions | None = None


class FormStep(_Step):
    """Asks for values, which become form.<id>.<field>."""

    type: Literal["form"]
    form: Annotated[FormSchema, Field(alias="schema")]


class ToolStep(_Step):
    """Runs a tool, whose whole answer {ok, result} becomes tools.<output_key, or else the tool's name>."""

    type: Literal["tool"]
    tool: Id
    input: dict[str, JsonValue] | None = None
    output_key: Id | None = None


class SelectStep(_Step):
    """Lets the user choose among items; the choice becomes selection.<output_key, or else the step's id>.

    `{{ item }}` stands for each item in item_label and item_value.
    """

    type: Literal["select"]
    items: Template
    item_label: StrictStr | None = None
    item_value: JsonValue = None
    multi_select: StrictBool = False
    output_key: Id | None = None


class Section(Part):
    """One line of a summary."""

    label: Text
    value: JsonValue


class SummaryStep(_Step):
    """Shows values before the user confirms them."""

    type: Literal["summary"]
    sections: Annotated[tuple[Section, ...], NOT_EMPTY, AT_LEAST_ONE]


class DiscoveryStep(_Step):
    """Tells that devices are being looked for; shown as a message."""

    type: Literal["discovery"]


class MessageStep(_Step):
    """Shows its description."""

    type: Literal["message"]


class OAuthProvider(Part):
    """Who signs the user in, and what for."""

    provider: Id
    scopes: tuple[StrictStr, ...] | None = None
    redirect_uri: StrictStr | None = None


class OAuthStep(_Step):
    """Signs the user in; the session becomes oauth.<provider>."""

    type: Literal["oauth"]
    oauth: OAuthProvider


class InstancePayload(Part):
    """The instance configuration to write, with templates. Further keys are written as they are."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue]

    instance_id: StrictStr
    friendly_name: StrictStr | None = None
    connector_type: StrictStr | None = None
    update_interval: Positive | Template | None = None
    enabled: StrictBool | Template | None = None
    config: dict[str, JsonValue] | Template | None = None
    devices: tuple[dict[str, JsonValue] | Template, ...] | Template | None = None
    secrets: dict[str, JsonValue] | None = None


class InstanceStep(_Step):
    """Writes the instance: the last step of a flow."""

    type: Literal["instance"]
    instance: InstancePayload


Step = Annotated[
    FormStep | ToolStep | SelectStep | SummaryStep | DiscoveryStep | MessageStep | InstanceStep | OAuthStep,
    Field(discriminator="type"),
]


class Flow(Part):
    """One way to set the connector up: at least one step, with unique ids."""

    id: Id
    name: Text
    description: StrictStr | None = None
    default: StrictBool = False
    prerequisites: tuple[StrictStr, ...] | None = None
    steps: Annotated[tuple[Step, ...], NOT_EMPTY, AT_LEAST_ONE]

    @model_validator(mode="after")
    def _unique(self) -> Self:
        _refuse_repeats("step id", (step.id for step in self.steps))
        return self


class Tool(Part):
    """A script that flows may run (clauses I2M-ACT-*)."""

    entry: Annotated[Text, Field(description="The script, relative to the connector's folder.")]
    description: StrictStr | None = None
    timeout: Annotated[Count, Field(description="Seconds.")] = 30
    network: Annotated[Literal["none", "local", "internet"], Field(description="What the script may reach.")] = "none"
    secrets: Annotated[tuple[Id, ...] | None, Field(description="Inputs that no output may show.")] = None
    environment: dict[str, StrictStr] | None = None


class MultiDevice(Part):
    """Steps that are repeated for each device of one instance."""

    enabled: StrictBool
    max_devices: Count | None = 100
    device_label: StrictStr | None = "Device"
    add_button_label: StrictStr | None = None
    loop_from_step: Id
    loop_to_step: Id


class Requirements(Part):
    """What the connector's container needs; versions of languages and the like under their names."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue]

    network: StrictStr | None = None
    libraries: tuple[StrictStr, ...] | None = None


class Branding(Part):
    """How a catalogue shows the connector."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue]

    icon: StrictStr | None = None
    color: StrictStr | None = None
    category: StrictStr | None = None


class Setup(Part):
    """A connector's setup.json: at least one flow, unique flow ids, at most one default flow."""

    version: Text = "1.0.0"
    display_name: Text
    description: StrictStr | None = None
    author: StrictStr | None = None
    branding: Branding | None = None
    requirements: Requirements | None = None
    multi_device: MultiDevice | None = None
    tools: dict[Id, Tool] = Field(default_factory=dict)
    flows: Annotated[tuple[Flow, ...], NOT_EMPTY, AT_LEAST_ONE]
    discovery: dict[str, JsonValue] | None = None
    secrets: Annotated[tuple[Id, ...] | None, Field(description="Names of instance values kept apart.")] = None

    @model_validator(mode="after")
    def _unique(self) -> Self:
        _refuse_repeats("flow id", (flow.id for flow in self.flows))
        if sum(flow.default for flow in self.flows) > 1:
            raise PydanticCustomError("several_defaults", "more than one flow is the default; keep one")
        return self


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault found by `check`: where in the file, and what to do about it."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


_INTEGRATION_KEYS: Final = frozenset({"name", "display_name"})
_ANSWER_KEYS: Final = frozenset({"ok", "result"})
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
            resolve_tool(folder, tool.entry)
        except ValueError as error:
            yield Problem(f"tools.{name}", str(error))


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
    """Tell whether a condition expects a value that its select field or checkbox cannot have."""
    if isinstance(expected, list | dict) or any(placeholders(expected)):
        return False
    _, step_id, *name = split_path(path)
    for step in flow.steps:
        if not isinstance(step, FormStep) or step.id != step_id:
            continue
        for item in step.form.fields:
            if [item.name] == name and isinstance(item, SelectField):
                return expected not in [option.value for option in item.options]
            if [item.name] == name and isinstance(item, CheckboxField):
                return not isinstance(expected, bool)
    return False


def _check_fields(step: FormStep, where: str, scope: _Scope, whole: _Scope, flow: Flow) -> Iterator[Problem]:
    for item in step.form.fields:
        place = f"{where}.{item.name}"
        yield from _check_conditions(item.conditions, place, scope, whole, flow)
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
