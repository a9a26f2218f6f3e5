"""setup.json, manifest.json and the envelope of action scripts: models, schemas, templates and the static check."""

import copy
import json
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

from iot2mqtt_sdk.contract import actions, manifest, setup
from iot2mqtt_sdk.contract.actions import ACTION_OUTPUT, ActionInput
from iot2mqtt_sdk.contract.manifest import Manifest
from iot2mqtt_sdk.contract.setup import Setup
from iot2mqtt_sdk.contract.setup_check import Problem, check
from iot2mqtt_sdk.contract.templating import holds, placeholders, resolve

MODELS: dict[str, TypeAdapter[Any]] = {
    "action_input": TypeAdapter(ActionInput),
    "action_output": ACTION_OUTPUT,
    "manifest": TypeAdapter(Manifest),
    "setup": TypeAdapter(Setup),
}
SCHEMAS: dict[str, dict[str, Any]] = {
    name: json.loads(resources.files("iot2mqtt_sdk.contract").joinpath(f"schemas/{name}.json").read_text())
    for name in MODELS
}
PARTS: list[tuple[str, str]] = [(name, "") for name in MODELS] + [
    (name, part)
    for name, module in (("action_output", actions), ("manifest", manifest), ("setup", setup))
    for part in SCHEMAS[name]["$defs"]
    if isinstance(getattr(module, part), type)
]
"""Each schema as a whole, and each of its definitions that is a model: in small documents a change hits more often."""
CROSS_RULES = {"repeated", "several_defaults"}
"""Errors of the rules that JSON Schema cannot express; documents that break them are left out of the comparison and
have tests of their own."""

JUNK: list[Any] = [
    None,
    True,
    0,
    1,
    1.0,
    2.5,
    -1,
    "",
    "x",
    "x\n",
    "a b",
    "{{ form.a }}",
    "tool",
    [],
    {},
    [{}],
    {"a": 1},
]
JSON = st.recursive(
    st.sampled_from(JUNK[:-6]), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner)
)


def examples_of(pattern: str) -> st.SearchStrategy[str]:
    samples = {
        manifest.ID_PATTERN: ["a", "B-2_c", "loop"],
        actions.CODE_PATTERN: ["a", "wrong_password"],
        r"\{\{[^{}]+\}\}": ["{{ form.a.b }}", "x {{a}} y"],
    }
    return st.sampled_from(samples.get(pattern, ["form.a.b", "tools.t.ok"]))


