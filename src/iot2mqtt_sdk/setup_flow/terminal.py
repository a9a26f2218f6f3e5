"""Answers from somebody at a terminal."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click
from pydantic import JsonValue

from iot2mqtt_sdk.contract.setup import (
    CheckboxField,
    Flow,
    FormField,
    FormStep,
    MultiDevice,
    OAuthStep,
    SelectField,
    SelectStep,
    Setup,
    Step,
    StepAction,
    TextField,
)
from iot2mqtt_sdk.contract.templating import holds
from iot2mqtt_sdk.setup_flow.asking import Move
from iot2mqtt_sdk.setup_flow.fields import chosen, default_of, is_secret, parse
from iot2mqtt_sdk.setup_flow.signin import session_of

_T = TypeVar("_T")


class Terminal:
    """An Asker that prompts."""

    def flow(self, setup: Setup) -> Flow:
        """Let the user choose among several flows."""
        click.secho(setup.display_name, bold=True)
        if setup.description:
            click.echo(setup.description)
        if len(setup.flows) == 1:
            return setup.flows[0]
        default = next((number for number, flow in enumerate(setup.flows) if flow.default), 0)
        return setup.flows[self._pick("How", [flow.name for flow in setup.flows], default)]

    def shared(self) -> Mapping[str, JsonValue]:
        """Return nothing: there is no host application."""
        return {}

    def say(self, text: str) -> None:
        """Show a text."""
        click.echo(text)

    def wants(self, step: Step) -> bool:
        """Ask whether an optional step is to be done."""
        return click.confirm(f"{step.title or step.id}: do this optional step?", default=True)

    def form(
        self, step: FormStep, context: Mapping[str, JsonValue], earlier: Mapping[str, JsonValue]
    ) -> dict[str, JsonValue]:
        """Ask field by field, advanced ones last and only on demand."""
        values: dict[str, JsonValue] = {}
        show_advanced: bool | None = None
        for item in sorted(step.form.fields, key=lambda item: item.advanced):
            forms = context["form"]
            now = {**context, "form": {**forms, step.id: values}} if isinstance(forms, dict) else context
            if not holds(item.conditions, now):
                continue
            default = earlier.get(item.name, default_of(item, now))
            if item.advanced and show_advanced is None:
                show_advanced = click.confirm("Show advanced settings?", default=False)
            if item.advanced and not show_advanced and not (item.required and default is None):
                values[item.name] = default
                continue
            values[item.name] = self._field(item, default)
        return {item.name: values[item.name] for item in step.form.fields if item.name in values}

    def choose(self, step: SelectStep, labels: Sequence[str], values: Sequence[JsonValue]) -> JsonValue:
        """Ask for a number, or for several with commas between them."""
        if not step.multi_select:
            return values[self._pick("Choose", labels, 0 if len(labels) == 1 else None)]
        self._list(labels)
        numbers = _ask(
            "Choose, with commas between the numbers",
            lambda text: [chosen(part.strip(), list(labels)) for part in text.split(",")],
        )
        return [values[number] for number in dict.fromkeys(numbers)]

    def sign_in(self, step: OAuthStep, address: str | None) -> dict[str, JsonValue]:
        """Show the address, and take the code that the provider gives in return."""
        click.echo(f"Open this address and sign in:\n{address}" if address else f"Sign in to {step.oauth.provider}.")
        text = click.prompt("Paste the code, or the whole address that you were led to", hide_input=True)
        return session_of(text)

    def action(self, step: Step) -> StepAction | None:
        """Offer a step's buttons."""
        actions = step.actions or ()
        if not actions:
            return None
        labels = ["Go on", *(action.label or action.type.replace("_", " ") for action in actions)]
        number = self._pick("What next", labels, 0)
        action = actions[number - 1] if number else None
        if action is None or action.confirm is None:
            return action
        question = " ".join(filter(None, [action.confirm.title, action.confirm.description])) or "Are you sure?"
        return action if click.confirm(question, default=False) else self.action(step)

    def agrees(self) -> bool:
        """Ask whether a summary is right."""
        return click.confirm("Is this right?", default=True)

    def after_failure(self, message: str, *, may_continue: bool) -> Move:
        """Show what failed, and ask where to go."""
        click.secho(message, fg="red", err=True)
        moves = {"Try again": Move.AGAIN, "Go back": Move.BACK, "Leave without writing anything": Move.CLOSE}
        if may_continue:
            moves["Go on without it"] = Move.NEXT
        return list(moves.values())[self._pick("What next", list(moves), 0)]

    def another(self, loop: MultiDevice, done: int) -> bool:
        """Ask for another device, up to as many as fit."""
        if loop.max_devices is not None and done >= loop.max_devices:
            click.echo(f"That is the last one: {loop.max_devices} fit.")
            return False
        return click.confirm(loop.add_button_label or f"Add another {loop.device_label or 'device'}?", default=False)

    def other_id(self, message: str) -> str:
        """Ask for another instance id."""
        click.secho(message, fg="red", err=True)
        return str(click.prompt("Another instance id"))

    def _field(self, item: FormField, default: JsonValue) -> JsonValue:
        if item.description:
            click.secho(item.description, dim=True)
        label = item.label or item.name
        if item.placeholder:
            label += f" (such as {item.placeholder})"
        if isinstance(item, CheckboxField):
            return click.confirm(label, default=default is True)
        if isinstance(item, SelectField):
            return self._choose_option(item, label, default)
        if isinstance(item, TextField) and (item.multiline or item.type == "textarea") and not is_secret(item):
            return _lines(item, label, default)
        shown = "" if default is None and not item.required else default
        return _ask(label, lambda text: parse(item, text), default=shown, hidden=is_secret(item))

    def _choose_option(self, item: SelectField, label: str, default: JsonValue) -> JsonValue:
        labels = [option.label for option in item.options]
        values = [option.value for option in item.options]
        self._list(labels)
        if default is None and not item.required:
            return _ask(label, lambda text: parse(item, text), default="")
        preset = values.index(default) + 1 if default in values else None
        return _ask(label, lambda text: parse(item, text), default=preset)

    def _list(self, labels: Sequence[str]) -> None:
        for number, label in enumerate(labels, 1):
            click.echo(f"  {number}) {label}")

    def _pick(self, question: str, labels: Sequence[str], default: int | None) -> int:
        self._list(labels)
        preset = None if default is None else default + 1
        return _ask(question, lambda text: chosen(text, list(labels)), default=preset)


def _ask(label: str, read: Callable[[str], _T], *, default: Any = None, hidden: bool = False) -> _T:
    """Prompt until what was typed can be read."""

    def check(text: Any) -> _T:
        try:
            return read(str(text))
        except ValueError as error:
            raise click.BadParameter(f"this {error}") from None

    shown = default not in (None, "") and not hidden
    answer: _T = click.prompt(label, default=default, value_proc=check, hide_input=hidden, show_default=shown)
    return answer


def _lines(item: FormField, label: str, default: JsonValue) -> JsonValue:
    """Read lines until an empty one."""
    click.echo(f"{label}: end with an empty line" + (f" [{default}]" if default else ""))
    while True:
        lines: list[str] = []
        while line := click.prompt("", default="", show_default=False, prompt_suffix="> "):
            lines.append(line)
        try:
            return parse(item, "\n".join(lines) or str(default or ""))
        except ValueError as error:
            click.echo(f"Error: this {error}")
