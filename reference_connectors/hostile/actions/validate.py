"""The action script: whole, or with one clause broken as BREAK says."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from validation import Validation


def chosen() -> type[Validation]:
    """Return the script that BREAK asks for; most mutants leave it whole."""
    name = os.environ.get("BREAK", "")
    if not name.startswith("I2M-ACT"):
        return Validation
    from mutants import MUTANTS

    return MUTANTS[name].action


if __name__ == "__main__":
    sys.exit(chosen()().run())