def documents(schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for documents that obey a schema made of the keywords that ours use."""
    if "$ref" in schema:
        target = schema["$ref"].rpartition("/")[2]
        return st.deferred(lambda: documents(definitions[target], definitions))
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return st.one_of([documents(branch, definitions) for branch in schema[union]])
    kinds = schema.get("type", "any")
    return st.one_of([of_kind(kind, schema, definitions) for kind in ([kinds] if isinstance(kinds, str) else kinds)])


def of_kind(kind: str, schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[Any]:
    lowest = schema.get("minimum", 0.5 if "exclusiveMinimum" in schema else -1000)
    makers: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
        "any": lambda: JSON,
        "null": st.none,
        "boolean": st.booleans,
        "integer": lambda: st.integers(lowest, 65535),
        "number": lambda: st.floats(lowest, 1000) | st.integers(1, 1000),
        "string": lambda: (
            examples_of(schema["pattern"])
            if "pattern" in schema
            else st.text(min_size=schema.get("minLength", 0), max_size=4)
        ),
        "array": lambda: st.lists(
            documents(schema["items"], definitions), min_size=schema.get("minItems", 0), max_size=2
        ),
        "object": lambda: objects(schema, definitions),
    }
    return makers[kind]()


def objects(schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    if "properties" not in schema:
        names = examples_of(schema["propertyNames"]["pattern"]) if "propertyNames" in schema else st.text(max_size=4)
        return st.dictionaries(names, documents(schema.get("additionalProperties", {}), definitions), max_size=2)
    members = {name: documents(member, definitions) for name, member in schema["properties"].items()}
    required = (
        {name: members.pop(name) for name in schema["required"] if name in members} if "required" in schema else {}
    )
    return st.fixed_dictionaries(required, optional=members)


def places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container with each of its keys or indices."""
    keys: Any = document if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    for key in keys:
        yield document, key
        yield from places(document[key])


@st.composite
def mutated(draw: st.DrawFn, schema: dict[str, Any]) -> Any:
    """Draw a valid document in which up to two places were changed."""
    document = copy.deepcopy(draw(documents(schema, schema.get("$defs", {}))))
    junk = st.sampled_from(JUNK).map(copy.deepcopy)
    for _ in range(draw(st.integers(0, 2))):
        spots = list(places(document))
        if not spots:
            return draw(junk)
        container, key = draw(st.sampled_from(spots))
        change = draw(st.sampled_from(["replace", "remove", "add"]))
        if change == "replace":
            container[key] = draw(junk)
        elif change == "remove":
            del container[key]
        elif isinstance(container, dict):
            container[draw(st.sampled_from(["extra", "bad key", "default", "type"]))] = draw(junk)
    return document


def model_of(name: str, part: str) -> TypeAdapter[Any]:
    modules = {"action_output": actions, "manifest": manifest, "setup": setup}
    return TypeAdapter(getattr(modules[name], part)) if part else MODELS[name]


def schema_of(name: str, part: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{part}", "$defs": SCHEMAS[name]["$defs"]} if part else SCHEMAS[name]


def errors_of(model: TypeAdapter[Any], document: Any) -> set[str]:
    try:
        model.validate_python(document)
    except ValidationError as error:
        return {fault["type"] for fault in error.errors()}
    return set()


@pytest.mark.parametrize(("name", "part"), PARTS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_model_and_schema_accept_the_same_documents(name: str, part: str, data: st.DataObject) -> None:
    schema = schema_of(name, part)
    document = data.draw(mutated(schema))
    model_errors = errors_of(model_of(name, part), document)
    assume(not model_errors & CROSS_RULES)

    assert (not model_errors) == Draft202012Validator(schema).is_valid(document)


@pytest.mark.parametrize(("name", "part"), [pair for pair in PARTS if pair[1]])
@settings(max_examples=3, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_model_and_schema_judge_every_odd_value_of_every_key_alike(name: str, part: str, data: st.DataObject) -> None:
    schema = schema_of(name, part)
    members = schema["$defs"][part]["properties"]
    full = data.draw(
        st.fixed_dictionaries({key: documents(member, schema["$defs"]) for key, member in members.items()})
    )
    validator, model = Draft202012Validator(schema), model_of(name, part)
    assume(not errors_of(model, full))

    for key in members:
        for value in JUNK:
            changed = full | {key: value}
            assert (not errors_of(model, changed)) == validator.is_valid(changed), (key, value)


def words(schema: Any) -> Iterator[str]:
    """Yield the constants and patterns of a schema."""
    if isinstance(schema, dict):
        yield from (repr(schema[key]) for key in ("const", "pattern") if isinstance(schema.get(key), str | bool))
        yield from (repr(word) for word in schema.get("enum", ()) if word is not None)
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from words(part)


@pytest.mark.parametrize("name", MODELS)
def test_the_schema_names_every_key_and_word_that_the_model_knows(name: str) -> None:
    """Closes the gap of the test above, whose documents come from the schema and so lack what only the model knows."""
    generated = MODELS[name].json_schema(by_alias=True)
    ours = SCHEMAS[name]

    for part, expected in [("", generated), *generated.get("$defs", {}).items()]:
        actual = ours.get("$defs", {}).get(part, {}) if part else ours
        assert set(actual.get("properties", ())) == set(expected.get("properties", ())), part
        assert set(actual.get("required", ())) == set(expected.get("required", ())), part
    assert {*words(ours)} >= {*words(generated)}


def test_the_schemas_are_valid_draft_2020_12() -> None:
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


FORM = {"id": "who", "type": "form", "schema": {"fields": [{"type": "text", "name": "name"}]}}
INSTANCE = {"id": "create", "type": "instance", "instance": {"instance_id": "{{ form.who.name }}"}}


def document(*steps: dict[str, Any], **changes: Any) -> dict[str, Any]:
    flow = {"id": "main", "name": "Main", "steps": list(steps)}
    return {"display_name": "Lamp", "flows": [flow]} | changes


def problems(folder: Path, *steps: dict[str, Any], **changes: Any) -> list[str]:
    return [str(problem) for problem in check(Setup.model_validate(document(*steps, **changes)), folder)]


def form(*fields: dict[str, Any], step: str = "who", **changes: Any) -> dict[str, Any]:
    return {"id": step, "type": "form", "schema": {"fields": list(fields)}} | changes


@pytest.fixture
def tools(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "probe.py").touch()
    return {"probe": {"entry": "probe.py"}}


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (document(FORM, FORM), "step id 'who' is used twice"),
        (document(form({"type": "ip", "name": "a"}, {"type": "url", "name": "a"})), "field name 'a' is used twice"),
        (document(flows=document(FORM)["flows"] * 2), "flow id 'main' is used twice"),
        (
            document(flows=[{"id": i, "name": i, "default": True, "steps": [FORM]} for i in ("a", "b")]),
            "more than one flow is the default",
        ),
    ],
)
def test_rules_that_a_schema_cannot_express_are_the_model_s(broken: dict[str, Any], complaint: str) -> None:
    assert Draft202012Validator(SCHEMAS["setup"]).is_valid(broken)
    with pytest.raises(ValidationError, match=complaint):
        Setup.model_validate(broken)


def test_a_wrong_field_is_the_only_thing_complained_about() -> None:
    with pytest.raises(ValidationError) as refusal:
        Setup.model_validate(document(form({"type": "camera_picker", "name": "a"})))

    assert [fault["type"] for fault in refusal.value.errors()] == ["union_tag_invalid"]


def test_an_integer_default_stays_an_integer() -> None:
    parsed = Setup.model_validate(document(form({"type": "number", "name": "port", "default": 80})))
    step = parsed.flows[0].steps[0]

    assert isinstance(step, setup.FormStep)
    assert type(step.form.fields[0].default) is int


def test_a_flow_of_all_step_types_in_a_sensible_order_has_no_problems(tmp_path: Path, tools: dict[str, Any]) -> None:
    steps: list[dict[str, Any]] = [
        {"id": "hello", "type": "message", "description": "Hello"},
        {"id": "look", "type": "discovery"},
        form({"type": "text", "name": "name"}, {"type": "checkbox", "name": "more"}),
        {"id": "login", "type": "oauth", "oauth": {"provider": "acme", "redirect_uri": "{{ shared.back }}"}},
        {"id": "run", "type": "tool", "tool": "probe", "output_key": "found", "input": {"n": ["{{ form.who.name }}"]}},
        {
            "id": "pick",
            "type": "select",
            "items": "{{ tools.found.result.devices }}",
            "item_label": "{{ item.name }} of {{ integration.display_name }}",
            "item_value": {"ip": "{{ item.ip }}"},
            "conditions": {"form.who.more": True},
        },
        {"id": "sum", "type": "summary", "sections": [{"label": "IP", "value": "{{ selection.pick.ip }}"}]},
        {
            "id": "create",
            "type": "instance",
            "instance": {
                "instance_id": "{{ form.who.name }}",
                "config": {"token": "{{ oauth.acme.tokens.access }}"},
                "groups": ["{{ selection.pick }}"],
            },
        },
    ]

    assert problems(tmp_path, *steps, tools=tools) == []


@pytest.mark.parametrize("entry", ["gone.py", "../probe.py"])
def test_a_tool_without_its_script_is_found(tmp_path: Path, entry: str) -> None:
    (found,) = problems(tmp_path, FORM, INSTANCE, tools={"probe": {"entry": entry}})

    assert found.startswith("tools.probe: entry")


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("form.where.name", "no form step 'where' comes before"),
        ("form.who.nmae", "form 'who' has no field 'nmae'"),
        ("tools.probe.result.ip", "no step before this one fills tools.probe"),
        ("selection.pick", "no step before this one fills selection.pick"),
        ("oauth.acme", "no step before this one fills oauth.acme"),
        ("integration.icon", "only name and display_name"),
        ("froms.who.name", "there is no 'froms'"),
        ("item.ip", "there is no 'item'"),
        ("form.who.name | length", "without filters"),
        ("form..name", "plain dotted paths"),
        ("", "plain dotted paths"),
    ],
)
def test_a_template_that_nothing_fills_is_found(tmp_path: Path, path: str, complaint: str) -> None:
    create = {
        "id": "create",
        "type": "instance",
        "instance": {"instance_id": "x", "devices": [{"a": f"{{{{ {path} }}}}"}]},
    }

    (found,) = problems(tmp_path, FORM, create)

    assert found.startswith("flows.main.create: {{")
    assert complaint in found


