"""I2M-META: what the connector tells about itself."""

import time
from dataclasses import replace
from typing import Any

from connector import Connector
from devices import Device

from broken.registry import breaks

TOLD_OTHERWISE = ("I2M-ENV-09",)
"""The configured devices are looked for in that list."""


@breaks("I2M-META-01")
class EnabledOnly(Connector):
    """Disabled devices are not listed."""

    def listed(self) -> list[Device]:
        """Return the polled ones."""
        return self.polled()


@breaks("I2M-META-01.twice")
class ListedTwice(Connector):
    """One device is listed twice."""

    def listed(self) -> list[Device]:
        """Return one too many."""
        devices = super().listed()
        return [*devices, devices[0]]


# Others ask the list for the devices that are online, and for those that a new configuration has.
@breaks("I2M-META-01.names", company=(*TOLD_OTHERWISE, "I2M-META-04", "I2M-LIFE-08"))
class NamesOnly(Connector):
    """The list holds ids, not objects."""

    def entry(self, device: Device) -> Any:
        """Return the id."""
        return device.device_id


class _OtherEntry(Connector):
    """Changes an entry of the list."""

    def entry(self, device: Device) -> dict[str, Any]:
        """Return the changed entry."""
        entry = super().entry(device)
        self.change(entry)
        return entry

    def change(self, entry: dict[str, Any]) -> None:
        """Change it."""
        raise NotImplementedError


@breaks("I2M-META-01.global_id")
class OtherGlobalId(_OtherEntry):
    """global_id is the device id alone."""

    def change(self, entry: dict[str, Any]) -> None:
        """Leave the instance out."""
        entry["global_id"] = entry["device_id"]


@breaks("I2M-META-01.enabled")
class AllEnabled(_OtherEntry):
    """Every device is called enabled."""

    def change(self, entry: dict[str, Any]) -> None:
        """Call it so."""
        entry["enabled"] = True


@breaks("I2M-META-01.online", company=("I2M-META-04",))
class OnlineUntold(_OtherEntry):
    """An entry does not say whether the device is online."""

    def change(self, entry: dict[str, Any]) -> None:
        """Leave it out."""
        del entry["online"]


class _OtherInfo(Connector):
    """Changes what meta/info says."""

    def info(self) -> dict[str, Any]:
        """Return the changed facts."""
        info = super().info()
        self.change(info)
        return info

    def change(self, info: dict[str, Any]) -> None:
        """Change them."""
        raise NotImplementedError


@breaks("I2M-META-02")
class CountsEnabledOnly(_OtherInfo):
    """devices_count leaves out the disabled ones."""

    def change(self, info: dict[str, Any]) -> None:
        """Count the polled ones."""
        info["devices_count"] = len(self.polled())


@breaks("I2M-META-02.type")
class FixedType(_OtherInfo):
    """connector_type is not that of the environment."""

    def change(self, info: dict[str, Any]) -> None:
        """Name the protocol."""
        info["connector_type"] = "light"


@breaks("I2M-META-02.instance")
class FullName(_OtherInfo):
    """instance_id is the whole topic's."""

    def change(self, info: dict[str, Any]) -> None:
        """Name the root."""
        info["instance_id"] = self.environment.base.replace("/", "_")


@breaks("I2M-META-02.groups")
class NoGroupsCounted(_OtherInfo):
    """groups_count is missing."""

    def change(self, info: dict[str, Any]) -> None:
        """Leave it out."""
        del info["groups_count"]


@breaks("I2M-META-02.texts")
class CountsAsTexts(_OtherInfo):
    """The counts are texts."""

    def change(self, info: dict[str, Any]) -> None:
        """Turn them into texts."""
        info.update({key: str(info[key]) for key in ("devices_count", "groups_count")})


@breaks("I2M-META-03")
class UnixTime(Connector):
    """uptime is the Unix time."""

    def uptime(self) -> float:
        """Return the seconds since 1970."""
        return int(time.time())


@breaks("I2M-META-03.machine")
class MachinesUptime(Connector):
    """uptime is that of the machine."""

    def uptime(self) -> float:
        """Return what Linux counts from its own start."""
        return time.monotonic()


