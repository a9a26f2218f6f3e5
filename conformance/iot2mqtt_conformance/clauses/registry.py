"""How a judge is registered: the clause it judges and the scenarios it needs."""

from collections.abc import Callable
from dataclasses import dataclass

from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.verdict import Verdict
from iot2mqtt_conformance.view import View

Judgement = Callable[[View, Declaration], Verdict]


@dataclass(frozen=True, slots=True)
class Judge:
    """One clause's judge.

    Attributes:
        scenarios: The scenarios whose records it reads; they are played before it is asked.
        function: Reads the transcript and gives the verdict; it does nothing else.
    """

    clause: str
    scenarios: tuple[str, ...]
    function: Judgement


JUDGES: dict[str, Judge] = {}


def judges(clause: str, *scenarios: str) -> Callable[[Judgement], Judgement]:
    """Register a function as the judge of a clause."""

    def register(function: Judgement) -> Judgement:
        if clause in JUDGES:
            raise ValueError(f"{clause} has two judges")
        JUDGES[clause] = Judge(clause, scenarios, function)
        return function

    return register
