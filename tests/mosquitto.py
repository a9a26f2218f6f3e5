"""A real Mosquitto on a free loopback port."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from iot2mqtt_conformance.ports import free_port
from tests.waiting import DEADLINE, wait_until


class Mosquitto:
    """A Mosquitto that may be stopped and started again on its port.

    Args:
        folder: For its configuration and what it keeps.
        lines: Further lines of its configuration.
        listener: A line for its listener.
    """

    def __init__(self, folder: Path, *lines: str, listener: str = "allow_anonymous true") -> None:
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "mosquitto.conf"
        # Without the limit on its queues it would drop what a busy subscriber has not taken yet.
        common = ["user root", "set_tcp_nodelay true", "max_queued_messages 0"]
        common += [*lines, f"listener {self.port} 127.0.0.1", listener]
        self._file.write_text("\n".join(common) + "\n", encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["/usr/sbin/mosquitto", "-c", str(self._file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._listens)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(DEADLINE)
            self._process = None

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "mosquitto ended"
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


_Broker = TypeVar("_Broker", bound=Mosquitto)


@contextmanager
def running(broker: _Broker) -> Iterator[_Broker]:
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()
