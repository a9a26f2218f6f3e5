"""What a walk through a flow asks, and of whom: somebody at a terminal, or a file of answers."""

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Protocol

from pydantic import JsonValue

from iot2mqtt_sdk.contract.setup import Flow, FormStep, MultiDevice, OAuthStep, SelectStep, Setup, Step, StepAction


class Move(Enum):
    """Where a walk goes after a step."""

    NEXT = auto()
    AGAIN = auto()
    BACK = auto()
    RESTART = auto()
    CLOSE = auto()


class Asker(Protocol):
    """Answers the questions of a flow; every method may raise SetupError where there is no answer."""

    def flow(self, setup: Setup) -> Flow:
        """Choose a flow."""

    def shared(self) -> Mapping[str, JsonValue]:
        """Return what a host application would provide."""

    def say(self, text: str) -> None:
        """Show a text."""

    def wants(self, step: Step) -> bool:
        """Tell whether an optional step is to be done."""

    def form(
        self, step: FormStep, context: Mapping[str, JsonValue], earlier: Mapping[str, JsonValue]
    ) -> dict[str, JsonValue]:
        """Fill in a form; `earlier` is what it was filled with before."""

    def choose(self, step: SelectStep, labels: Sequence[str], values: Sequence[JsonValue]) -> JsonValue:
        """Choose one value, or a list of them where the step says so."""

    def sign_in(self, step: OAuthStep, address: str | None) -> dict[str, JsonValue]:
        """Return a session, after somebody visited the address."""

    def action(self, step: Step) -> StepAction | None:
        """Choose one of a step's buttons, None to go on."""

    def agrees(self) -> bool:
        """Tell whether a summary is right."""

    def after_failure(self, message: str, *, may_continue: bool) -> Move:
        """Say where to go after something failed."""

    def another(self, loop: MultiDevice, done: int) -> bool:
        """Tell whether another device follows."""

    def other_id(self, message: str) -> str:
        """Return another instance id, because the first one is taken."""
