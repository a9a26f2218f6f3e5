"""Prints what the faults that were tested last have cost.

    make soak && python -m benchmarks.faults

Each test of a fault leaves a row in the cache of pytest; of each fault the newest is shown. Nothing here asserts
anything: the tests do.
"""

import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / ".pytest_cache" / "d" / "faults"
COLUMNS = {
    "fault": "fault",
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
    """Return the newest row of each fault."""
    files = sorted(FOLDER.glob("*.json"), key=lambda file: file.stat().st_mtime)
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return list({row["fault"]: row for row in found}.values())


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
