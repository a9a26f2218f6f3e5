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
SKIPPED = {"__pycache__", "node_modules", "site-packages"}
"""Folders that hold no code of the connector's; nor do hidden ones."""


class Reloader:
    """Watches the Python files beside the program, in the background.

    Args:
        stop: Tells the connector to stop; the process is replaced once it has.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self.changed = False
        self._stop = stop
        self._folder = Path(sys.argv[0]).resolve().parent

    def start(self) -> None:
        """Begin to watch."""
        _log.info("development mode: the connector starts anew when a Python file in %s changes", self._folder)
        seen = stamps(self._folder)
        threading.Thread(target=self._watch, args=(seen,), name="iot2mqtt-reload", daemon=True).start()

    def restart(self) -> None:
        """Replace this process by one of the same command."""
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - this very command

    def _watch(self, seen: dict[Path, int]) -> None:
        pause = threading.Event()
        while not pause.wait(EVERY):
            found = stamps(self._folder)
            changed = sorted(str(file.relative_to(self._folder)) for file, _ in found.items() ^ seen.items())
            seen = found
            if changed and _compiles(found):
                _log.info("%s changed: starting anew", changed[0])
                self.changed = True
                self._stop()
                return


def stamps(folder: Path) -> dict[Path, int]:
    """Return the time of change of each Python file below a folder."""
    found: dict[Path, int] = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in SKIPPED and not name.startswith(".")]
        for name in names:
            file = Path(place, name)
            try:
                found |= {file: file.stat().st_mtime_ns} if file.suffix == ".py" else {}
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
