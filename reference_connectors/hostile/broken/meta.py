"""I2M-META: what the connector tells about itself."""

import time
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


@breaks("I2M-META-01.names", company=TOLD_OTHERWISE)
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


@breaks("I2M-META-01.online")
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
