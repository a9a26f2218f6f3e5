"""How a mutant is registered: the clause that it breaks, and what cannot but break along with it."""

from collections.abc import Callable
from dataclasses import dataclass

from connector import Connector


@dataclass(frozen=True, slots=True)
class Mutant:
    """A connector with one fault.

    Attributes:
        name: What BREAK is set to: the clause, with a suffix where the clause can be broken in several ways.
        clause: The id of the clause that the fault breaks.
        connector: The faulty connector.
        company: Ids of the clauses that the same fault breaks, or that cannot be judged because of it.
        why: How it breaks the clause, in one line.
    """

    name: str
    clause: str
    connector: type[Connector]
    company: frozenset[str]
    why: str


MUTANTS: dict[str, Mutant] = {}


def breaks(name: str, *, company: tuple[str, ...] = ()) -> Callable[[type[Connector]], type[Connector]]:
    """Register a connector as a mutant; its docstring says how it breaks the clause."""

    def register(connector: type[Connector]) -> type[Connector]:
        if name in MUTANTS:
            raise ValueError(f"two mutants are named {name}")
        why = (connector.__doc__ or "").partition("\n")[0]
        clause = name.partition(".")[0]
        MUTANTS[name] = Mutant(name=name, clause=clause, connector=connector, company=frozenset(company), why=why)
        return connector

    return register
