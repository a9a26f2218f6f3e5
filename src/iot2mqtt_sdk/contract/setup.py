"""setup.json as frozen models (clause I2M-FILE-01).

The models refuse a malformed file; `iot2mqtt_sdk.contract.setup_check` finds what would fail only in a running flow.
"""

from collections.abc import Iterable
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

from iot2mqtt_sdk.contract.manifest import Count, Id, Part, Text
from iot2mqtt_sdk.contract.templating import NAMESPACES

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
