"""The numbered statements that make the tables, and what of them a database still needs.

A file `<number>_<name>.sql` is for every database, `<number>_<name>.<variant>.sql` for one of the two: those with
TimescaleDB and those without. What was applied once is never changed; a mistake is mended by a further file.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

from iot2mqtt_sdk.errors import ConfigurationError

Part = Literal["parameters", "measurements"]
"""Device parameters and measurements may be in two databases, or in one."""
Variant = Literal["timescale", "postgres"]
"""With TimescaleDB, or with PostgreSQL's own partitions."""

RECORD = """\
CREATE TABLE IF NOT EXISTS iot_migrations (
    part text NOT NULL,
    number integer NOT NULL,
    name text NOT NULL,
    variant text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (part, number)
)"""
"""The table of what was applied."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file.

    Attributes:
        part: What it belongs to.
        number: Its place in the order.
        name: The name of the file.
        sql: Its statements, for one transaction.
    """

    part: Part
    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Tells whether the file is still what was applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Applied:
    """A row of iot_migrations."""

    number: int
    name: str
    checksum: str


def migrations(part: Part, variant: Variant) -> list[Migration]:
    """Return the files of a part for a variant, in order."""
    found = []
    for file in files("iot2mqtt_pipeline").joinpath("schema", part).iterdir():
        stem, *only_for = file.name.removesuffix(".sql").split(".")
        if file.name.endswith(".sql") and only_for in ([], [variant]):
            found.append(Migration(part, int(stem.split("_")[0]), file.name, file.read_text(encoding="utf-8")))
    return sorted(found, key=lambda migration: migration.number)


def pending(wanted: list[Migration], applied: list[Applied]) -> list[Migration]:
    """Return what is to be applied, in order.

    Raises:
        ConfigurationError: The database was made by a newer release, or by files that are not those of this one.
    """
    known: Mapping[int, Migration] = {migration.number: migration for migration in wanted}
    for one in applied:
        ours = known.get(one.number)
        if ours is None:
            raise ConfigurationError(
                f"the database has the migration {one.name}, which this release does not know: install a newer one"
            )
        if ours.checksum != one.checksum:
            raise ConfigurationError(
                f"the database was made by another {one.name} than this release has: "
                "files that were applied are not changed; restore the file and add a further one"
            )
    done = {one.number for one in applied}
    return [migration for migration in wanted if migration.number not in done]
