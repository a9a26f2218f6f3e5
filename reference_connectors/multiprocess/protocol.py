"""What the processes of this connector say to each other: lines of JSON over a Unix socket at which the bridge listens.

    worker → bridge   {"hello": "poller"}                            the first line of a worker
    bridge → worker   {"configure": {"connection": …, "devices": …}} the answer; devices by id, those of this worker
    bridge → worker   {"id": 7, "get": "pump1"}
    bridge → worker   {"id": 8, "set": "pump1", "values": {"speed": 40}}
    worker → bridge   {"id": 7, "ok": {"running": true, "speed": 40}}
    worker → bridge   {"id": 8, "error": "pump1 does not answer"}
    worker → bridge   {"state": "gate1", "values": {"open": true}}   unasked
    worker → bridge   {"event": "gate1", "name": "opened"}           unasked
    worker → bridge   {"failure": "gate1", "error": "the controller hung up"}   unasked
    supervisor → bridge   {"died": "poller", "how": "was killed by SIGKILL", "again_in": 0.5}

The bridge fails what it has asked when the connection ends; a worker connects again until it is stopped.
"""

import json
import os
import signal
import threading
from typing import Any

LONGEST = 1 << 20
"""Bytes of a line, at the most."""


class ProtocolError(Exception):
    """What came is no line of this protocol."""


def encode(**line: Any) -> bytes:
    """Return a line as it is sent."""
    return json.dumps(line).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Return what a line says.

    Raises:
        ProtocolError: It is not whole, or not a JSON object.
    """
    if not line.endswith(b"\n"):
        raise ProtocolError("a line is cut off, or too long")
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a line is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ProtocolError("a line is no JSON object")
    return document


def end_with_supervisor() -> None:
    """Have this process stopped when its standard input ends, which is when the supervisor has died."""

    def wait() -> None:
        # Past sys.stdin, whose lock this thread would still hold when the interpreter ends.
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