def test_a_template_in_a_key_that_the_model_does_not_know_is_found_too(tmp_path: Path) -> None:
    create = {"id": "create", "type": "instance", "instance": {"instance_id": "x", "connection": "{{ form.no.way }}"}}

    assert len(problems(tmp_path, FORM, create)) == 1


def test_a_template_that_refers_to_a_later_step_or_its_own_is_found(tmp_path: Path, tools: dict[str, Any]) -> None:
    early = {
        "id": "run",
        "type": "tool",
        "tool": "probe",
        "input": {"a": "{{ form.who.name }}", "b": "{{ tools.probe }}"},
    }

    found = problems(tmp_path, early, FORM, INSTANCE, tools=tools)

    assert len(found) == 2
    assert all("comes later, or is this one" in problem for problem in found)


def test_a_default_may_not_refer_to_the_form_that_is_being_filled(tmp_path: Path) -> None:
    own = form({"type": "text", "name": "name"}, {"type": "text", "name": "copy", "default": "{{ form.who.name }}"})

    assert len(problems(tmp_path, own, INSTANCE)) == 1


def test_a_tool_s_value_is_looked_for_in_its_result(tmp_path: Path, tools: dict[str, Any]) -> None:
    run = {"id": "run", "type": "tool", "tool": "probe"}
    create = {"id": "create", "type": "instance", "instance": {"instance_id": "{{ tools.probe.model }}"}}

    (found,) = problems(tmp_path, run, create, tools=tools)

    assert "under tools.probe.result" in found


