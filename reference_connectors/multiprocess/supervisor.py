"""Starts the processes of this connector, starts again what ends, and stops all in order: PID 1 of the container.

It ends with code 0 where it is told to, and with code 2 where a process does: its configuration is at fault.
"""

import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

CHILDREN = ("bridge", "poller", "listener")
"""In the order in which they are stopped: the bridge first, so that it says `offline` while all is well."""
WRONG_CONFIGURATION = 2
SHORTEST, LONGEST, STEADY = 0.5, 30.0, 10.0
"""Seconds until a process is started again: doubled each time, up to the longest, and anew after a steady run."""
GRACE = 3.0  # seconds that a process may take to stop, before it is killed

_log = logging.getLogger("supervisor")


class Child:
    """One of the processes, whether it runs or not."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self.began, self.due, self.delay = 0.0, 0.0, SHORTEST

    def start(self) -> None:
        """Start it. It ends where its standard input does, so that it does not outlive this process."""
        program = Path(__file__).with_name(f"{self.name}.py")
        self.process = subprocess.Popen([sys.executable, program], stdin=subprocess.PIPE)
        self.began = time.monotonic()
        _log.info("%s runs as process %d", self.name, self.process.pid)

    def bury(self, code: int) -> dict[str, str | float]:
        """Decide when it is started again; return the line that tells the bridge."""
        delay = SHORTEST if time.monotonic() - self.began > STEADY else self.delay
        self.due, self.delay, self.process = time.monotonic() + delay, min(2 * delay, LONGEST), None
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        _log.error("%s %s, and is started again in %.1f s", self.name, how, delay)
        return {"died": self.name, "how": how, "again_in": delay}

    def stop(self) -> None:
        """Stop it, and wait for its end."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(GRACE)
            except subprocess.TimeoutExpired:
                _log.warning("%s does not stop, and is killed", self.name)
                self.process.kill()
                self.process.wait()


def reap() -> dict[int, int]:
    """Return the exit codes of what has ended, by process id: also of what others have left to PID 1."""
    ended = {}
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended[found[0]] = os.waitstatus_to_exitcode(found[1])
    return ended


def supervise(children: list[Child], path: str, alarm: int) -> int:
    """Keep all of them running until a signal says stop; return the exit code."""
    signals: set[int] = set()
    while not signals & {signal.SIGTERM, signal.SIGINT}:
        ended = reap()
        for child in children:
            if child.process is not None and (code := ended.get(child.process.pid)) is not None:
                child.process.returncode = code
                if code == WRONG_CONFIGURATION:
                    return code
                death = json.dumps(child.bury(code)).encode()
                # Where the bridge itself is away, its last will has told of it.
                with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
                    connection.settimeout(1)
                    connection.connect(path)
                    connection.sendall(death + b"\n")
            if child.process is None and child.due <= time.monotonic():
                child.start()
        waiting = [child.due - time.monotonic() for child in children if child.process is None]
        select.select([alarm], [], [], max(0.0, min(waiting)) if waiting else None)
        with suppress(BlockingIOError):
            signals.update(os.read(alarm, 100))
    return 0


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    level = logging.getLevelNamesMapping().get(os.environ.get("LOG_LEVEL", "").upper(), logging.INFO)
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Every signal writes a byte, its number, into a pipe: there is one place to wait, and none to miss one.
    alarm, write = os.pipe()
    for end in (alarm, write):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(write)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    children = [Child(name) for name in CHILDREN]
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # a long TMPDIR is too long for a socket
        path = os.environ["BRIDGE_SOCKET"] = str(Path(folder, "bridge.sock"))
        try:
            return supervise(children, path, alarm)
        finally:
            for child in children:
                child.stop()


if __name__ == "__main__":
    sys.exit(main())
