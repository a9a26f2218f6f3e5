"""I2M-GROUP: commands for several devices at once."""

from collections.abc import Mapping
from typing import Any

from connector import Connector
from devices import Device, RefusedError
from orders import Order

from broken.registry import breaks

NOBODY = ("I2M-GROUP-02", "I2M-GROUP-03", "I2M-GROUP-04")
"""Clauses that are proved by a group that obeys."""


@breaks("I2M-GROUP-01", company=NOBODY)
class FirstMemberOnly(Connector):
    """A group command is given to the first member only."""

    def members(self, name: str) -> list[Device]:
        """Return one."""
        return super().members(name)[:1]


@breaks("I2M-GROUP-01.all", company=("I2M-GROUP-04",))
class WholeHouse(Connector):
    """A group command is given to all enabled devices, whatever the group."""

    def members(self, name: str) -> list[Device]:
        """Return them."""
        super().members(name)
        return self.polled()


@breaks("I2M-GROUP-01.silent", company=("I2M-GROUP-02", "I2M-GROUP-03"))
class MembersSaySo(Connector):
    """What a group command has set is published with the next poll only."""

    def command_member(self, device: Device, values: dict[str, Any]) -> dict[str, Any]:
        """Set it and say nothing."""
        try:
            self.check(values)
            self.read(device)
        except RefusedError as refusal:
            return self.refusal(refusal)
        self.apply(device, values)
        return {"status": "success"}


@breaks("I2M-GROUP-01.nothing", company=NOBODY)
class FlatPayload(Connector):
    """A group command is looked for its values on the top level, and finds none."""

    def command_group(self, name: str, values: dict[str, Any]) -> dict[str, Any]:
        """Carry out nothing."""
        del values
        return super().command_group(name, {})


@breaks("I2M-GROUP-02.stops", company=("I2M-CMD-08", "I2M-GROUP-01", "I2M-GROUP-03", "I2M-GROUP-04"))
class UnknownMemberIsFatal(Connector):
    """A member that is not configured ends the connector."""

    def members(self, name: str) -> list[Device]:
        """Trust that all are."""
        for member in self.instance.groups.get(name, []):
            self.instance.devices[member].reach()
        return super().members(name)


@breaks("I2M-GROUP-02.disabled", company=("I2M-ENV-15", "I2M-GROUP-04"))
class DisabledMemberObeys(Connector):
    """A disabled member obeys as well."""

    def members(self, name: str) -> list[Device]:
        """Return all that are configured."""
        super().members(name)
        found = (self.instance.devices.get(member) for member in self.instance.groups[name])
        return [device for device in found if device is not None]


@breaks("I2M-GROUP-02.refused", company=("I2M-GROUP-01", "I2M-GROUP-03", "I2M-GROUP-04"))
class AllOrNobody(Connector):
    """A group with an unknown member is refused as a whole."""

    def members(self, name: str) -> list[Device]:
        """Look for unknown ones."""
        for member in self.instance.groups.get(name, []):
            if member not in self.instance.devices:
                raise RefusedError("unknown_device", f"no device {member!r} is configured")
        return super().members(name)


@breaks("I2M-GROUP-02.unknown", company=("I2M-GROUP-03", "I2M-GROUP-04"))
class UnknownGroupIsFatal(Connector):
    """A command for an unknown group ends the connector."""

    def members(self, name: str) -> list[Device]:
        """Trust that there is one."""
        found = (self.instance.devices.get(member) for member in self.instance.groups[name])
        return [device for device in found if device is not None and device.enabled]


@breaks("I2M-GROUP-02.everybody", company=("I2M-GROUP-04",))
class UnknownGroupIsEverybody(Connector):
    """A command for an unknown group is given to all devices."""

    def members(self, name: str) -> list[Device]:
        """Return them."""
        return super().members(name) if name in self.instance.groups else self.polled()


class _OtherAge(Connector):
    """Judges the age of group commands in another way."""

    def obey(self, target: str, *arguments: Any) -> None:
        """Remember for whom a command is."""
        self.for_group = target.startswith("groups/")
        super().obey(target, *arguments)

    for_group = False


