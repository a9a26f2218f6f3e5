"""I2M-SUB: subscriptions."""

from connector import Connector

from broken.registry import breaks

OUTSIDE = ("I2M-ENV-01",)
"""A filter that reaches outside the instance does not begin with its root."""
LOST = ("I2M-STATUS-03", "I2M-LIFE-05", "I2M-LIFE-06")
"""`online` then comes without the subscriptions, and these clauses ask for them after it."""

GROUPS = tuple(f"I2M-GROUP-{number:02}" for number in range(1, 5))
"""Group commands are not heard."""


class _PerDevice(Connector):
    """Subscribes to one filter a device, and forgets the last of the enabled ones."""

    verb: str

    def filters(self) -> list[tuple[str, int]]:
        """Return one filter for each device but one."""
        others = [entry for entry in super().filters() if not entry[0].endswith(f"/devices/+/{self.verb}")]
        return [*others, *((self.topic(f"devices/{d.device_id}/{self.verb}"), 1) for d in self.polled()[:-1])]


@breaks("I2M-SUB-01")
class CommandsAtQos0(Connector):
    """Commands are subscribed at QoS 0."""

    def filters(self) -> list[tuple[str, int]]:
        """Return them so."""
        return [(topic, 0 if topic.endswith("/devices/+/cmd") else qos) for topic, qos in super().filters()]


# One that is to be refused is not heard either.
@breaks("I2M-SUB-01.forgotten", company=("I2M-CMD-05",))
class ForgottenCommands(_PerDevice):
    """The commands of one device are not subscribed."""

    verb = "cmd"


@breaks("I2M-SUB-02", company=("I2M-GET-01", "I2M-GET-04"))
class ForgottenGets(_PerDevice):
    """The gets of one device are not subscribed, so they are not answered."""

    verb = "get"


@breaks("I2M-SUB-03", company=GROUPS)
class NoGroups(Connector):
    """Group commands are not subscribed."""

    def filters(self) -> list[tuple[str, int]]:
        """Return the others."""
        return [entry for entry in super().filters() if "/groups/" not in entry[0]]


@breaks("I2M-SUB-03.whole", company=GROUPS)
class GroupsWithoutVerb(Connector):
    """The filter for groups lacks its last level."""

    def filters(self) -> list[tuple[str, int]]:
        """Return it so."""
        return [(topic.replace("/groups/+/cmd", "/groups/+"), qos) for topic, qos in super().filters()]


@breaks("I2M-SUB-04")
class NamedRequests(Connector):
    """Only the meta requests of today are subscribed, each by its name."""

    def filters(self) -> list[tuple[str, int]]:
        """Return two filters for the one."""
        others = [entry for entry in super().filters() if "/meta/" not in entry[0]]
        return [*others, *((self.topic(f"meta/request/{name}"), 1) for name in ("info", "devices_list"))]


# It is sent its own `offline`, too. What is unread when it closes resets the connection, and DISCONNECT may be lost.
@breaks("I2M-SUB-05", company=(*OUTSIDE, "I2M-STATUS-05"))
class Everything(Connector):
    """It subscribes to `#`."""

    def filters(self) -> list[tuple[str, int]]:
        """Return the widest filter there is."""
        return [("#", 1)]


@breaks("I2M-SUB-05.neighbours", company=OUTSIDE)
class Neighbours(Connector):
    """It subscribes to the commands of all instances."""

    def filters(self) -> list[tuple[str, int]]:
        """Return filters in which any instance fits."""
        return [(topic.replace(f"/{self.environment.instance_name}/", "/+/"), qos) for topic, qos in super().filters()]


@breaks("I2M-SUB-05.broker", company=OUTSIDE)
class BrokersTopics(Connector):
    """It follows the broker's own topics."""

    def filters(self) -> list[tuple[str, int]]:
        """Add them."""
        return [*super().filters(), ("$SYS/broker/uptime", 0)]


@breaks("I2M-SUB-06", company=LOST)
class SubscribesOnce(Connector):
    """It subscribes after the first connection only."""

    subscribed = False

    def subscribe(self) -> None:
        """Take the subscriptions for granted after a reconnection."""
        if self.subscribed:
            self.ready()
        else:
            super().subscribe()
        self.subscribed = True


@breaks("I2M-SUB-06.session", company=LOST)
class TrustsTheSession(SubscribesOnce):
    """It trusts the broker to keep its session over a restart."""

    clean_session = False


@breaks("I2M-SUB-06.commands_only", company=LOST)
class SubscribesToCommandsAgain(Connector):
    """After a reconnection it subscribes to commands only."""

    subscribed = False

    def filters(self) -> list[tuple[str, int]]:
        """Return all of them once."""
        found = super().filters()
        return [entry for entry in found if entry[0].endswith("/devices/+/cmd")] if self.subscribed else found

    def subscribe(self) -> None:
        """Note that they have been asked for."""
        super().subscribe()
        self.subscribed = True
