"""The report as files: report.json with a versioned form, and the transcript."""

import json
from pathlib import Path
from typing import Any

from iot2mqtt_conformance.report.redact import redacted
from iot2mqtt_conformance.transcript import Record, Transcript

VERSION = 1


def write(folder: Path, name: str, report: dict[str, Any], transcript: Transcript) -> list[Path]:
    """Write the files of one connector into a folder and return their paths.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    masked = Transcript(
        (Record(r.i, r.t, r.run, r.kind, redacted(r.kind, r.data)) for r in transcript), wall=transcript.wall
    )
    files = {
        f"{name}.report.json": json.dumps({"version": VERSION, **report}, indent=2) + "\n",
        f"{name}.transcript.ndjson": masked.dump(),
    }
    for file, text in files.items():
        (folder / file).write_text(text, encoding="utf-8")
    return [folder / file for file in files]
