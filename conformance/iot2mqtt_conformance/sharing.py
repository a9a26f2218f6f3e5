"""One playing for all xdist workers: the first plays and writes the transcript, the others read it."""

import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir

import pytest

from iot2mqtt_conformance.judging import Played
from iot2mqtt_conformance.transcript import load


def shared(config: pytest.Config, path: Path, play: Callable[[], Played]) -> Played:
    """Play, or under xdist read what another worker has played for the same declaration."""
    worker = getattr(config, "workerinput", None)
    if worker is None:
        return play()
    folder = Path(gettempdir()) / f"iot2mqtt-{worker['testrunuid']}"
    folder.mkdir(mode=0o700, exist_ok=True)
    name = str(path.resolve()).replace("/", "_")
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        transcript, facts = folder / f"{name}.ndjson", folder / f"{name}.json"
        if facts.exists():
            return Played(load(transcript), **json.loads(facts.read_text(encoding="utf-8")))
        played = play()
        transcript.write_text(played.transcript.dump(), encoding="utf-8")
        known = {"smoke": played.smoke, "durations": played.durations, "round_trip": played.round_trip}
        facts.write_text(json.dumps(known), encoding="utf-8")
        return played
