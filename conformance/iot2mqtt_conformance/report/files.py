"""The report as files in one folder: a page, data, a badge and the transcript of each connector."""

import json
import re
import tempfile
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path

from iot2mqtt_conformance.report.badge import badge
from iot2mqtt_conformance.report.data import Judged, as_data
from iot2mqtt_conformance.report.page import page


def prepare(folder: Path) -> None:
    """Make the folder, and make sure that files can be written into it.

    Raises:
        OSError: They cannot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def names(connectors: Iterable[str]) -> list[str]:
    """Return what the files of each connector begin with: its name without what file names cannot have, once each."""
    found: list[str] = []
    for connector in connectors:
        stem = re.sub(r"[^\w.-]+", "_", connector).lstrip(".") or "connector"
        spellings = chain([stem], (f"{stem}-{number}" for number in count(2)))
        found.append(next(name for name in spellings if name not in found))
    return found


def write(folder: Path, name: str, judged: Judged) -> list[Path]:
    """Write the files of one connector into a folder and return their paths.

    Raises:
        OSError: The folder cannot be written.
    """
    files = {
        f"{name}.report.html": page(judged),
        f"{name}.report.json": json.dumps(as_data(judged), indent=2) + "\n",
        f"{name}.badge.svg": badge(judged),
        f"{name}.transcript.ndjson": judged.played.transcript.dump(),
    }
    for file, text in files.items():
        # A connector may send half a surrogate pair, which has no UTF-8.
        (folder / file).write_text(text, encoding="utf-8", errors="backslashreplace")
    return [folder / file for file in files]
