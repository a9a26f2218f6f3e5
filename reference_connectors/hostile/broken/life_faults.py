"""I2M-LIFE: brokers that are away or refuse, and the faults of networks."""

import time
from functools import partial
from typing import Any

import paho.mqtt.client as mqtt
from connector import Connector
from devices import Device
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from session import LOG

from broken.registry import breaks

KEPT_SESSION = ("I2M-STATUS-04", "I2M-STATUS-09", "I2M-SUB-06", "I2M-PUB-06", "I2M-LIFE-06")
"""Nothing says that it is back."""


@breaks("I2M-LIFE-03")
class FailsWithoutBroker(Connector):
    """It ends with a traceback where no broker answers at the start."""

    def connect(self) -> None:
        """Connect before anything else."""
        self.client.connect(self.environment.host, self.environment.port, self.keepalive())
        self.client.loop_start()


@breaks("I2M-LIFE-03.patient")
class SleepsAtTheStart(Connector):
    """Where no broker answers at the start, it looks again after a minute."""

    def on_connect_fail(self, client: mqtt.Client, userdata: object) -> None:
        """Wait longer from now on."""
        super().on_connect_fail(client, userdata)
        client.reconnect_delay_set(60, 60)


@breaks("I2M-LIFE-03.code")
class GivesUpAtTheStart(Connector):
    """Where no broker answers at the start, it ends in order."""

    def on_connect_fail(self, client: mqtt.Client, userdata: object) -> None:
        """End."""
        super().on_connect_fail(client, userdata)
        self.inbox.put(partial(self.end, 1))


@breaks("I2M-LIFE-04")
class HammersTheBroker(Connector):
    """It tries refused credentials again at once."""

    def refused_by_broker(self, reason: ReasonCode) -> None:
        """Wait a tenth of a second."""
        super().refused_by_broker(reason)
        self.client.reconnect_delay_set(0.1, 0.1)  # type: ignore[arg-type]


@breaks("I2M-LIFE-04.silent")
class SilentRefusal(Connector):
    """It does not say why the broker does not let it in."""

    @classmethod
    def log_from(cls, level: str) -> None:
        """Leave out what has to do with connections."""
        super().log_from(level)
        LOG.addFilter(lambda record: "connection" not in record.getMessage())


@breaks("I2M-LIFE-04.for_ever")
class TakesNoForAnAnswer(Connector):
    """Refused once, it never tries again, and goes on running."""

    def refused_by_broker(self, reason: ReasonCode) -> None:
        """Try no more."""
        super().refused_by_broker(reason)
        self.client.reconnect_delay_set(3600, 3600)


# A call that comes through to a broker that is away, or to one on a busy machine, is answered late or never, too.
@breaks("I2M-LIFE-06", company=("I2M-STATUS-04", "I2M-SUB-06", "I2M-PUB-06", "I2M-STATE-06", "I2M-LIFE-05"))
class Impatient(Connector):
    """It ends where CONNACK takes longer than a second and a half after a lost connection."""

    sockets = 0

    def connect(self) -> None:
        """Watch every connection."""
        self.client.on_socket_open = self.on_socket_open
        super().connect()

    def on_socket_open(self, _client: mqtt.Client, _userdata: object, _socket: object) -> None:
        """Look again after that time."""
        self.sockets += 1
        if self.sockets > 1:
            self.later(1.5, self.look)

    def look(self) -> None:
        """End unless the broker has answered."""
        if self.disconnected.is_set():
            self.end(1)


@breaks("I2M-LIFE-06.twice", company=("I2M-CMD-12",))
class ExecutesTwice(Connector):
    """Its session outlives the connection, and what the broker then delivers again is executed again."""

    clean_session = False

    def is_repeated(self, target: str, command_id: str) -> bool:
        """Take every command for a new one."""
        del target, command_id
        return False


@breaks("I2M-LIFE-06.polling", company=("I2M-PUB-06", "I2M-STATE-06", "I2M-LIFE-05"))
class PollsOnceMore(Connector):
    """After a lost connection it polls once, and then no more."""

    lost = False
    polls = 0

    def forget_online(self) -> None:
        """A connection is lost."""
        super().forget_online()
        self.lost = True

    def poll(self) -> None:
        """Poll, and count after that."""
        super().poll()
        self.polls += self.lost and self.online

    def polled(self) -> list[Device]:
        """Return nothing after the first."""
        return [] if self.polls else super().polled()


@breaks("I2M-LIFE-06.deaf", company=("I2M-SUB-06", "I2M-LIFE-05"))
class DeafAfterTwoConnections(Connector):
    """After a lost connection it carries out no commands."""

    lost = False

    def forget_online(self) -> None:
        """A connection is lost."""
        super().forget_online()
        self.lost = True

    def dispatch(self, levels: list[str], payload: bytes) -> None:
        """Drop commands after that."""
        if not self.lost or levels[-1] != "cmd":
            super().dispatch(levels, payload)


@breaks("I2M-LIFE-06.unacknowledged", company=("I2M-STATUS-09",))
class NoPatienceWithAcknowledgements(Connector):
    """It ends where the broker has not acknowledged a message for a second."""

    pending: mqtt.MQTTMessageInfo | None = None
    since = 0.0

    def publish(self, suffix: str, value: Any, *, qos: int = 1, retain: bool = False) -> None:
        """Publish, unless an earlier message has waited for too long."""
        info = self.client.publish(self.topic(suffix), self.encode(value), qos=qos, retain=retain)
        if not self.online or self.pending is None or self.pending.is_published():
            self.pending, self.since = info, time.monotonic()
        elif time.monotonic() - self.since > 1:
            self.end(1)

    def forget_online(self) -> None:
        """A connection is lost, and what was waiting is sent again with the next one."""
        super().forget_online()
        self.pending = None


@breaks("I2M-LIFE-05.kept", company=KEPT_SESSION)
class AsIfNothingHadHappened(Connector):
    """Where the broker has kept its session, it takes nothing to be amiss, and says nothing."""

    clean_session = False

    def on_connect(
        self,
        client: mqtt.Client,
        userdata: object,
        flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        """Begin anew only without a session."""
        if flags.session_present and self.said_online is not None:
            self.disconnected.clear()
            self.online = True
            return
        super().on_connect(client, userdata, flags, reason, properties)


@breaks("I2M-LIFE-10")
class DiesInSilence(Connector):
    """A process that has died is started again with the next poll, and nobody is told."""

    def bereave(self, device: Device) -> None:
        """Tell nothing."""


@breaks("I2M-LIFE-10.gone")
class NoOtherKeeper(Connector):
    """A process that has died is reported, and not started again."""

    def bereave(self, device: Device) -> None:
        """Tell it, and let the light not answer from now on."""
        device.failing = True
        super().bereave(device)


@breaks("I2M-LIFE-10.exits")
class DiesAlong(Connector):
    """When one process dies, the whole connector ends."""

    def bereave(self, device: Device) -> None:
        """Tell it, and end."""
        super().bereave(device)
        self.end(1)


@breaks("I2M-LIFE-10.others")
class ForgetsTheOthers(Connector):
    """When one process has died and was started again, questions about devices are not answered any more."""

    bereaved = False

    def bereave(self, device: Device) -> None:
        """Tell it."""
        super().bereave(device)
        self.bereaved = True

    def get(self, name: str, payload: bytes) -> None:
        """Answer until then."""
        if not self.bereaved:
            super().get(name, payload)

    def polled(self) -> list[Device]:
        """Return, after that, only those that are not well."""
        return [device for device in super().polled() if not (self.bereaved and device.online)]
