"""Answers from a file: nothing is asked, and what is missing ends the run."""

from collections.abc import Iterator, Mapping, Sequence

import click
from pydantic import JsonValue

from iot2mqtt_sdk.contract.setup import (
    Flow,
    FormField,
    FormStep,
    MultiDevice,
    OAuthStep,
    SelectStep,
    Setup,
    Step,
    StepAction,
)
from iot2mqtt_sdk.contract.templating import holds
from iot2mqtt_sdk.setup_flow.asking import Move
from iot2mqtt_sdk.setup_flow.errors import SetupError
from iot2mqtt_sdk.setup_flow.fields import accept, default_of
from iot2mqtt_sdk.setup_flow.files import AnswerFile, Pass
from iot2mqtt_sdk.setup_flow.state import place_of


class Answers:
    """An Asker that takes every answer from a file.

    Args:
        given: The file.
    """

    def __init__(self, given: AnswerFile) -> None:
        self._given = given
        self._pass = 0

    def flow(self, setup: Setup) -> Flow:
        """Return the flow that the answers name, or else the default one."""
        flow = _flow_of(setup, self._given.flow)
        for where in _unknown(self._given, flow, setup):
            raise SetupError(f"the answers hold {where}, which flow {flow.id!r} does not ask for; correct its name")
        return flow

    def shared(self) -> Mapping[str, JsonValue]:
        """Return the answers' `shared`."""
        return self._given.shared

    def say(self, text: str) -> None:
        """Show a text."""
        click.echo(text)

    def wants(self, step: Step) -> bool:
        """An optional step is done where there is an answer, and where it asks nothing."""
        place = place_of(step)
        if place is None or place[0] == "tools":
            return True
        return any(place[1] in getattr(answers, place[0]) for answers in self._current())

    def form(
        self,
        step: FormStep,
        context: Mapping[str, JsonValue],
        earlier: Mapping[str, JsonValue],  # noqa: ARG002 - only a terminal goes back to a form
    ) -> dict[str, JsonValue]:
        """Return the answers to a form, with defaults where there is none."""
        given = next((answers.form[step.id] for answers in self._current() if step.id in answers.form), {})
        values: dict[str, JsonValue] = {}
        for item in step.form.fields:
            forms = context["form"]
            now = {**context, "form": {**forms, step.id: values}} if isinstance(forms, dict) else context
            if holds(item.conditions, now):
                values[item.name] = self._field(item, given, step, now)
        return values

    def choose(self, step: SelectStep, labels: Sequence[str], values: Sequence[JsonValue]) -> JsonValue:
        """Return the values that the answers name, by value or by label."""
        key = step.output_key or step.id
        answer = self._need("selection", key)
        if not step.multi_select:
            return _choice(answer, labels, values, key)
        if not isinstance(answer, list):
            raise SetupError(f"the answer selection.{key} must be a list, because several may be chosen")
        return [_choice(item, labels, values, key) for item in answer]

    def sign_in(self, step: OAuthStep, address: str | None) -> dict[str, JsonValue]:  # noqa: ARG002
        """Return the session in the answers; a text is the code that the provider gave."""
        answer = self._need("oauth", step.oauth.provider)
        return answer if isinstance(answer, dict) else {"code": answer}

    def action(self, step: Step) -> StepAction | None:  # noqa: ARG002
        """Go on: buttons are for people."""
        return None

    def agrees(self) -> bool:
        """Agree: whoever wrote the answers has seen them."""
        return True

    def after_failure(self, message: str, *, may_continue: bool) -> Move:
        """Go on where the flow provides for it."""
        if not may_continue:
            raise SetupError(message)
        click.echo(message, err=True)
        return Move.NEXT

    def another(self, loop: MultiDevice, done: int) -> bool:
        """Tell whether the answers hold another device."""
        self._pass = done
        if loop.max_devices is not None and len(self._given.devices) > loop.max_devices:
            raise SetupError(f"the answers hold {len(self._given.devices)} devices; at most {loop.max_devices} fit")
        return done < len(self._given.devices)

    def other_id(self, message: str) -> str:
        """End the run."""
        raise SetupError(message)

    def _current(self) -> Iterator[Pass]:
        """Yield the answers of this pass, then those for the whole flow."""
        if self._pass < len(self._given.devices):
            yield self._given.devices[self._pass]
        yield self._given

    def _need(self, space: str, key: str) -> JsonValue:
        for answers in self._current():
            if key in getattr(answers, space):
                found: JsonValue = getattr(answers, space)[key]
                return found
        raise SetupError(f"the answers lack {space}.{key}; add it")

    def _field(
        self, item: FormField, given: Mapping[str, JsonValue], step: FormStep, context: Mapping[str, JsonValue]
    ) -> JsonValue:
        value = given[item.name] if item.name in given else default_of(item, context)
        if item.name not in given and value is None and item.required:
            raise SetupError(f"the answers lack form.{step.id}.{item.name}; add it")
        try:
            return accept(item, value)
        except ValueError as error:
            raise SetupError(f"the answer form.{step.id}.{item.name} {error}") from None


def _flow_of(setup: Setup, wanted: str | None) -> Flow:
    if wanted is None:
        return next((flow for flow in setup.flows if flow.default), setup.flows[0])
    for flow in setup.flows:
        if flow.id == wanted:
            return flow
    known = ", ".join(flow.id for flow in setup.flows)
    raise SetupError(f"the answers name the flow {wanted!r}, and there is only {known}")


def _unknown(given: AnswerFile, flow: Flow, setup: Setup) -> Iterator[str]:
    """Yield the places of answers to questions that a flow does not ask."""
    forms = {step.id: {item.name for item in step.form.fields} for step in flow.steps if isinstance(step, FormStep)}
    places = set(map(place_of, flow.steps))
    looped = setup.multi_device is not None and setup.multi_device.enabled
    if given.devices and not looped:
        yield "devices"
    parts: list[tuple[str, Pass]] = [("", given)]
    parts += [(f"devices.{number}.", answers) for number, answers in enumerate(given.devices)]
    for prefix, answers in parts:
        for step, fields in answers.form.items():
            yield from (f"{prefix}form.{step}.{name}" for name in fields if name not in forms.get(step, ()))
        yield from (f"{prefix}selection.{key}" for key in answers.selection if ("selection", key) not in places)
        yield from (f"{prefix}oauth.{key}" for key in answers.oauth if ("oauth", key) not in places)


def _choice(answer: JsonValue, labels: Sequence[str], values: Sequence[JsonValue], key: str) -> JsonValue:
    for label, value in zip(labels, values, strict=True):
        if answer in (value, label):
            return value
    raise SetupError(f"the answer selection.{key} is none of the choices, which are {', '.join(labels) or 'none'}")