@breaks("I2M-META-03.milliseconds")
class Milliseconds(Connector):
    """uptime is in milliseconds."""

    def uptime(self) -> float:
        """Return a thousand times as much."""
        return super().uptime() * 1000


@breaks("I2M-META-03.minutes")
class WholeMinutes(Connector):
    """uptime is in minutes, so that it stands still."""

    def uptime(self) -> float:
        """Return whole ones."""
        return super().uptime() // 60


@breaks("I2M-META-03.hours")
class Hours(Connector):
    """uptime is in hours and fractions of them."""

    def uptime(self) -> float:
        """Return them, so that they grow."""
        return (time.monotonic() - self.started) / 3600


@breaks("I2M-META-03.connection")
class SinceTheConnection(Connector):
    """uptime begins anew with each connection."""

    def announce(self) -> None:
        """Start counting."""
        super().announce()
        self.started = time.monotonic()


@breaks("I2M-META-04")
class PolledOnce(Connector):
    """`online` says that the device was polled once."""

    def is_reachable(self, device: Device) -> bool:
        """Call what is polled reachable."""
        return device.enabled


@breaks("I2M-META-04.never_back")
class NeverOnlineAgain(Connector):
    """What was offline once is listed as offline for ever."""

    gone = ""

    def is_reachable(self, device: Device) -> bool:
        """Remember the one that was not."""
        if not device.online:
            self.gone = device.device_id
        return super().is_reachable(device) and device.device_id != self.gone


@breaks("I2M-META-04.all")
class AllTogether(Connector):
    """One device that does not answer makes all of them offline."""

    def is_reachable(self, device: Device) -> bool:
        """Look at all of them."""
        return super().is_reachable(device) and all(other.online for other in self.polled())


@breaks("I2M-META-04.stale")
class ListedAtTheStart(Connector):
    """devices_list is made at the first request, and the same from then on."""

    def listed(self) -> list[Device]:
        """Return copies of the first time."""
        self.copies = getattr(self, "copies", None) or [replace(device) for device in super().listed()]
        return self.copies


class _StrangeAnswer(Connector):
    """Does something about a request that it does not know."""

    def answer_meta(self, name: str) -> None:
        """Look at the name first."""
        if name in ("info", "devices_list"):
            super().answer_meta(name)
        else:
            self.wonder(name)

    def wonder(self, name: str) -> None:
        """Do it."""
        raise NotImplementedError


AFTER_ANY_PAYLOAD = ("I2M-CMD-08",)
"""The payloads of that clause are sent to a request of no known name too."""


@breaks("I2M-META-05", company=AFTER_ANY_PAYLOAD)
class LooksItUp(_StrangeAnswer):
    """It looks for the request's name in a table, and dies where that does not have it."""

    def wonder(self, name: str) -> None:
        """Raise a KeyError."""
        {"info": 1, "devices_list": 1}[name]


@breaks("I2M-META-05.deaf", company=AFTER_ANY_PAYLOAD)
class DeafAfterwards(_StrangeAnswer):
    """A request that it does not know ends its listening to requests."""

    def wonder(self, name: str) -> None:
        """Give the subscription up."""
        del name
        self.client.unsubscribe(self.topic("meta/request/+"))


@breaks("I2M-META-05.forgets")
class TakesItForACommand(_StrangeAnswer):
    """A request for `devices` empties its list of devices, so nothing is polled."""

    def wonder(self, name: str) -> None:
        """Empty it."""
        if name == "devices":
            self.instance.devices.clear()


# What was under way on the old connection is sent on the new one first, `online` among it.
@breaks("I2M-META-05.reconnects", company=(*AFTER_ANY_PAYLOAD, "I2M-STATUS-03"))
class ConnectsAnew(_StrangeAnswer):
    """It makes a new connection after a request that it does not know."""

    def wonder(self, name: str) -> None:
        """Drop the old one."""
        del name
        self.client.reconnect()


@breaks("I2M-META-05.offline")
class SaysOffline(_StrangeAnswer):
    """Its status is `offline` after a request that it does not know."""

    def wonder(self, name: str) -> None:
        """Say so."""
        del name
        self.say_offline()
