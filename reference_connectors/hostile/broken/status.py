"""I2M-STATUS: status and last will."""

import signal
import time
from functools import partial
from typing import Any

import paho.mqtt.client as mqtt
from connector import Connector
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from broken.registry import breaks

KILLED = ("I2M-STATUS-06",)
"""Without the right last will nobody says `offline` for a process that was killed."""
NEVER_BACK = ("I2M-SUB-06", "I2M-LIFE-05", "I2M-STATE-06", "I2M-LIFE-06", "I2M-STATUS-09", "I2M-PUB-06")
"""These clauses tell what holds once `online` is there again."""
INITIALISING = 0.3
"""Seconds that a slow start takes."""


class _OtherWill(Connector):
    """Changes a field of the last will."""

    changed: dict[str, Any]

    def will(self) -> dict[str, Any] | None:
        """Return the will with that change."""
        return {**(super().will() or {}), **self.changed}


@breaks("I2M-STATUS-01", company=KILLED)
class NoWill(Connector):
    """There is no last will."""

    def will(self) -> dict[str, Any] | None:
        """Return none."""
        return None


@breaks("I2M-STATUS-01.qos")
class WillAtQos0(_OtherWill):
    """The last will has QoS 0."""

    changed = {"qos": 0}  # noqa: RUF012 - read only


@breaks("I2M-STATUS-01.retain", company=KILLED)
class WillNotRetained(_OtherWill):
    """The last will is not retained."""

    changed = {"retain": False}  # noqa: RUF012 - read only


@breaks("I2M-STATUS-01.payload", company=KILLED)
class WillInCapitals(_OtherWill):
    """The last will says OFFLINE."""

    changed = {"payload": "OFFLINE"}  # noqa: RUF012 - read only


@breaks("I2M-STATUS-01.topic", company=KILLED)
class WillElsewhere(_OtherWill):
    """The last will goes to a topic beside the status."""

    def will(self) -> dict[str, Any] | None:
        """Return one for another topic."""
        self.changed = {"topic": self.topic("availability")}
        return super().will()


@breaks("I2M-STATUS-02")
class OnlineAtQos0(Connector):
    """`online` has QoS 0."""

    def announce(self) -> None:
        """Publish it so."""
        self.say_online(qos=0, retain=True)


@breaks("I2M-STATUS-02.qos2")
class OnlineAtQos2(Connector):
    """`online` has QoS 2."""

    def announce(self) -> None:
        """Publish it so."""
        self.say_online(qos=2, retain=True)


@breaks("I2M-STATUS-02.retain", company=("I2M-STATUS-04",))
class OnlineNotRetained(Connector):
    """`online` is not retained, so the will's `offline` stays after a reconnection."""

    def announce(self) -> None:
        """Publish it so."""
        self.say_online(qos=1, retain=False)


# What is sent at once may come before the subscription: these clauses then miss an answer.
@breaks("I2M-STATUS-03", company=("I2M-SUB-06", "I2M-LIFE-05", "I2M-LIFE-06", "I2M-CMD-08"))
class OnlineBeforeSubscribing(Connector):
    """It says `online` and then subscribes."""

    def subscribe(self) -> None:
        """Do it in the wrong order."""
        super().announce()
        super().subscribe()

    def announce(self) -> None:
        """Say nothing: it has been said."""


@breaks("I2M-STATUS-03.unacknowledged")
class OnlineBeforeTheAcknowledgement(Connector):
    """It subscribes and says `online` without waiting for the SUBACK."""

    def subscribe(self) -> None:
        """Do both in one go."""
        super().subscribe()
        super().announce()

    def announce(self) -> None:
        """Say nothing: it has been said."""


@breaks("I2M-STATUS-03.first")
class OnlineAfterTheFirst(Connector):
    """It says `online` once the first of its subscriptions is acknowledged."""

    def subscribe(self) -> None:
        """Ask for the first alone."""
        self.client.subscribe(self.filters()[:1])

    def ready(self) -> None:
        """Ask for the others afterwards."""
        if not self.online:
            super().ready()
            self.client.subscribe(self.filters()[1:])


@breaks("I2M-STATUS-03.deaf")
class OnlineBeforeInitialised(Connector):
    """It says `online` while it is being initialised, and drops the commands of that time."""

    initialised = False

    def ready(self) -> None:
        """Initialise after `online`."""
        self.inbox.put(self.initialise)
        super().ready()

    def initialise(self) -> None:
        """Take a while."""
        if not self.initialised:
            time.sleep(INITIALISING)
        self.initialised = True

    def on_message(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        """Drop an early command."""
        if self.initialised or not message.topic.endswith("/cmd"):
            super().on_message(client, userdata, message)


@breaks("I2M-STATUS-04", company=NEVER_BACK)
class OnlineOnce(Connector):
    """`online` is published at the start, and never again."""

    announced = False

    def announce(self) -> None:
        """Publish it the first time."""
        if not self.announced:
            super().announce()
        self.announced = True


@breaks("I2M-STATUS-04.retain", company=("I2M-STATUS-02",))
class OnlineAgainNotRetained(Connector):
    """`online` is retained the first time only."""

    announced = False

    def announce(self) -> None:
        """Publish it without the flag after a reconnection."""
        self.say_online(qos=1, retain=not self.announced)
        self.announced = True


@breaks("I2M-STATUS-05")
class LeavesSilently(Connector):
    """It leaves without `offline`; after DISCONNECT the broker does not say it either."""

    def say_offline(self) -> None:
        """Say nothing."""


@breaks("I2M-STATUS-05.dropped")
class DropsTheConnection(Connector):
    """It says `offline` and drops the connection without DISCONNECT."""

    def hang_up(self) -> None:
        """Do nothing: the end of the process closes the socket."""


@breaks("I2M-STATUS-05.hasty")
class LeavesHastily(Connector):
    """It disconnects without waiting for the acknowledgement of `offline`."""

    def say_offline(self) -> None:
        """Publish it and wait for nothing."""
        self.client.publish(self.topic("status"), "offline", qos=1, retain=True)


@breaks("I2M-STATUS-05.qos")
class OfflineAtQos0(Connector):
    """It says `offline` at QoS 0."""

    def say_offline(self) -> None:
        """Publish it so."""
        self.client.publish(self.topic("status"), "offline", qos=0, retain=True).wait_for_publish(3)


@breaks("I2M-STATUS-05.retain")
class OfflineNotRetained(Connector):
    """It says `offline`, but the broker keeps `online`."""

    def say_offline(self) -> None:
        """Publish it without the flag."""
        self.client.publish(self.topic("status"), "offline", qos=1, retain=False).wait_for_publish(3)


@breaks("I2M-STATUS-05.sigint")
class SilentOnInterrupt(Connector):
    """It says `offline` on SIGTERM, but not on SIGINT."""

    interrupted = False

    def on_signal(self, number: int, frame: object) -> None:
        """Note which one it is."""
        self.interrupted = number == signal.SIGINT
        super().on_signal(number, frame)

    def say_offline(self) -> None:
        """Say it on SIGTERM."""
        if not self.interrupted:
            super().say_offline()


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]


