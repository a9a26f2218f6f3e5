"""The clauses of the contract as data: clauses.toml, checked and frozen."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

_FILE = Path(__file__).with_name("clauses.toml")
_ID = re.compile(r"I2M-[A-Z]+-[0-9]{2}")
_NEED = re.compile(r"[a-z_]+(?::[a-z_]+)?")
_REQUIRED = ("id", "level", "text", "check")
_OPTIONAL = ("needs", "seen")


@dataclass(frozen=True, slots=True)
class Clause:
    """One sentence of the contract, and how it is checked.

    Attributes:
        id: Stable name, `I2M-<AREA>-<NN>`.
        level: `MUST` or `SHOULD`.
        text: What is required; `{I}` stands for `{BASE}/v1/instances/{instance_id}`.
        check: How the verdict is reached.
        needs: The feature (`groups`), stimulus (`stimulus:device_fails`), way of reporting (`reporting:polling`) or
            kind of action (`actions:secrets`) that a connector must declare for the clause to apply; None where it
            always applies.
        seen: A real implementation that breaks it, where one is known.
    """

    id: str
    level: Literal["MUST", "SHOULD"]
    text: str
    check: str
    needs: str | None = None
    seen: str | None = None


def load_clauses() -> tuple[Clause, ...]:
    """Read the contract that ships with this package, in the contract's order.

    Raises:
        ValueError: The file breaks its own rules; the message names the clause and the fault.
    """
    return parse_clauses(_FILE.read_text(encoding="utf-8"))


def parse_clauses(text: str) -> tuple[Clause, ...]:
    """Read clauses from the text of a clauses.toml.

    Raises:
        ValueError: The text is no TOML, holds anything but clauses, repeats an id, or has a clause of the wrong shape.
    """
    document = tomllib.loads(text)
    entries = document.pop("clause", [])
    if document or not isinstance(entries, list) or not entries:
        raise ValueError("clauses.toml must hold [[clause]] entries and nothing else")
    clauses = tuple(_clause(entry, f"clause number {number}") for number, entry in enumerate(entries, start=1))
    seen: set[str] = set()
    for clause in clauses:
        if clause.id in seen:
            raise ValueError(f"{clause.id} appears twice in clauses.toml; give the later clause a number of its own")
        seen.add(clause.id)
    return clauses


def _clause(entry: object, place: str) -> Clause:
    if not isinstance(entry, dict):
        raise ValueError(f"{place} in clauses.toml must be a table")  # noqa: TRY004 - a fault of the file, like the others
    fields: dict[str, Any] = entry
    where = f"{fields['id']} in clauses.toml" if isinstance(fields.get("id"), str) else f"{place} in clauses.toml"
    for name in _REQUIRED:
        if name not in fields:
            raise ValueError(f"{where} has no `{name}`")
    for name, value in fields.items():
        if name not in (*_REQUIRED, *_OPTIONAL):
            raise ValueError(f"{where} has an unknown key `{name}`")
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{where}: `{name}` must be a text that is not empty")
    if _ID.fullmatch(fields["id"]) is None:
        raise ValueError(f"{where}: the id must look like I2M-STATUS-01")
    if fields["level"] not in ("MUST", "SHOULD"):
        raise ValueError(f"{where}: `level` must be MUST or SHOULD")
    if "needs" in fields and _NEED.fullmatch(fields["needs"]) is None:
        raise ValueError(f"{where}: `needs` must be a feature, or a kind and a name parted by a colon")
    return Clause(**fields)
