"""I2M-LIFE: life cycle."""

import signal
import socket
import subprocess
import sys
import time
from functools import partial
from typing import Any, ClassVar

import paho.mqtt.client as mqtt
from connector import Connector
from devices import Device
from session import LOG

from broken.registry import breaks

FAREWELL = ("I2M-STATUS-05",)
"""A process that is ended otherwise says no `offline`."""
NEVER_BACK = ("I2M-SUB-06", "I2M-STATE-06", "I2M-PUB-06", "I2M-LIFE-03", "I2M-LIFE-04")
"""These clauses tell what holds once it is back, or want it back as well."""

ENOUGH = 3
"""A lost connection and two attempts in vain."""


class _OtherCode(Connector):
    """Leaves in order, but after one of the signals with another code."""

    number: signal.Signals

    def on_signal(self, number: int, frame: object) -> None:
        """End with the code that a shell reports."""
        if number == self.number:
            self.inbox.put(partial(self.end, 128 + number))
        else:
            super().on_signal(number, frame)


class _Default(Connector):
    """Leaves one of the signals to the system."""

    number: signal.Signals

    def connect(self) -> None:
        """Take the handler away before anything else is done."""
        signal.signal(self.number, signal.SIG_DFL)
        super().connect()


class _Late(Connector):
    """Looks at one of the signals with its next poll only."""

    number: signal.Signals
    asked_to_end = False

    def on_signal(self, number: int, frame: object) -> None:
        """Note it."""
        if number == self.number:
            self.asked_to_end = True
        else:
            super().on_signal(number, frame)

    def poll(self) -> None:
        """Poll, and see whether the end is wanted."""
        super().poll()
        if self.asked_to_end:
            self.end(0)


@breaks("I2M-LIFE-01")
class EndsWith143(_OtherCode):
    """SIGTERM ends it in order, but with code 143."""

    number = signal.SIGTERM


@breaks("I2M-LIFE-01.default", company=FAREWELL)
class TerminatedBySystem(_Default):
    """SIGTERM is not handled."""

    number = signal.SIGTERM


@breaks("I2M-LIFE-01.late", company=FAREWELL)
class LateToTerminate(_Late):
    """SIGTERM is noticed with the next poll."""

    number = signal.SIGTERM


@breaks("I2M-LIFE-02")
class EndsWith130(_OtherCode):
    """SIGINT ends it in order, but with code 130."""

    number = signal.SIGINT


@breaks("I2M-LIFE-02.default", company=FAREWELL)
class InterruptedBySystem(_Default):
    """SIGINT is not handled."""

    number = signal.SIGINT


@breaks("I2M-LIFE-02.late", company=FAREWELL)
class LateToInterrupt(_Late):
    """SIGINT is noticed with the next poll."""

    number = signal.SIGINT


class _Counting(Connector):
    """Counts the lost connections and the attempts in vain since it was connected last."""

    failures = 0

    def subscribe(self) -> None:
        """It is connected."""
        self.failures = 0
        super().subscribe()

    def forget_online(self) -> None:
        """A connection is lost, or one was not accepted."""
        super().forget_online()
        self.failures += 1
        if self.failures == ENOUGH:
            self.lose_heart()

    def on_connect_fail(self, client: mqtt.Client, userdata: object) -> None:
        """Nobody answers."""
        super().on_connect_fail(client, userdata)
        self.failures += 1
        if self.failures == ENOUGH:
            self.lose_heart()

    def lose_heart(self) -> None:
        """Do what is wrong."""
        raise NotImplementedError


@breaks("I2M-LIFE-05", company=NEVER_BACK)
class GivesUp(_Counting):
    """It ends when the broker cannot be reached for the second time in a row."""

    def lose_heart(self) -> None:
        """End."""
        self.inbox.put(partial(self.end, 1))


@breaks("I2M-LIFE-05.patient", company=NEVER_BACK)
class WaitsTooLong(_Counting):
    """After two attempts in vain it waits for a minute."""

    def lose_heart(self) -> None:
        """Wait longer from now on."""
        self.client.reconnect_delay_set(60, 60)


@breaks("I2M-LIFE-05.silent", company=("I2M-STATE-06", "I2M-PUB-06"))
class SilentAfterwards(_Counting):
    """After a broker's restart it does not poll any more."""

    lost = False

    def lose_heart(self) -> None:
        """Note that the broker was away."""
        self.lost = True

    def polled(self) -> list[Device]:
        """Return nothing after that."""
        return [] if self.lost else super().polled()


