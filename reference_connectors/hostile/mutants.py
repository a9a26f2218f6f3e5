"""All mutants by name; `python mutants.py` lists them, with a name it changes the files of the current folder."""

import sys

from broken import (
    act,
    cmd,
    cmd_order,
    cmd_refusals,
    cmd_trouble,
    env,
    env_secrets,
    env_values,
    err,
    evt,
    file,
    get,
    group,
    life,
    life_faults,
    meta,
    pipe,
    pub,
    state,
    status,
    sub,
)
from broken.registry import MUTANTS, Mutant

AREAS = (
    env,
    env_values,
    env_secrets,
    status,
    sub,
    pipe,
    pub,
    state,
    cmd,
    cmd_refusals,
    cmd_order,
    cmd_trouble,
    get,
    group,
    meta,
    err,
    evt,
    life,
    life_faults,
    act,
    file,
)
"""The files of mutants; importing them has filled MUTANTS."""

__all__ = ["AREAS", "MUTANTS", "Mutant"]

if __name__ == "__main__":
    spoil = MUTANTS[sys.argv[1]].spoil if sys.argv[1:] else None
    if spoil is not None:
        spoil()
    else:
        for mutant in MUTANTS.values():
            print(f"{mutant.name:28} {mutant.why}")
