"""Walks through a flow step by step until there is an instance."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from iot2mqtt_sdk.contract.setup import (
    Flow,
    FormStep,
    GotoFlow,
    InstanceStep,
    OAuthStep,
    OpenUrl,
    SelectStep,
    Setup,
    Step,
    SummaryStep,
    ToolStep,
)
from iot2mqtt_sdk.contract.templating import Secret, holds, resolve, split_path
from iot2mqtt_sdk.masking import MASK, Mask
from iot2mqtt_sdk.setup_flow.asking import Asker, Move
from iot2mqtt_sdk.setup_flow.draft import Draft, make
from iot2mqtt_sdk.setup_flow.errors import SetupError
from iot2mqtt_sdk.setup_flow.fields import is_secret
from iot2mqtt_sdk.setup_flow.files import RecordedFile
from iot2mqtt_sdk.setup_flow.loop import Loop
from iot2mqtt_sdk.setup_flow.signin import address_of, hide
from iot2mqtt_sdk.setup_flow.state import State, place_of
from iot2mqtt_sdk.setup_flow.tools import Tools


class Walk:
    """One run of a connector's setup.

    Args:
        setup: The connector's setup.json.
        asker: Who answers.
        tools: The connector's tools.
        home: The folder that holds config/oauth.
        connector: The connector's name.
        recorded: Recorded sessions; None asks for them.
    """

    def __init__(
        self, *, setup: Setup, asker: Asker, tools: Tools, home: Path, connector: str, recorded: RecordedFile | None
    ) -> None:
        self._setup = setup
        self._asker = asker
        self._tools = tools
        self._home = home
        self._connector = connector
        self._recorded = recorded
        self._doers: Mapping[type, Callable[[Any], Move | Draft]] = {
            FormStep: self._fill,
            ToolStep: self._run_tool,
            SelectStep: self._select,
            SummaryStep: self._summarize,
            OAuthStep: self._sign_in,
            InstanceStep: self._create,
        }
        self._begin(setup.flows[0])

    def run(self) -> Draft | None:
        """Walk until there is an instance; None where the user left.

        Raises:
            SetupError: An answer is missing or wrong, or the flow yields no valid instance.
        """
        outcome: Move | Flow | Draft = self._asker.flow(self._setup)
        while isinstance(outcome, Flow):
            self._begin(outcome)
            outcome = self._walk()
        return outcome if isinstance(outcome, Draft) else None

    def _begin(self, flow: Flow) -> None:
        names: dict[str, JsonValue] = {"name": self._connector, "display_name": self._setup.display_name}
        self._flow = flow
        self._state = State(integration=names, shared=self._asker.shared())
        self._loop = Loop(flow, self._setup.multi_device, self._state, self._asker)

    def _walk(self) -> Move | Flow | Draft:
        position = 0
        while position < len(self._flow.steps):
            outcome = self._take(self._flow.steps[position])
            if outcome is Move.NEXT:
                outcome, position = self._loop.after(position)
            elif outcome is Move.BACK:
                position = self._loop.back(position, self._question_before(position))
            if outcome is Move.RESTART:
                return self._flow
            if outcome is Move.CLOSE or isinstance(outcome, Flow | Draft):
                return outcome
        raise SetupError(f"flow {self._flow.id!r} ended without an instance, because no condition of one held")

    def _take(self, step: Step) -> Move | Flow | Draft:
        if not holds(step.conditions, self._state.context()) or (step.optional and not self._asker.wants(step)):
            self._state.forget(step)
            return Move.NEXT
        for text in filter(None, (step.title, step.description)):
            self._asker.say(text)
        # Where a step asks, its buttons come first: they offer another way than answering.
        asks = isinstance(step, FormStep | SelectStep | OAuthStep | InstanceStep)
        outcome = (self._press(step) if asks else None) or self._doers.get(type(step), _go_on)(step)
        if asks or outcome is not Move.NEXT or (isinstance(step, ToolStep) and step.auto_advance):
            return outcome
        return self._press(step) or Move.NEXT

    def _press(self, step: Step) -> Move | Flow | None:
        """Carry out a step's buttons until one leads on; None goes on with the step."""
        moves = {"reset_flow": Move.RESTART, "rerun_step": Move.AGAIN, "close": Move.CLOSE}
        while action := self._asker.action(step):
            if isinstance(action, GotoFlow):
                return next(flow for flow in self._setup.flows if flow.id == action.flow)
            if isinstance(action, OpenUrl):
                self._asker.say(f"Open {action.url}")
            elif action.type == "custom":
                self._asker.say("This button works in a web interface only.")
            else:
                return moves.get(action.type)
        return None

    def _fill(self, step: FormStep) -> Move:
        values = self._asker.form(step, self._state.context(), self._state.form(step))
        secret = {item.name for item in step.form.fields if is_secret(item)}
        self._state.put(step, {key: _hidden(value) if key in secret else value for key, value in values.items()})
        return Move.NEXT

    def _run_tool(self, step: ToolStep) -> Move:
        context = self._state.context()
        _, key = place_of(step) or ("", step.tool)
        inputs = {name: resolve(value, context) for name, value in (step.input or {}).items()}
        answer = self._tools.run(step.tool, key, inputs)
        self._state.put(step, answer)
        if answer["ok"]:
            return Move.NEXT
        message = Mask(_secrets(context)).text(f"{step.title or step.tool}: {answer['error']['message']}")
        return self._asker.after_failure(message, may_continue=step.optional or self._is_provided_for(key))

    def _is_provided_for(self, key: str) -> bool:
        """Tell whether a condition of the flow asks whether this tool worked."""
        paths = (path for step in self._flow.steps for path in step.conditions or {})
        return any(split_path(path) == ["tools", key, "ok"] for path in paths)

    def _select(self, step: SelectStep) -> Move:
        context = self._state.context()
        items = resolve(step.items, context)
        if not isinstance(items, list) or not items:
            message = f"{step.title or step.id}: there is nothing to choose from"
            return self._asker.after_failure(message, may_continue=step.optional)
        scopes = [{**context, "item": item} for item in items]
        labels = [_shown(resolve(step.item_label or "{{ item }}", scope)) for scope in scopes]
        value = "{{ item }}" if step.item_value is None else step.item_value
        self._state.put(step, self._asker.choose(step, labels, [resolve(value, scope) for scope in scopes]))
        return Move.NEXT

    def _summarize(self, step: SummaryStep) -> Move:
        context = self._state.context()
        for section in step.sections:
            self._asker.say(f"{section.label}: {_shown(resolve(section.value, context))}")
        return Move.NEXT if self._asker.agrees() else Move.BACK

    def _sign_in(self, step: OAuthStep) -> Move:
        provider = step.oauth.provider
        if self._recorded is not None and provider in self._recorded.oauth:
            session: JsonValue = self._recorded.oauth[provider]
        else:
            redirect = resolve(step.oauth.redirect_uri, self._state.context())
            address = address_of(self._home, step.oauth, str(redirect) if redirect else None)
            session = self._asker.sign_in(step, address)
        self._state.put(step, hide(session))
        return Move.NEXT

    def _create(self, step: InstanceStep) -> Draft:
        return make(
            step.instance,
            self._state.context(),
            self._loop.devices(step.instance),
            connector=self._connector,
            secret_names=frozenset(self._setup.secrets or ()),
        )

    def _question_before(self, position: int) -> int:
        """Return the place of the last step before this one that asked something, 0 where none did."""
        context = self._state.context()
        for earlier in range(position - 1, -1, -1):
            step = self._flow.steps[earlier]
            if isinstance(step, FormStep | SelectStep | OAuthStep) and holds(step.conditions, context):
                return earlier
        return 0


def _go_on(_step: Step) -> Move:
    return Move.NEXT


def _hidden(value: JsonValue) -> JsonValue:
    return Secret(value) if isinstance(value, str) else value


def _secrets(value: JsonValue) -> list[JsonValue]:
    """Return all secrets in a value."""
    if isinstance(value, dict):
        return [secret for item in value.values() for secret in _secrets(item)]
    if isinstance(value, list):
        return [secret for item in value for secret in _secrets(item)]
    return [str(value)] if isinstance(value, Secret) else []


def _shown(value: JsonValue) -> str:
    """Return a value as text for the user, with its secrets masked."""
    return str(resolve("{{ v }} ", {"v": _masked(value)})).removesuffix(" ")


def _masked(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: _masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return MASK if isinstance(value, Secret) else value
