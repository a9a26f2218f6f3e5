"""Mosquitto as it is installed on this machine."""

import os
import re
import shutil
import subprocess

from iot2mqtt_conformance.services.base import Broker

PLACES = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin", "/usr/local/opt/mosquitto/sbin")
CONFIG = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 10000
max_inflight_messages 100
set_tcp_nodelay true
log_dest stderr
log_type error
log_type warning
"""


def find() -> tuple[str, str] | None:
    """Return the path of the program and its version, or None where it is not installed."""
    path = shutil.which("mosquitto", path=os.pathsep.join([os.environ.get("PATH", ""), *PLACES]))
    if path is None:
        return None
    said = subprocess.run([path, "-h"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"version (\S+)", said)
    return path, version.group(1) if version else "of unknown version"


def mosquitto(path: str, version: str) -> Broker:
    """Return a Mosquitto that is not started yet."""
    # As root it would change to a user of its own, who may not read the folder.
    user = "user root\n" if os.geteuid() == 0 else ""
    return Broker(f"mosquitto {version}", [path, "-c", "{config}"], config=CONFIG + user)