@breaks("I2M-LIFE-07")
class KeepsCommands(Connector):
    """It keeps something of every command for ever."""

    kept: ClassVar[list[bytes]] = []

    def execute(self, device: Device, values: dict[str, Any]) -> dict[str, Any]:
        """Keep sixty thousand bytes: a busy machine has time for some hundred commands only."""
        self.kept.append(b"x" * 60_000)
        return super().execute(device, values)


@breaks("I2M-LIFE-07.child")
class ChildKeepsCommands(Connector):
    """A process that it has started keeps something of every command for ever."""

    def connect(self) -> None:
        """Start it: it ends with its standard input."""
        code = "import sys\nkept = [line * 600 for line in sys.stdin]"
        self.child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True)
        super().connect()

    def execute(self, device: Device, values: dict[str, Any]) -> dict[str, Any]:
        """Tell it."""
        if self.child.stdin is not None:
            print("x" * 100, file=self.child.stdin, flush=True)
        return super().execute(device, values)

    def end(self, code: int) -> None:
        """End it as well."""
        self.child.kill()
        super().end(code)


# They are older than what was said of the same device before.
@breaks("I2M-LIFE-08", company=("I2M-LIFE-11", "I2M-ENV-09", "I2M-STATE-05"))
class Ghosts(Connector):
    """It publishes the states of devices that have left, as the broker keeps them."""

    def clear_leftover(self, message: mqtt.MQTTMessage) -> None:
        """Publish it anew."""
        if message.retain:
            self.client.publish(message.topic, message.payload, qos=1, retain=True)


@breaks("I2M-LIFE-08.new")
class OldDevicesOnly(Connector):
    """Where the broker keeps states, it serves those devices that have one, and no new ones."""

    served: frozenset[str] | None = None

    def clear_leftover(self, message: mqtt.MQTTMessage) -> None:
        """Note which devices there were."""
        if message.retain:
            name = message.topic.removeprefix(f"{self.root}/").split("/")[1]
            self.served = (self.served or frozenset()) | {name}
        super().clear_leftover(message)

    def ready(self) -> None:
        """Leave some time for what the broker keeps."""
        super().ready()
        self.next_poll = time.monotonic() + 1

    def poll(self) -> None:
        """Poll once it is known which devices there were."""
        if time.monotonic() >= self.next_poll:
            super().poll()

    def polled(self) -> list[Device]:
        """Return the devices that there were before."""
        return [device for device in super().polled() if self.served is None or device.device_id in self.served]


@breaks("I2M-LIFE-09", company=("I2M-SUB-05", "I2M-ENV-01"))
class EverybodysCommands(Connector):
    """It carries out the commands of all instances."""

    def filters(self) -> list[tuple[str, int]]:
        """Subscribe to all of them."""
        return [*super().filters(), (f"{self.environment.base}/v1/instances/+/devices/+/cmd", 1)]

    def receive(self, message: mqtt.MQTTMessage) -> None:
        """Take a command as one of our own; twice the same counts once."""
        levels = message.topic.removeprefix(f"{self.environment.base}/v1/instances/").split("/")[1:]
        if levels[-1] == "cmd" and not message.retain:
            self.dispatch(levels, bytes(message.payload))
        else:
            super().receive(message)


@breaks("I2M-LIFE-09.alone")
class AloneBelowItsRoot(Connector):
    """It takes a lock that belongs to the base topic, and ends where another instance has it."""

    def connect(self) -> None:
        """Take the lock: a name that goes away with the process."""
        self.lock = socket.socket(socket.AF_UNIX)
        try:
            self.lock.bind(f"\0hostile-{self.environment.base}")
        except OSError:
            LOG.error("another instance is running: stop it")
            self.end(1)
            return
        super().connect()


@breaks("I2M-LIFE-09.client_id", company=("I2M-ENV-04",))
class OneClientId(Connector):
    """All instances below a base topic have one client id."""

    def client_id(self) -> str:
        """Leave the instance out."""
        return f"{self.environment.prefix}_{self.environment.base}"


@breaks("I2M-LIFE-11")
class LeavesLeftovers(Connector):
    """It never looks for what is left of devices that have gone."""

    def look_for_leftovers(self) -> None:
        """Do nothing."""


@breaks("I2M-LIFE-11.properties")
class LeavesProperties(Connector):
    """It clears the states of devices that have gone, but not their property topics."""

    def clear_leftover(self, message: mqtt.MQTTMessage) -> None:
        """Clear states."""
        if message.topic.endswith("/state"):
            super().clear_leftover(message)
