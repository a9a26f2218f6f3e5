"""I2M-CMD-14 to 17: devices that fail, devices that do not answer, and what took effect."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from connector import Connector
from devices import Device, RefusedError
from orders import Order

from broken.registry import breaks

LATE = 3.0
SECONDS = 1000.0


@breaks("I2M-CMD-14")
class NoLimit(Connector):
    """`timeout` is not looked at."""

    def allowed(self, command: Mapping[str, Any]) -> float | None:
        """Return none."""
        del command
        return None


@breaks("I2M-CMD-14.seconds")
class LimitInSeconds(Connector):
    """`timeout` is taken for seconds."""

    def allowed(self, command: Mapping[str, Any]) -> float | None:
        """Return so many."""
        limit = super().allowed(command)
        return None if limit is None else limit * SECONDS


@breaks("I2M-CMD-14.late")
class LateRefusal(Connector):
    """That the time is up is noticed seconds later."""

    def allowed(self, command: Mapping[str, Any]) -> float | None:
        """Return more."""
        limit = super().allowed(command)
        return None if limit is None else limit + LATE


@breaks("I2M-CMD-14.early")
class ALimitOfItsOwn(Connector):
    """A device has 300 ms, whatever `timeout` says."""

    def allowed(self, command: Mapping[str, Any]) -> float | None:
        """Return them."""
        return None if super().allowed(command) is None else 0.3


@breaks("I2M-CMD-14.code")
class AnotherCode(Connector):
    """A command whose time is up is a device_error."""

    def give_up(self, order: Order) -> None:
        """Say so."""
        if not order.over:
            self.refuse(order, RefusedError("device_error", "the device did not answer in time", retriable=True))


@breaks("I2M-CMD-14.silent")
class GivesUpSilently(Connector):
    """A command whose time is up is not answered any more."""

    def give_up(self, order: Order) -> None:
        """Say nothing."""
        order.over = True


@breaks("I2M-CMD-14.success")
class OptimistAtTheEnd(Connector):
    """When its time is up, a command counts as carried out."""

    def give_up(self, order: Order) -> None:
        """Say so."""
        if not order.over:
            order.over = True
            self.finish(order.target, order.command_id, self.success({}))


@breaks("I2M-CMD-15")
class OnlyTheSenderKnows(Connector):
    """That a command failed is told to its sender only."""

    def publish_error(self, device: Device, refusal: RefusedError) -> None:
        """Say nothing."""


@breaks("I2M-CMD-15.success", company=("I2M-GROUP-04",))
class SentIsDone(Connector):
    """A command counts as carried out once it is sent to the device."""

    def execute(self, device: Device, values: dict[str, Any]) -> dict[str, Any]:
        """Take a failure of the device for a success."""
        try:
            return super().execute(device, values)
        except RefusedError as refusal:
            if refusal.code != "device_error":
                raise
            return values


@breaks("I2M-CMD-15.silent")
class FailureIsNotAnswered(Connector):
    """A command that the device fails gets no response."""

    def refuse(self, order: Order, refusal: RefusedError) -> None:
        """Answer other refusals only."""
        if refusal.code != "device_error":
            super().refuse(order, refusal)


@breaks("I2M-CMD-15.fatal", company=("I2M-GROUP-04",))
class FailureIsFatal(Connector):
    """A command that the device fails ends the connector."""

    def settle(self, order: Order) -> None:
        """Let the failure pass."""
        for device in self.meant(order.target):
            if device.failing:
                raise ConnectionError(device.device_id)
        super().settle(order)


@breaks("I2M-CMD-16")
class OneQueue(Connector):
    """Commands of all devices wait in one queue."""

    busy = 0.0

    def start(self, order: Order) -> None:
        """Let it wait for those before it."""
        delay = max((device.delay for device in self.meant(order.target)), default=0.0)
        if not delay and self.busy:
            self.later(self.busy, partial(super().start, order))
            return
        self.busy = delay
        super().start(order)


@breaks("I2M-CMD-16.refused")
class BusyRefuses(Connector):
    """While one device takes its time, commands to others are refused."""

    def start(self, order: Order) -> None:
        """Look at all devices."""
        slow = [device for device in self.instance.devices.values() if device.delay]
        if slow and not any(device.delay for device in self.meant(order.target)):
            self.refuse(order, RefusedError("device_error", "the connector is busy", retriable=True))
        else:
            super().start(order)


class _OtherResult(Connector):
    """Answers with another result."""

    def success(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return the answer with it."""
        return {**super().success(result), "result": self.other(result)}

    def other(self, result: dict[str, Any]) -> Any:
        """Return the result."""
        raise NotImplementedError


@breaks("I2M-CMD-17")
class NoResult(Connector):
    """A response has no result."""

    def success(self, result: dict[str, Any]) -> dict[str, Any]:
        """Leave it out."""
        return {key: value for key, value in super().success(result).items() if key != "result"}


@breaks("I2M-CMD-17.empty")
class EmptyResult(_OtherResult):
    """`result` is empty."""

    def other(self, result: dict[str, Any]) -> Any:
        """Return nothing of it."""
        del result
        return {}


@breaks("I2M-CMD-17.null")
class NullResult(_OtherResult):
    """`result` is null."""

    def other(self, result: dict[str, Any]) -> Any:
        """Return null."""
        del result


@breaks("I2M-CMD-17.wrong")
class WrongBrightness(_OtherResult):
    """`result` has the brightness on a scale of its own."""

    def other(self, result: dict[str, Any]) -> Any:
        """Return it as a part of 255."""
        return {name: value if name != "brightness" else round(value * 2.55) for name, value in result.items()}


@breaks("I2M-CMD-17.before")
class ResultOfBefore(Connector):
    """`result` is what the device had before."""

    def execute(self, device: Device, values: dict[str, Any]) -> dict[str, Any]:
        """Return the old values."""
        before = {name: device.state.get(name) for name in values}
        super().execute(device, values)
        return before