@breaks("I2M-STATUS-06")
class DelayedWill(Connector):
    """The last will is as it should be, but the broker of MQTT 5 is told to wait a minute before it publishes it."""

    def new_client(self) -> mqtt.Client:
        """Return a client of MQTT 5 whose will is delayed."""
        self.will_delay = _properties(PacketTypes.WILLMESSAGE)
        self.will_delay.WillDelayInterval = 60
        return super().new_client()

    def blank_client(self) -> mqtt.Client:
        """Speak MQTT 5."""
        return mqtt.Client(CallbackAPIVersion.VERSION2, client_id=self.client_id(), protocol=mqtt.MQTTv5)

    def will(self) -> dict[str, Any] | None:
        """Return the will with its delay."""
        return {**(super().will() or {}), "properties": self.will_delay}

    def connect(self) -> None:
        """Let the session outlive the connection, because the will is published when it ends at the latest."""
        kept = _properties(PacketTypes.CONNECT)
        kept.SessionExpiryInterval = 60
        self.client.connect_async(
            self.environment.host, self.environment.port, self.keepalive(), clean_start=True, properties=kept
        )
        self.client.loop_start()

    def ask_for(self, filters: list[tuple[str, int]]) -> int | None:
        """Subscribe as MQTT 5 does it."""
        return self.client.subscribe([(topic, SubscribeOptions(qos)) for topic, qos in filters])[1]


class _ThirdWord(Connector):
    """Knows a third word for its status."""

    def say(self, word: str) -> None:
        """Publish it as status."""
        self.client.publish(self.topic("status"), word, qos=1, retain=True)


@breaks("I2M-STATUS-07")
class SaysStarting(_ThirdWord):
    """Its status is `starting` before it is `online`."""

    def announce(self) -> None:
        """Say that first."""
        self.say("starting")
        super().announce()


@breaks("I2M-STATUS-07.json")
class SaysJson(_ThirdWord):
    """Its status is a JSON object before it is `online`."""

    def announce(self) -> None:
        """Say that first."""
        self.say(self.encode({"status": "online"}))
        super().announce()


@breaks("I2M-STATUS-07.stopping")
class SaysStopping(_ThirdWord):
    """Its status is `stopping` before it is `offline`."""

    def say_offline(self) -> None:
        """Say that first."""
        self.say("stopping")
        super().say_offline()


@breaks("I2M-STATUS-08")
class OnlineWithoutLights(Connector):
    """It is `online` although the lights stay shut."""

    def lights_open(self) -> bool:
        """Take it for granted."""
        return True


@breaks("I2M-STATUS-08.too_early")
class LeavesOnline(Connector):
    """It says `online`, finds the lights shut, and leaves without `offline`."""

    def lights_open(self) -> bool:
        """Say `online` all the same."""
        opened = super().lights_open()
        if not opened:
            self.announce()
        return opened

    def fail(self) -> None:
        """Leave in silence."""
        self.client.disconnect()
        super().fail()


@breaks("I2M-STATUS-08.code")
class FailsWithCode0(Connector):
    """It ends with code 0 where the lights stay shut."""

    def fail(self) -> None:
        """End as if all were well."""
        self.inbox.put(partial(self.end, 0))


@breaks("I2M-STATUS-08.silent")
class FailsSilently(Connector):
    """Where the lights stay shut it does nothing more, and says nothing."""

    def fail(self) -> None:
        """Do nothing."""


@breaks("I2M-STATUS-09")
class NeverPings(Connector):
    """It announces a keep-alive, but neither sends PINGREQ nor misses PINGRESP."""

    waits = 0

    def connect(self) -> None:
        """Connect, and have the client look at the clock less often, or not at all."""
        self.client.on_socket_open = self.on_socket_open
        super().connect()

    def on_socket_open(self, client: mqtt.Client, _userdata: object, _socket: object) -> None:
        """CONNECT takes the keep-alive from the same field at which the client looks later on."""
        client._keepalive = self.keepalive()  # noqa: SLF001 - there is no public way to let a client be careless
        self.later(0.5, lambda: setattr(client, "_keepalive", self.waits))


@breaks("I2M-STATUS-09.late")
class PingsLate(NeverPings):
    """It gives a silent connection up after six times the keep-alive."""

    waits = 6
