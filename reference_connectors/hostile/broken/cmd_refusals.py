"""I2M-CMD-05, 06 and 09: commands that are to be refused."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from connector import Connector
from devices import BRIGHTEST, Device, RefusedError
from orders import Order

from broken.registry import breaks


@breaks("I2M-CMD-05")
class SilentRefusal(Connector):
    """A stale command is dropped without a word."""

    def refuse(self, order: Order, refusal: RefusedError) -> None:
        """Answer other refusals only."""
        if refusal.code != "stale_command":
            super().refuse(order, refusal)


class _OtherCode(Connector):
    """Refuses with other codes."""

    codes: Mapping[str, str]

    def refusal(self, refusal: RefusedError) -> dict[str, Any]:
        """Replace the code."""
        answer = super().refusal(refusal)
        code = self.codes.get(refusal.code, refusal.code)
        return {**answer, "error": {**answer["error"], "code": code}}


@breaks("I2M-CMD-05.code")
class OneCodeForAll(_OtherCode):
    """A value that a device cannot take is an invalid_command."""

    codes: Mapping[str, str] = {"invalid_value": "invalid_command"}


@breaks("I2M-CMD-05.upper")
class UpperCase(_OtherCode):
    """The code for an unknown device is in capitals."""

    codes: Mapping[str, str] = {"unknown_device": "UNKNOWN_DEVICE"}


@breaks("I2M-CMD-05.disabled")
class DisabledIsUnknown(_OtherCode):
    """A disabled device is said to be unknown."""

    codes: Mapping[str, str] = {"device_disabled": "unknown_device"}


# The response to a command has a form, and so has that to a group command.
@breaks("I2M-CMD-05.text", company=("I2M-CMD-14", "I2M-GROUP-04"))
class ErrorIsText(Connector):
    """`error` is a sentence instead of an object."""

    def refusal(self, refusal: RefusedError) -> dict[str, Any]:
        """Return the sentence."""
        return {"status": "error", "error": str(refusal)}


# A command whose time is up is refused without a reason as well.
@breaks("I2M-CMD-05.no_error", company=("I2M-CMD-14",))
class NoReason(Connector):
    """The response says that there was an error, and not which."""

    def refusal(self, refusal: RefusedError) -> dict[str, Any]:
        """Leave the error out."""
        del refusal
        return {"status": "error"}


@breaks("I2M-CMD-05.retriable", company=("I2M-CMD-14", "I2M-GROUP-04"))
class NotSaidWhetherToRetry(Connector):
    """The error does not say whether to try again."""

    def refusal(self, refusal: RefusedError) -> dict[str, Any]:
        """Leave `retriable` out."""
        answer = super().refusal(refusal)
        return {**answer, "error": {key: value for key, value in answer["error"].items() if key != "retriable"}}


@breaks("I2M-CMD-06")
class TimestampRequired(Connector):
    """A command without a timestamp is refused."""

    def check_age(self, command: Mapping[str, Any]) -> None:
        """Ask for one."""
        if command.get("timestamp") is None:
            raise RefusedError("stale_command", "a command needs a timestamp", retriable=True)
        super().check_age(command)


# What is executed is not refused with a code either.
@breaks("I2M-CMD-06.lenient", company=("I2M-CMD-05",))
class UnreadableIsNow(Connector):
    """An unreadable timestamp is taken for the present."""

    def moment(self, stamp: Any) -> datetime:
        """Return the present."""
        try:
            return super().moment(stamp)
        except RefusedError:
            return datetime.now(UTC)


@breaks("I2M-CMD-06.number", company=("I2M-CMD-05",))
class NumbersAreTimes(Connector):
    """A timestamp that is any number is taken for a time to come."""

    def check_age(self, command: Mapping[str, Any]) -> None:
        """Judge the age of texts only."""
        if not isinstance(command.get("timestamp"), int | float):
            super().check_age(command)


@breaks("I2M-CMD-06.overflow", company=("I2M-CMD-05", "I2M-CMD-08", "I2M-CMD-09"))
class OverflowIsFatal(Connector):
    """A timestamp of 1e400 ends the connector."""

    def moment(self, stamp: Any) -> datetime:
        """Read seconds since 1970 as well."""
        if isinstance(stamp, float):
            return datetime.fromtimestamp(stamp, UTC)
        return super().moment(stamp)


# Whatever arrives is set and published: then a good value may be none of the device's, and a state no JSON object.
@breaks("I2M-CMD-09", company=("I2M-CMD-05", "I2M-CMD-08", "I2M-GROUP-04", "I2M-STATE-02"))
class TakesAnything(Connector):
    """Values are not looked at."""

    def check(self, values: dict[str, Any]) -> None:
        """Let them pass."""


@breaks("I2M-CMD-09.clamped", company=("I2M-CMD-05",))
class ClampsSilently(Connector):
    """A brightness that is out of range is limited to it, and that counts as success."""

    def execute(self, device: Device, values: dict[str, Any]) -> dict[str, Any]:
        """Limit it first."""
        wanted = values.get("brightness")
        if isinstance(wanted, int) and not isinstance(wanted, bool):
            values = {**values, "brightness": min(max(wanted, 0), BRIGHTEST)}
        return super().execute(device, values)


@breaks("I2M-CMD-09.truthy", company=("I2M-CMD-05",))
class OneIsTrue(Connector):
    """A power of 1 is taken for true."""

    def execute(self, device: Device, values: dict[str, Any]) -> dict[str, Any]:
        """Turn it into true."""
        if values.get("power") == 1:
            values = {**values, "power": True}
        return super().execute(device, values)


@breaks("I2M-CMD-09.half")
class HalfIsDone(Connector):
    """The good values of a command are set before a bad one is found."""

    def execute(self, device: Device, values: dict[str, Any]) -> dict[str, Any]:
        """Look at the values one by one, and set each."""
        for name, value in values.items():
            self.check({name: value})
            device.state[name] = value
        return super().execute(device, values)


@breaks("I2M-CMD-09.set_anyway")
class RefusedButSet(Connector):
    """A bad brightness is refused, and set all the same."""

    def execute(self, device: Device, values: dict[str, Any]) -> dict[str, Any]:
        """Set it first."""
        before = device.state["brightness"]
        device.state["brightness"] = values.get("brightness", before)
        return super().execute(device, values)


# Whatever else a bad value meets, it is a device's failure there.
@breaks("I2M-CMD-09.ignored", company=("I2M-CMD-05", "I2M-GROUP-04"))
class UnknownIsIgnored(Connector):
    """A property that the device does not have is left out, and that counts as success."""

    def check(self, values: dict[str, Any]) -> None:
        """Look at what is known."""
        super().check({name: value for name, value in values.items() if name in ("power", "brightness")})

    def apply(self, device: Device, values: Mapping[str, Any]) -> None:
        """Set what is known."""
        super().apply(device, {name: value for name, value in values.items() if name in device.state})