@breaks("I2M-GROUP-03")
class GroupsNeverAge(_OtherAge):
    """Group commands of any age are executed."""

    def check_age(self, command: Mapping[str, Any]) -> None:
        """Look at those for devices."""
        if not self.for_group:
            super().check_age(command)


@breaks("I2M-GROUP-03.strict")
class GroupsAgeFast(_OtherAge):
    """A group command of 25 s is too old already."""

    def check_age(self, command: Mapping[str, Any]) -> None:
        """Add some seconds."""
        super().check_age(command)
        stamp = command.get("timestamp")
        if self.for_group and stamp is not None and self.age(stamp) > 20:  # noqa: PLR2004
            raise RefusedError("stale_command", "the command is too old: send it again", retriable=True)


@breaks("I2M-GROUP-03.later")
class OnlyDaysCount(_OtherAge):
    """A group command is too old after an hour."""

    def check_age(self, command: Mapping[str, Any]) -> None:
        """Let an hour pass."""
        stamp = command.get("timestamp")
        if not self.for_group or stamp is None or self.age(stamp) > 3600:  # noqa: PLR2004
            super().check_age(command)


@breaks("I2M-GROUP-04")
class NoGroupResponse(Connector):
    """A group command is not answered."""

    def respond(self, target: str, response: dict[str, Any]) -> None:
        """Answer those for devices."""
        if not target.startswith("groups/"):
            super().respond(target, response)


class _OtherGroupResponse(Connector):
    """Answers group commands in another way."""

    def respond(self, target: str, response: dict[str, Any]) -> None:
        """Change the response."""
        super().respond(target, self.other(response) if target.startswith("groups/") else response)

    def other(self, response: dict[str, Any]) -> dict[str, Any]:
        """Return the changed one."""
        raise NotImplementedError


@breaks("I2M-GROUP-04.results")
class NoResults(_OtherGroupResponse):
    """The response does not say what came of each device."""

    def other(self, response: dict[str, Any]) -> dict[str, Any]:
        """Leave the results out."""
        return {key: value for key, value in response.items() if key != "results"}


@breaks("I2M-GROUP-04.partial")
class PartialIsSuccess(_OtherGroupResponse):
    """A group command that some members carry out is a success."""

    def other(self, response: dict[str, Any]) -> dict[str, Any]:
        """Never say partial."""
        return {**response, "status": "success" if response["status"] == "partial" else response["status"]}


@breaks("I2M-GROUP-04.error")
class ErrorIsPartial(_OtherGroupResponse):
    """A group command that nobody carries out is partial."""

    def other(self, response: dict[str, Any]) -> dict[str, Any]:
        """Never say error."""
        return {**response, "status": "partial" if response["status"] == "error" else response["status"]}


@breaks("I2M-GROUP-04.twice")
class AnsweredTwice(Connector):
    """A group command is answered twice."""

    def respond(self, target: str, response: dict[str, Any]) -> None:
        """Answer that it has come, and that it is done."""
        super().respond(target, response)
        if target.startswith("groups/"):
            super().respond(target, response)


@breaks("I2M-GROUP-04.each")
class EachMemberAnswers(Connector):
    """Every member answers on its own topic besides."""

    def settle(self, order: Order) -> None:
        """Answer for each."""
        super().settle(order)
        if order.target.startswith("groups/"):
            for device in self.meant(order.target):
                if device.enabled:
                    self.finish(f"devices/{device.device_id}", order.command_id, self.success({}))


@breaks("I2M-GROUP-04.retained")
class RetainedGroupResponse(Connector):
    """The response to a group command is retained."""

    def respond(self, target: str, response: dict[str, Any]) -> None:
        """Publish it so."""
        self.publish(f"{target}/cmd/response", response, retain=target.startswith("groups/"))


@breaks("I2M-GROUP-04.strangers")
class StrangersListed(_OtherGroupResponse):
    """Members that are skipped are in the results, as errors."""

    def other(self, response: dict[str, Any]) -> dict[str, Any]:
        """Add one."""
        error = {"code": "device_disabled", "message": "it is disabled", "retriable": False}
        return {**response, "results": {**response["results"], "disabled1": {"status": "error", "error": error}}}
