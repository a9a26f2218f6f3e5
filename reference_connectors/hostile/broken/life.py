"""I2M-LIFE: life cycle."""

import signal
from functools import partial

import paho.mqtt.client as mqtt
from connector import Connector
from devices import Device

from broken.registry import breaks

FAREWELL = ("I2M-STATUS-05",)
"""A process that is ended otherwise says no `offline`."""
NEVER_BACK = ("I2M-SUB-06",)
"""That clause tells what holds once it is back."""

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


@breaks("I2M-LIFE-05.silent")
class SilentAfterwards(_Counting):
    """After a broker's restart it does not poll any more."""

    lost = False

    def lose_heart(self) -> None:
        """Note that the broker was away."""
        self.lost = True

    def polled(self) -> list[Device]:
        """Return nothing after that."""
        return [] if self.lost else super().polled()