def test_steps_behind_the_end_of_a_flow_are_unreachable(tmp_path: Path) -> None:
    late = {"id": "late", "type": "message"}

    assert problems(tmp_path, FORM, INSTANCE, late) == [
        "flows.main.late: nobody reaches this step: 'create' before it ends the flow"
    ]
    assert problems(tmp_path, FORM, INSTANCE | {"conditions": {"form.who.name": "x"}}, late) == []


@pytest.mark.parametrize(
    ("conditions", "complaint"),
    [
        ({"form.who.mode": "slwo"}, "'slwo' is none of the field's options"),
        ({"form.who.on": "yes"}, "'yes' is none of the field's options"),
        ({"form.who.gone": 1}, "form 'who' has no field 'gone'"),
        ({"tools.probe.ok": True}, "no step before this one fills tools.probe"),
        ({"form.who.name": "{{ form.no.way }}"}, "no form step 'no'"),
    ],
)
def test_conditions_that_never_hold_are_found(tmp_path: Path, conditions: dict[str, Any], complaint: str) -> None:
    who = form(
        {"type": "text", "name": "name"},
        {"type": "checkbox", "name": "on"},
        {"type": "select", "name": "mode", "options": [{"value": "slow", "label": "Slow"}]},
    )

    (found,) = problems(tmp_path, who, {"id": "m", "type": "message", "conditions": conditions}, INSTANCE)

    assert complaint in found
    assert (
        problems(tmp_path, who, {"id": "m", "type": "message", "conditions": {"form.who.mode": "slow"}}, INSTANCE) == []
    )


