"""What a judge says of one clause."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from iot2mqtt_conformance.transcript import Record


class Outcome(StrEnum):
    """The possible outcomes of judging a clause."""

    PASS = "pass"  # noqa: S105 - an outcome, no password
    FAIL = "fail"
    NOT_APPLICABLE = "not applicable"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's verdict with its evidence.

    Attributes:
        outcome: What was found.
        evidence: Indexes of the records that prove it; a pass must have some.
        expected: What the clause asks for, in this very case.
        seen: What was seen instead, or why nothing was judged.
        hint: A likely cause and what to do.
    """

    outcome: Outcome
    evidence: tuple[int, ...] = ()
    expected: str = ""
    seen: str = ""
    hint: str = ""


def passed(evidence: Iterable[Record]) -> Verdict:
    """Return a pass; without evidence it turns into a failure, because nothing was proved."""
    indexes = tuple(record.i for record in evidence)
    if indexes:
        return Verdict(Outcome.PASS, indexes)
    return Verdict(
        Outcome.FAIL,
        expected="at least one message that shows the clause honoured",
        seen="nothing that the clause could be judged by",
        hint="the connector stayed silent where the clause speaks of what it says",
    )


def failed(expected: str, seen: str, *, at: Iterable[Record] = (), hint: str = "") -> Verdict:
    """Return a failure with what was expected, what was seen, and the records that show it."""
    return Verdict(Outcome.FAIL, tuple(record.i for record in at), expected, seen, hint)
