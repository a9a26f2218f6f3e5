"""Keepers: a light that is kept works only while a process of its own runs."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from threading import Thread

from devices import Device, RefusedError

SCRIPT = Path(__file__).with_name("keeper.sh")


class Keepers:
    """The processes that keep lights.

    Args:
        on_death: Told, in a thread of its own, of a light whose process has ended.
    """

    def __init__(self, on_death: Callable[[Device], object]) -> None:
        self._on_death = on_death
        self._kept: set[str] = set()

    def keep(self, device: Device) -> None:
        """Start the process of a light that needs one and has none.

        Raises:
            RefusedError: It cannot be started.
        """
        if not device.kept or device.device_id in self._kept:
            return
        try:
            process = subprocess.Popen(["/bin/sh", SCRIPT, device.device_id], stdin=subprocess.PIPE)
        except OSError as error:
            text = f"the keeper of {device.device_id} cannot be started: {error.strerror}"
            raise RefusedError("device_error", text, retriable=True) from None
        self._kept.add(device.device_id)
        Thread(target=self._watch, args=(device, process), daemon=True).start()

    def _watch(self, device: Device, process: "subprocess.Popen[bytes]") -> None:
        with process:
            process.wait()
        self._kept.discard(device.device_id)
        self._on_death(device)