def test_a_field_s_condition_may_look_at_its_own_form(tmp_path: Path) -> None:
    own = form({"type": "text", "name": "name"}, {"type": "ip", "name": "ip", "conditions": {"form.who.name": "x"}})

    assert problems(tmp_path, own, INSTANCE) == []


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        ({"id": "run", "type": "tool", "tool": "gone"}, "there is no tool 'gone'"),
        ({"id": "m", "type": "message", "actions": [{"type": "goto_flow", "flow": "gone"}]}, "there is no flow 'gone'"),
        (form({"type": "number", "name": "n", "min": 5, "max": 1}, step="n"), "min 5 is above max 1"),
        (form({"type": "number", "name": "n", "min": 5, "default": 1}, step="n"), "default 1 lies outside 5 to inf"),
        (
            form({"type": "select", "name": "s", "default": "b", "options": [{"value": "a", "label": "A"}]}, step="n"),
            "default 'b' is none of the options",
        ),
    ],
)
def test_references_and_defaults_that_lead_nowhere_are_found(
    tmp_path: Path, step: dict[str, Any], complaint: str
) -> None:
    (found,) = problems(tmp_path, FORM, step, INSTANCE)

    assert complaint in found


def test_a_flow_that_creates_nothing_is_found_unless_it_leads_to_another(tmp_path: Path) -> None:
    leading = {"id": "m", "type": "message", "actions": [{"type": "goto_flow", "flow": "main"}]}

    assert problems(tmp_path, FORM) == ["flows.main: the flow creates nothing; end it with an instance step"]
    assert problems(tmp_path, leading) == []


@pytest.mark.parametrize(
    ("first", "last", "complaint"),
    [("gone", "create", "no flow has a step 'gone'"), ("create", "who", "exchange them"), ("who", "create", None)],
)
def test_a_loop_over_devices_needs_its_steps_in_order(
    tmp_path: Path, first: str, last: str, complaint: str | None
) -> None:
    loop = {"enabled": True, "loop_from_step": first, "loop_to_step": last}

    found = problems(tmp_path, FORM, INSTANCE, multi_device=loop)

    assert [complaint is not None and complaint in problem for problem in found] == [True] * (complaint is not None)
    assert problems(tmp_path, FORM, INSTANCE, multi_device=loop | {"enabled": False}) == []


def test_a_problem_reads_as_place_and_sentence() -> None:
    assert str(Problem("tools.probe", "is missing")) == "tools.probe: is missing"


CONTEXT: dict[str, Any] = {
    "form": {"a": {"port": 80, "on": True, "none": None, "half": 0.5, "whole": 2.0}},
    "tools": {"t": {"result": {"devices": [{"ip": "h"}]}}},
}


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ form.a.port }}", 80),
        ("{{form.a.on}}", True),
        ("{{ tools.t.result.devices.0.ip }}", "h"),
        ("{{ tools.t.result.devices }}", [{"ip": "h"}]),
        ("{{ form.a.gone }}", ""),
        ("{{ form.a.none }}", ""),
        ("{{ tools.t.result.devices.7.ip }}", ""),
        ("h:{{ form.a.port }}/{{ form.a.gone }}", "h:80/"),
        ("{{ form.a.on }} {{ form.a.half }} {{ form.a.whole }}", "true 0.5 2"),
        ("all: {{ tools.t.result.devices }}", 'all: [{"ip":"h"}]'),
        ({"k": ["{{ form.a.port }}", 1, None]}, {"k": [80, 1, None]}),
        ("no template", "no template"),
    ],
)
def test_templates_keep_a_lone_value_and_write_others_as_text(template: Any, value: Any) -> None:
    resolved = resolve(template, CONTEXT)

    assert resolved == value
    assert type(resolved) is type(value)


def test_placeholders_are_found_at_any_depth() -> None:
    assert list(placeholders({"a": ["{{ x.y }} and {{z}}", {"b": "{{ w }}"}], "c": 1})) == ["x.y", "z", "w"]


@pytest.mark.parametrize(
    ("conditions", "held"),
    [
        (None, True),
        ({}, True),
        ({"form.a.port": 80}, True),
        ({"form.a.port": 80, "form.a.on": False}, False),
        ({"form.a.on": 1}, False),
        ({"form.a.port": "{{ form.a.port }}"}, True),
        ({"tools.t.result.devices": [{"ip": "h"}]}, True),
        ({"tools.t.result.devices": ["other"]}, False),
        ({"form.a.port": [80]}, False),
        ({"form.gone.x": None}, True),
    ],
)
def test_conditions_hold_when_all_values_are_as_expected(conditions: Any, *, held: bool) -> None:
    assert holds(conditions, CONTEXT) is held
