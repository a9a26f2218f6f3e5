"""A Mosquitto on this machine, bound to 127.0.0.1, that remembers nothing when it ends."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iot2mqtt_pipeline.servers.ports import free_port
from iot2mqtt_sdk.errors import ConfigurationError

PATIENCE = 15.0
"""Seconds for it to start, and again to end."""
_TICK = 0.02
_CONFIGURATION = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
set_tcp_nodelay true
max_queued_messages 0
max_inflight_messages 2000
"""


def program() -> str | None:
    """Return the path of Mosquitto, which Debian keeps away from the PATH of users."""
    folders = [os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"]
    return shutil.which("mosquitto", path=os.pathsep.join(folders))


@contextmanager
def running(path: str) -> Iterator[int]:
    """Run Mosquitto, and yield its port.

    Raises:
        ConfigurationError: It does not start; the message says what it said.
    """
    port = free_port()
    guard = shutil.which("setpriv")
    with tempfile.TemporaryDirectory(prefix="iot2mqtt-mosquitto-") as made:
        folder = Path(made)
        file, log = folder / "mosquitto.conf", folder / "mosquitto.log"
        file.write_text(_CONFIGURATION.format(port=port), encoding="utf-8")
        # Where the system can, it ends with whoever started it, even by SIGKILL.
        command = [*([guard, "--pdeathsig", "TERM"] if guard else []), path, "-c", str(file)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        try:
            _await(process, port, log)
            yield port
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(_TICK)
        else:
            return
    said = log.read_text(encoding="utf-8", errors="replace").strip()
    raise ConfigurationError(f"Mosquitto does not start on 127.0.0.1:{port}: {said}")
