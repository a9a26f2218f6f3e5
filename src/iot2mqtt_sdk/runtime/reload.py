"""Development mode: the connector starts anew when its code changes (MODE=development).

The process is replaced, so that no old code lives on; the instance, and with it the MQTT client id, stays the same.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

_log = logging.getLogger("iot2mqtt")

EVERY = 0.5
"""Seconds between two looks at the files."""


def watch(stop: Callable[[], None]) -> None:
    """Watch the Python files beside the program, in the background.

    Args:
        stop: Stops the connector, before its process is replaced.
    """
    folder = Path(sys.argv[0]).resolve().parent
    _log.info("development mode: the connector starts anew when a Python file in %s changes", folder)
    threading.Thread(target=_watch, args=(folder, stop), name="iot2mqtt-reload", daemon=True).start()


def _watch(folder: Path, stop: Callable[[], None]) -> None:
    pause = threading.Event()
    seen = stamps(folder)
    while not pause.wait(EVERY):
        found = stamps(folder)
        changed = sorted(str(file.relative_to(folder)) for file, _ in found.items() ^ seen.items())
        seen = found
        if changed and _compiles(found):
            _log.info("%s changed: starting anew", changed[0])
            stop()
            os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - this very command


def stamps(folder: Path) -> dict[Path, int]:
    """Return the time of change of each Python file below a folder."""
    found = {}
    for file in folder.rglob("*.py"):
        try:
            found[file] = file.stat().st_mtime_ns
        except OSError:
            continue  # it was removed in between, which is a change as well
    return found


def _compiles(files: dict[Path, int]) -> bool:
    """Whether the code can be run at all; the old code serves on where it cannot."""
    for file in files:
        try:
            compile(file.read_bytes(), str(file), "exec")
        except (SyntaxError, ValueError, OSError) as error:
            _log.error("%s is not taken over: %s", file, error)
            return False
    return True
