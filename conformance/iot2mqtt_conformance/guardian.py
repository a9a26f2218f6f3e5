"""Sees to it that nothing that the suite has started outlives it, however the suite ends: by SIGKILL, too.

A small program of its own holds the other end of a pipe. When the suite is gone, the pipe closes, and the guardian
kills every process that carries the suite's mark in its environment, with all that such processes have started. So
supervisors' children are found as well, in whatever process group or session they are, and whose child they are by
then; nothing needs to be told of them.
"""

import atexit
import os
import subprocess
import sys
from functools import cache
from secrets import token_hex

MARK = "CONFORMANCE_GUARDIAN"
"""The environment variable that marks what the suite has started."""
PROGRAM = "iot2mqtt_conformance.guardian_program"
CLEAN_WITHIN = 10.0
"""Seconds that the guardian may take at the end."""


class Guardian:
    """The guardian of this process."""

    def __init__(self) -> None:
        self.mark = f"{os.getpid()}-{token_hex(8)}"
        self._program: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        """Return the variable that puts a program under guard, once somebody is there who does it."""
        if self._program is None or self._program.poll() is not None:
            self._start()
        return {MARK: self.mark}

    def _start(self) -> None:
        # In a session of its own: Ctrl-C and signals to the suite's process group are not for it.
        self._program = subprocess.Popen(
            [sys.executable, "-P", "-m", PROGRAM, self.mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        atexit.register(_dismiss, self._program)


def _dismiss(program: subprocess.Popen[bytes]) -> None:
    """Close the pipe, and wait until the guardian has seen to what is left."""
    program.communicate(timeout=CLEAN_WITHIN)


@cache
def guardian() -> Guardian:
    """Return the guardian of this process."""
    return Guardian()
