"""What a judge says of one clause, and what that means for a run."""

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
    NOT_JUDGED = "not judged"


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


class Standing(StrEnum):
    """What a verdict means for the run, in the order in which people want to know."""

    FAIL = "fail"
    UNEXPECTED_PASS = "unexpected pass"  # noqa: S105 - a standing, no password
    NOT_RUN = "not run"
    WARNING = "warning"
    EXPECTED_FAILURE = "expected failure"
    PASS = "pass"  # noqa: S105 - a standing, no password
    NOT_APPLICABLE = "not applicable"
    NOT_JUDGED = "not judged"


RED = frozenset({Standing.FAIL, Standing.UNEXPECTED_PASS, Standing.NOT_RUN})
"""With any of these a run has not shown what it set out to show."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict and what it means for the run.

    Attributes:
        verdict: What the judge says.
        standing: What it means.
        reason: Why the declaration expects a failure; empty where it does not.
    """

    verdict: Verdict
    standing: Standing
    reason: str = ""


def rule(verdict: Verdict, *, level: str, expected: str | None, strict: bool) -> Ruling:
    """Return what a verdict means for the run.

    Args:
        verdict: What the judge says.
        level: The clause's level, `MUST` or `SHOULD`.
        expected: The reason that the declaration gives for an expected failure; None where it expects none.
        strict: Whether a SHOULD that is not honoured fails the run.
    """
    reason = expected or ""
    if verdict.outcome is Outcome.PASS:
        return Ruling(verdict, Standing.UNEXPECTED_PASS if expected else Standing.PASS, reason)
    if verdict.outcome is not Outcome.FAIL:
        return Ruling(verdict, Standing(verdict.outcome.value))
    if expected:
        return Ruling(verdict, Standing.EXPECTED_FAILURE, reason)
    mild = level == "SHOULD" and not strict
    return Ruling(verdict, Standing.WARNING if mild else Standing.FAIL)
