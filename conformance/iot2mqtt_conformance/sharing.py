"""One playing for all xdist workers: the first plays and writes the transcript, the others read it.

Where it cannot be played, they read why.
"""

import fcntl
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir

from iot2mqtt_conformance.fault import FaultError
from iot2mqtt_conformance.transcript import Transcript, load


def folder_of(test_run: str) -> Path:
    """Return the folder that the workers of one test run share."""
    return Path(gettempdir()) / f"iot2mqtt-{test_run}"


def shared(test_run: str, declaration: Path, play: Callable[[], Transcript]) -> Transcript:
    """Play, or read what another worker has played for the same declaration.

    Raises:
        FaultError: It cannot be played, as this worker or another one has found.
    """
    folder = folder_of(test_run)
    folder.mkdir(mode=0o700, exist_ok=True)
    with _file(folder, declaration, "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = read(test_run, declaration)
        if found is not None:
            return found
        fault = _file(folder, declaration, "fault")
        if fault.exists():
            raise FaultError(fault.read_text(encoding="utf-8"))
        try:
            transcript = play()
        except FaultError as error:
            fault.write_text(str(error), encoding="utf-8")
            raise
        part = _file(folder, declaration, "part")
        part.write_text(transcript.dump(), encoding="utf-8")
        part.replace(_file(folder, declaration, "ndjson"))
        return transcript


def read(test_run: str, declaration: Path) -> Transcript | None:
    """Return what was played for a declaration, or None where nobody has yet."""
    file = _file(folder_of(test_run), declaration, "ndjson")
    return load(file) if file.exists() else None


def _file(folder: Path, declaration: Path, ending: str) -> Path:
    return folder / f"{str(declaration.resolve()).replace('/', '_')}.{ending}"
