"""How a mutant is registered: the clause that it breaks, and what cannot but break along with it."""

from collections.abc import Callable
from dataclasses import dataclass

from connector import Connector
from validation import Validation


@dataclass(frozen=True, slots=True)
class Mutant:
    """A connector with one fault.

    Attributes:
        name: What BREAK is set to: the clause, with a suffix where the clause can be broken in several ways.
        company: Ids of the clauses that the same fault breaks, or that cannot be judged because of it.
        why: How it breaks the clause, in one line.
        connector: The faulty connector.
        action: The faulty action script.
        spoil: Changes files in the current folder, which is a copy of the connector's.
    """

    name: str
    company: frozenset[str]
    why: str
    connector: type[Connector] = Connector
    action: type[Validation] = Validation
    spoil: Callable[[], None] | None = None

    @property
    def clause(self) -> str:
        """The id of the clause that the fault breaks."""
        return self.name.partition(".")[0]


MUTANTS: dict[str, Mutant] = {}


def breaks(name: str, *, company: tuple[str, ...] = ()) -> Callable[[type[Connector]], type[Connector]]:
    """Register a connector as a mutant; its docstring says how it breaks the clause."""

    def register(connector: type[Connector]) -> type[Connector]:
        _add(Mutant(name=name, company=frozenset(company), why=_first_line(connector), connector=connector))
        return connector

    return register


def breaks_action(name: str, *, company: tuple[str, ...] = ()) -> Callable[[type[Validation]], type[Validation]]:
    """Register an action script as a mutant; the connector itself stays whole."""

    def register(action: type[Validation]) -> type[Validation]:
        _add(Mutant(name=name, company=frozenset(company), why=_first_line(action), action=action))
        return action

    return register


def breaks_files(name: str, *, company: tuple[str, ...] = ()) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register what changes the files in the current folder as a mutant; the connector itself stays whole."""

    def register(spoil: Callable[[], None]) -> Callable[[], None]:
        _add(Mutant(name=name, company=frozenset(company), why=_first_line(spoil), spoil=spoil))
        return spoil

    return register


def _add(mutant: Mutant) -> None:
    if mutant.name in MUTANTS:
        raise ValueError(f"two mutants are named {mutant.name}")
    MUTANTS[mutant.name] = mutant


def _first_line(documented: object) -> str:
    return (documented.__doc__ or "").partition("\n")[0]
