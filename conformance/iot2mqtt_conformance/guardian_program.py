"""The guardian: waits for the end of the suite, and kills what carries its mark."""

import sys
import time
from contextlib import suppress

import psutil

from iot2mqtt_conformance.guardian import MARK

GIVE_UP_AFTER = 5.0
"""Seconds for which a process may withstand SIGKILL, such as in the middle of a call to a broken disk."""
PAUSE = 0.05
"""Seconds between two looks."""


def marked(mark: str) -> list[psutil.Process]:
    """Return the processes that carry a mark, and their descendants; not those that only wait to be buried."""
    found = set()
    for process in psutil.process_iter():
        # A process may end meanwhile, and one of another user shows nobody its environment.
        with suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                found |= {process, *process.children(recursive=True)}
    return [process for process in found if _lives(process)]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill(mark: str) -> None:
    """Kill what carries a mark, again and again: it may have started something in the meantime."""
    limit = time.monotonic() + GIVE_UP_AFTER
    while (found := marked(mark)) and time.monotonic() < limit:
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(found, timeout=PAUSE)


def main() -> None:
    """Wait until the pipe on stdin closes: whoever held its other end is gone."""
    sys.stdin.read()
    kill(sys.argv[1])


if __name__ == "__main__":
    main()
