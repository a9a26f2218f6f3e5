"""Prints what the faults that were tested have cost.

    make soak && python -m benchmarks.faults

Each run of a fault's test leaves a row in the cache of pytest, and those of the same fault are added up; what was
measured beside is that of the last run. Remove the cache to begin anew. Nothing here asserts anything: the tests do.
"""

import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / ".pytest_cache" / "d" / "faults"
COLUMNS = {
    "fault": "fault",
    "runs": "runs",
    "rounds": "rounds",
    "published": "messages",
    "rows": "rows due",
    "stored": "rows stored",
    "repeats": "repeats refused",
    "bad": "bad records",
    "dead_letters": "dead letters",
    "duplicates": "duplicate rows",
    "lost": "lost",
    "restarts": "ended by itself",
    "note": "also measured",
}


def rows() -> list[dict[str, Any]]:
    """Return a row for each fault, in the order in which they were first tested."""
    files = sorted(FOLDER.glob("*.json"), key=lambda file: file.stat().st_mtime)
    found: dict[str, dict[str, Any]] = {}
    for row in [json.loads(file.read_text(encoding="utf-8")) for file in files]:
        found[row["fault"]] = _sum(found.get(row["fault"], {}), {**row, "runs": 1})
    return list(found.values())


def _sum(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {key: value + one.get(key, 0) if isinstance(value, int) else value for key, value in other.items()}


def table(found: list[dict[str, Any]]) -> str:
    """Return rows as a Markdown table."""
    head = "| " + " | ".join(COLUMNS.values()) + " |"
    rule = "|---" + "|--:" * (len(COLUMNS) - 2) + "|---|"
    lines = ["| " + " | ".join(_cell(row[name]) for name in COLUMNS) + " |" for row in found]
    return "\n".join([head, rule, *lines])


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def main() -> None:
    """Print the table."""
    found = rows()
    if not found:
        sys.exit("no fault has been tested yet: run `make soak`")
    sys.stdout.write(table(found) + "\n")


if __name__ == "__main__":
    main()
