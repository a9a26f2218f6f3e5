"""Programs that are measured beside ours where they are at hand."""

import os
import shutil
import sys
from pathlib import Path

from benchmarks.pipeline.plant import PROGRAMS

_QUIX = Path(".venv/quix/bin/python")


def python(program: str, *words: object) -> list[str]:
    """Return the command of a program of this folder."""
    return [sys.executable, str(PROGRAMS / program), *map(str, words)]


def quix(program: str, *words: object) -> list[str] | None:
    """Return the command of a program on Quix Streams; None where it is not installed."""
    # Quix Streams needs older versions of what we share: it has an environment of its own.
    return [str(_QUIX.absolute()), str(PROGRAMS / program), *map(str, words)] if _QUIX.exists() else None


def psql() -> str:
    """Return the path of psql."""
    found = shutil.which("psql") or next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"))), None)
    if found is None:
        sys.exit("the benchmark needs psql: install PostgreSQL's client")
    return str(found)


def libpq(database: dict[str, object]) -> dict[str, str]:
    """Return the environment that tells psql where to connect."""
    names = {"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER", "password": "PGPASSWORD"}
    return {"PATH": os.environ["PATH"]} | {names[name]: str(value) for name, value in database.items()}
