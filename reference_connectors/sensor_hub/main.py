"""Starts the sensor hub: reads its configuration, hands each process its share of it, and is supervisord from then on.

The process stays the one that was started: it gets SIGTERM itself, stops the bridge first, which says `offline`, then
the others, and ends with 0. It ends with 1 where supervisord has given a process up, and with 2 where the configuration
is at fault.
"""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from plan import make_plan
from supervisor import events
from supervisor.medusa.asyncore_25 import ExitNow
from supervisor.options import ServerOptions
from supervisor.states import SupervisorStates
from supervisor.supervisord import Supervisor

from iot2mqtt_sdk import ConfigurationError

FOLDER = Path(__file__).parent
WIDEST = len("state-aggregator")


class Wake:
    """Wakes supervisord at each signal, which it would otherwise notice only at its next look, up to a second later.

    It is asked like any other of supervisord's dispatchers.
    """

    def __init__(self) -> None:
        self.fd, ring = os.pipe()
        for end in (self.fd, ring):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
        os.write(ring, b"!")  # the first look is due at once

    def readable(self) -> bool:
        """Whether to wait for something to read."""
        return True

    def writable(self) -> bool:
        """Whether to wait until something can be written."""
        return False

    def handle_read_event(self) -> None:
        """Take what has woken us; supervisord sees for itself what there is to do."""
        os.read(self.fd, 1000)

    def handle_error(self) -> None:
        """Go on: who reads nothing has been woken all the same."""


class Hub(Supervisor):  # type: ignore[misc] # supervisor has no types
    """A supervisord that puts the process's name before each line, and gives up when it can start a process no more."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.exit_code = 0
        self._unended: dict[str, bytes] = {}

    def run(self) -> None:
        """Run until a signal comes."""
        for handler in self.options.logger.handlers:
            handler.setFormat(f"{'supervisord':{WIDEST}} | %(asctime)s %(levelname)s %(message)s\n")
        super().run()

    def runforever(self) -> None:
        """Start the processes, and keep them running."""
        events.subscribe(events.ProcessLogEvent, self._pass_on)
        events.subscribe(events.ProcessStateFatalEvent, self._give_up)
        wake = Wake()
        self.options.get_socket_map()[wake.fd] = wake
        super().runforever()

    def _pass_on(self, event: Any) -> None:
        name = event.process.config.name
        *lines, self._unended[name] = (self._unended.get(name, b"") + event.data).split(b"\n")
        for line in lines:
            print(f"{name:{WIDEST}} | {line.decode('utf-8', 'replace')}", file=sys.stderr, flush=True)

    def _give_up(self, event: Any) -> None:
        """End: whoever has started the hub, Docker for instance, may start all of it anew."""
        self.options.logger.critical(
            "the hub ends, as it cannot start this process: %(name)s", name=event.process.config.name
        )
        self.exit_code = 1
        self.options.mood = SupervisorStates.SHUTDOWN


def supervise() -> int:
    """Be supervisord, and return the exit code."""
    options = ServerOptions()
    options.realize(["-c", str(FOLDER / "supervisord.conf")])
    options.first, options.test = True, False
    hub = Hub(options)
    with suppress(ExitNow):
        hub.main()
    return hub.exit_code


def main() -> int:
    """Start the hub, and return the exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # Until supervisord takes them over, a signal just ends this, and the run folder is removed.
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        plan = make_plan()
    except ConfigurationError as error:
        print(f"{'main':{WIDEST}} | ERROR {error}", file=sys.stderr)
        return 2
    with TemporaryDirectory(prefix="sensor-hub-") as folder:
        os.environ.update(plan.environment, HUB_RUN=folder, HUB_PYTHON=sys.executable)
        plan.write(Path(folder))
        return supervise()


if __name__ == "__main__":
    sys.exit(main())
