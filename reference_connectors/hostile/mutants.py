"""All mutants by name; `python mutants.py` lists them."""

from broken import cmd, env, get, life, meta, pub, state, status, sub
from broken.registry import MUTANTS, Mutant

AREAS = (env, status, sub, pub, state, cmd, get, meta, life)
"""The files of mutants; importing them has filled MUTANTS."""

__all__ = ["AREAS", "MUTANTS", "Mutant"]

if __name__ == "__main__":
    for mutant in MUTANTS.values():
        print(f"{mutant.name:28} {mutant.why}")
