"""Each clause as one pytest item, and before them the smoke item."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import pytest

from iot2mqtt_conformance.fault import FaultError
from iot2mqtt_conformance.plugin import SUITE
from iot2mqtt_conformance.report.failure import explain
from iot2mqtt_conformance.report.telling import printable_lines
from iot2mqtt_conformance.suite import FAULT
from iot2mqtt_conformance.verdict import RED, Outcome, Standing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iot2mqtt_conformance.contract import Clause
    from iot2mqtt_conformance.declaration import Declaration
    from iot2mqtt_conformance.verdict import Ruling

CLAUSE = "iot2mqtt_clause"
OUTCOME = "iot2mqtt_outcome"


class ClauseFailedError(Exception):
    """A clause is not honoured; carries the text that explains it."""


class DeclarationFile(pytest.File):
    """One conformance.toml."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield the smoke item, then an item for each clause that has a judge and was chosen."""
        suite = self.config.stash[SUITE]
        declaration = suite.declarations[self.path.resolve()]
        yield SmokeItem.from_parent(self, name=f"smoke[{declaration.name}]", declaration=declaration)
        for clause in suite.clauses:
            yield ClauseItem.from_parent(
                self, name=f"{clause.id}[{declaration.name}]", declaration=declaration, clause=clause
            )


class _Item(pytest.Item):
    """What both kinds of item share: a declaration, and a report that needs no traceback."""

    def __init__(self, *, declaration: Declaration, **rest: Any) -> None:
        super().__init__(**rest)
        self.declaration = declaration
        self.user_properties.append(("iot2mqtt_connector", declaration.name))

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Tell pytest where the item stands."""
        return self.path, None, self.name

    def runtest(self) -> None:
        """Judge; where the suite cannot, say so in a way that reaches the controller of xdist, too."""
        try:
            self.judge()
        except FaultError as error:
            self.user_properties.append((FAULT, str(error)))
            raise

    @abstractmethod
    def judge(self) -> None:
        """Fail, skip or warn, as the item is found."""

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show the explanation instead of a traceback."""
        if isinstance(excinfo.value, ClauseFailedError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)


class SmokeItem(_Item):
    """Did it start, connect and come online?"""

    def judge(self) -> None:
        """Play the scenarios if nobody has, and fail with the diagnosis where the connector did not work."""
        played = self.config.stash[SUITE].played(self.declaration, self.session)
        self.user_properties.append((OUTCOME, Outcome.FAIL.value if played.smoke else Outcome.PASS.value))
        if played.smoke is not None:
            raise ClauseFailedError(printable_lines(played.smoke))


class ClauseItem(_Item):
    """One clause of the contract."""

    def __init__(self, *, clause: Clause, **rest: Any) -> None:
        super().__init__(**rest)
        self.clause = clause
        self.user_properties += [(CLAUSE, clause.id), ("iot2mqtt_level", clause.level), ("iot2mqtt_area", clause.area)]

    def judge(self) -> None:
        """Ask the clause's judge."""
        suite = self.config.stash[SUITE]
        played = suite.played(self.declaration, self.session)
        ruling: Ruling = suite.ruling(self.declaration, self.clause)
        self.user_properties.append((OUTCOME, ruling.standing.value))
        if ruling.standing in (Standing.NOT_APPLICABLE, Standing.NOT_RUN, Standing.NOT_JUDGED):
            said = Standing.NOT_RUN if ruling.standing is Standing.NOT_JUDGED else ruling.standing
            pytest.skip(f"{said}: {ruling.verdict.seen}")
        if ruling.standing is Standing.PASS:
            return
        text = explain(self.clause, ruling, played.transcript, suite.again(self.nodeid))
        if ruling.standing in RED:
            raise ClauseFailedError(text)
        self.add_report_section("call", "conformance", text)
        self.user_properties.append(("iot2mqtt_seen", ruling.verdict.seen))
        if ruling.standing is Standing.EXPECTED_FAILURE:
            pytest.xfail(ruling.reason)
