"""What keeps a process of the hub from outliving supervisord."""

import os
import signal
import sys
import threading


def end_with_supervisord() -> None:
    """End like on SIGTERM when supervisord is no more: then nobody holds the other end of stdin."""
    if "SUPERVISOR_ENABLED" in os.environ:
        threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    while os.read(sys.stdin.fileno(), 1000):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
