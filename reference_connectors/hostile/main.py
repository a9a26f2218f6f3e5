"""Start the connector, whole or with one clause broken: BREAK=I2M-STATUS-04 python main.py."""

import os
import sys
from difflib import get_close_matches

from connector import Connector

WRONG_USE = 2


def chosen() -> type[Connector] | None:
    """Return the connector that BREAK asks for, or None where there is no such mutant."""
    name = os.environ.get("BREAK", "")
    if not name:
        return Connector
    from mutants import MUTANTS

    if name in MUTANTS:
        return MUTANTS[name].connector
    near = get_close_matches(name, MUTANTS, n=1)
    meant = f"did you mean {near[0]}?" if near else "python mutants.py lists them"
    print(f"hostile: BREAK is {name!r}, which is no mutant: {meant}", file=sys.stderr)
    return None


def main() -> int:
    """Run it and return the exit code."""
    connector = chosen()
    return WRONG_USE if connector is None else connector.main()


if __name__ == "__main__":
    sys.exit(main())
