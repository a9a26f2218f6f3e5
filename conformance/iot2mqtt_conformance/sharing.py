"""One playing for all xdist workers: the first plays and writes the transcript, the others read it."""

import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir

from iot2mqtt_conformance.judging import Played
from iot2mqtt_conformance.transcript import load


def folder_of(test_run: str) -> Path:
    """Return the folder that the workers of one test run share."""
    return Path(gettempdir()) / f"iot2mqtt-{test_run}"


def shared(test_run: str, declaration: Path, play: Callable[[], Played]) -> Played:
    """Play, or read what another worker has played for the same declaration."""
    folder = folder_of(test_run)
    folder.mkdir(mode=0o700, exist_ok=True)
    with _file(folder, declaration, "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = read(test_run, declaration)
        if found is not None:
            return found
        played = play()
        _file(folder, declaration, "ndjson").write_text(played.transcript.dump(), encoding="utf-8")
        facts = {"smoke": played.smoke, "durations": played.durations, "round_trip": played.round_trip}
        _file(folder, declaration, "json").write_text(json.dumps(facts), encoding="utf-8")
        return played


def read(test_run: str, declaration: Path) -> Played | None:
    """Return what was played for a declaration, or None where nobody has yet."""
    folder = folder_of(test_run)
    facts = _file(folder, declaration, "json")
    if not facts.exists():
        return None
    return Played(load(_file(folder, declaration, "ndjson")), **json.loads(facts.read_text(encoding="utf-8")))


def _file(folder: Path, declaration: Path, ending: str) -> Path:
    return folder / f"{str(declaration.resolve()).replace('/', '_')}.{ending}"
