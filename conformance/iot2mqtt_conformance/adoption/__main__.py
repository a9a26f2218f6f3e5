"""`python -m iot2mqtt_conformance.adoption`: what `iot2mqtt conformance init` runs."""

import argparse
import sys
from pathlib import Path

from iot2mqtt_conformance.adoption.init import init
from iot2mqtt_conformance.adoption.lookaround import AdoptionError


def main() -> None:
    """Read the arguments and write a declaration; one sentence and code 1 where that is not possible."""
    parser = argparse.ArgumentParser(
        prog="iot2mqtt conformance init",
        description="Write a first conformance.toml for the connector in a folder. It is started once, on a broker of"
        " its own; where it takes commands, each property is commanded the value that it has already.",
    )
    parser.add_argument("path", nargs="?", default=".", type=Path, help="the connector's folder (default: this one)")
    parser.add_argument("--command", help="the program and its arguments, where the folder does not tell")
    parser.add_argument("--peripheral", metavar="COMMAND", help="starts a simulated device, which listens on {port}")
    parser.add_argument("--overwrite", action="store_true", help="replace a conformance.toml that exists")
    given = parser.parse_args()
    try:
        init(given.path, command=given.command, peripheral=given.peripheral, overwrite=given.overwrite)
    except AdoptionError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
