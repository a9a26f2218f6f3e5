"""I2M-CMD: commands."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from threading import Event
from typing import Any

from connector import Connector
from devices import Device, RefusedError
from orders import STALE_AFTER, Order

from broken.registry import breaks

NO_ANSWER = (
    *(f"I2M-CMD-{number:02}" for number in (3, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17)),
    *(f"I2M-GROUP-{number:02}" for number in (2, 3, 4)),
)
"""Clauses that are proved by the response to a command, which is none without a cmd_id."""


@breaks("I2M-CMD-01")
class Clamped(Connector):
    """Brightness is silently limited to half."""

    def apply(self, device: Device, values: Mapping[str, Any]) -> None:
        """Set something else than was asked for."""
        super().apply(device, {n: min(v, 50) if n == "brightness" else v for n, v in values.items()})


@breaks("I2M-CMD-01.unpublished")
class Unpublished(Connector):
    """A new brightness is published with the next poll only."""

    def execute(self, device: Device, values: dict[str, Any]) -> dict[str, Any]:
        """Set it and say nothing."""
        if "brightness" not in values:
            return super().execute(device, values)
        self.check(values)
        self.apply(device, values)
        return values


@breaks("I2M-CMD-01.old_state")
class OldState(Connector):
    """The state of before is published after a new brightness."""

    def execute(self, device: Device, values: dict[str, Any]) -> dict[str, Any]:
        """Publish, and then set."""
        if "brightness" not in values:
            return super().execute(device, values)
        self.check(values)
        self.publish_state(device)
        self.apply(device, values)
        return values


@breaks("I2M-CMD-01.echo")
class Echo(Connector):
    """A new brightness is published once as if the light had it, and never sent to the light."""

    def execute(self, device: Device, values: dict[str, Any]) -> dict[str, Any]:
        """Show it, and keep what there was."""
        before = device.state.get("brightness")
        done = super().execute(device, values)
        device.state["brightness"] = before
        return done


# Group commands are answered by the same lines.
@breaks("I2M-CMD-02", company=("I2M-GROUP-04",))
class RetainedResponse(Connector):
    """Responses are retained."""

    def respond(self, target: str, response: dict[str, Any]) -> None:
        """Publish it so."""
        self.publish(f"{target}/cmd/response", response, retain=True)


# Group commands are answered by the same lines.
@breaks("I2M-CMD-02.twice", company=("I2M-GROUP-04",))
class TwoResponses(Connector):
    """A command is answered twice: that it has come, and that it is done."""

    def finish(self, target: str, command_id: str | None, answer: dict[str, Any]) -> None:
        """Answer twice."""
        super().finish(target, command_id, answer)
        super().finish(target, command_id, answer)


@breaks("I2M-CMD-02.refused")
class TwoRefusals(Connector):
    """What is refused is answered where it is noticed, and once more at the end."""

    def refuse(self, order: Order, refusal: RefusedError) -> None:
        """Answer twice."""
        super().refuse(order, refusal)
        if order.target.startswith("devices/"):
            super().refuse(order, refusal)


@breaks("I2M-CMD-02.late")
class LateSuccess(Connector):
    """A command whose time is up is answered so, and again when the device has done it."""

    def give_up(self, order: Order) -> None:
        """Answer, and forget that it was."""
        super().give_up(order)
        order.over = False


# What is no success has no result.
@breaks("I2M-CMD-02.status", company=("I2M-CMD-10", "I2M-CMD-16", "I2M-CMD-17"))
class OtherStatus(Connector):
    """The status of a response is `ok`."""

    def success(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return it so."""
        return {**super().success(result), "status": "ok"}


# Refusals and answers to group commands have that form as well.
@breaks("I2M-CMD-02.timestamp", company=("I2M-CMD-05", "I2M-CMD-14", "I2M-GROUP-04"))
class UndatedResponse(Connector):
    """A response has no timestamp."""

    def respond(self, target: str, response: dict[str, Any]) -> None:
        """Leave it out."""
        super().respond(target, {key: value for key, value in response.items() if key != "timestamp"})


@breaks("I2M-CMD-02.cmd_id", company=(*NO_ANSWER, "I2M-PUB-06"))
class OtherKey(Connector):
    """A response names the command's id as `id`."""

    def respond(self, target: str, response: dict[str, Any]) -> None:
        """Rename the key."""
        super().respond(target, {"id" if key == "cmd_id" else key: value for key, value in response.items()})


@breaks("I2M-CMD-02.topic")
class ResponseOfAnother(Connector):
    """A response for the second device appears under the first one as well."""

    def respond(self, target: str, response: dict[str, Any]) -> None:
        """Publish it twice."""
        super().respond(target, response)
        if target == "devices/light2":
            super().respond("devices/light1", response)


@breaks("I2M-CMD-03")
class AnswersNobody(Connector):
    """A command without an id is answered with cmd_id null."""

    def finish(self, target: str, command_id: str | None, answer: dict[str, Any]) -> None:
        """Answer whatever the id is."""
        self.respond(target, {"cmd_id": command_id, "timestamp": self.timestamp(), **answer})


@breaks("I2M-CMD-03.invented")
class InventsAnId(Connector):
    """A command without an id is answered with an id of its own."""

    def finish(self, target: str, command_id: str | None, answer: dict[str, Any]) -> None:
        """Answer in any case."""
        super().finish(target, command_id or "unnamed", answer)


@breaks("I2M-CMD-03.aloud")
class RefusesAloud(Connector):
    """A command that is refused is answered with cmd_id null where it has no id."""

    def refuse(self, order: Order, refusal: RefusedError) -> None:
        """Answer, whatever the id is."""
        super().refuse(order, refusal)
        if order.command_id is None:
            blank = {"cmd_id": None, "timestamp": self.timestamp(), **order.blank}
            self.respond(order.target, {**blank, **self.refusal(refusal)})


@breaks("I2M-CMD-03.refused")
class IdRequired(Connector):
    """A command without an id is not executed."""

    def command(self, payload: bytes) -> dict[str, Any]:
        """Refuse it."""
        command = super().command(payload)
        if "id" not in command:
            raise RefusedError("invalid_command", "a command needs an id")
        return command


class _OtherLimit(Connector):
    """Has another limit of age."""

    limit: float

    def check_age(self, command: Mapping[str, Any]) -> None:
        """Compare with it."""
        stamp = command.get("timestamp")
        if stamp is not None and (datetime.now(UTC) - self.moment(stamp)).total_seconds() > self.limit:
            raise RefusedError("stale_command", "the command is too old: send it again", retriable=True)


# The age of group commands is judged by the same lines; and what is executed has no code.
@breaks("I2M-CMD-04", company=("I2M-CMD-05", "I2M-GROUP-03"))
class AnyAge(_OtherLimit):
    """Commands of any age are executed."""

    limit = float("inf")


# The age of group commands is judged by the same lines.
@breaks("I2M-CMD-04.strict", company=("I2M-GROUP-03",))
class TooStrict(_OtherLimit):
    """A command of 20 s is too old already."""

    limit = 20


# The age of group commands is judged by the same lines.
@breaks("I2M-CMD-04.lax", company=("I2M-GROUP-03",))
class TooLax(_OtherLimit):
    """A command of a minute is not too old yet."""

    limit = 60


# The age of group commands is judged by the same lines.
@breaks("I2M-CMD-04.days", company=("I2M-GROUP-03",))
class DaysForgotten(Connector):
    """Only the seconds of an age are looked at, so that whole days do not count."""

    def check_age(self, command: Mapping[str, Any]) -> None:
        """Take `seconds` for `total_seconds`."""
        stamp = command.get("timestamp")
        if stamp is not None and abs(datetime.now(UTC) - self.moment(stamp)).seconds > STALE_AFTER:
            raise RefusedError("stale_command", "the command is too old: send it again", retriable=True)


# The age of group commands is judged by the same lines.
@breaks("I2M-CMD-04.offset", company=("I2M-GROUP-03",))
class OffsetDropped(Connector):
    """The offset of a timestamp is dropped, and the rest read as UTC."""

    def moment(self, stamp: Any) -> datetime:
        """Read it so."""
        return super().moment(stamp).replace(tzinfo=UTC)


@breaks("I2M-CMD-04.local")
class LocalTime(Connector):
    """A timestamp without an offset is read as local time."""

    def moment(self, stamp: Any) -> datetime:
        """Read it so."""
        super().moment(stamp)
        return datetime.fromisoformat(stamp).astimezone()


# Whoever is dead refuses nothing.
@breaks("I2M-CMD-07", company=("I2M-CMD-05",))
class UnknownIsFatal(Connector):
    """A command for an unknown device ends the connector."""

    def commanded(self, name: str) -> Device:
        """Trust that there is one."""
        device = self.instance.devices[name]
        if not device.enabled:
            raise RefusedError("device_disabled", f"{name} is disabled")
        return device


# What is executed has no code.
@breaks("I2M-CMD-07.disabled", company=("I2M-CMD-05", "I2M-ENV-15"))
class DisabledObeys(Connector):
    """A disabled device executes commands."""

    def commanded(self, name: str) -> Device:
        """Return it whether or not it is enabled."""
        device = self.instance.devices.get(name)
        return super().commanded(name) if device is None else device


# What is executed has no code.
@breaks("I2M-CMD-07.created", company=("I2M-CMD-05", "I2M-ENV-09"))
class UnknownIsCreated(Connector):
    """A command for an unknown device makes one, whose state is then published."""

    def commanded(self, name: str) -> Device:
        """Return it, or a new one."""
        if name in self.instance.devices:
            return super().commanded(name)
        return Device(name)


# What is executed has no code.
@breaks("I2M-CMD-07.first", company=("I2M-CMD-05",))
class UnknownIsTheFirst(Connector):
    """A command for an unknown device is given to the first one."""

    def commanded(self, name: str) -> Device:
        """Return some device."""
        return super().commanded(name if name in self.instance.devices else next(iter(self.instance.devices)))


@breaks("I2M-CMD-08")
class BadTextIsFatal(Connector):
    """A payload that is no JSON text ends the connector."""

    def parse(self, payload: bytes) -> Any:
        """Parse it, and let the error pass."""
        try:
            return super().parse(payload)
        except RefusedError as refusal:
            raise ValueError("no JSON") from refusal


@breaks("I2M-CMD-08.array")
class ArrayIsFatal(Connector):
    """A command that is an array ends the connector."""

    def command(self, payload: bytes) -> dict[str, Any]:
        """Trust that it is an object."""
        command = self.parse(payload)
        if not isinstance(command.get("id"), str | None):
            raise RefusedError("invalid_command", "the id must be a text")
        return dict(command)


@breaks("I2M-CMD-08.names")
class OddNamesAreFatal(Connector):
    """A get whose properties are no texts ends the connector."""

    def wanted(self, payload: bytes) -> list[str] | None:
        """Trust that they are."""
        request = self.parse(payload) if payload else None
        names = request.get("properties") if isinstance(request, dict) else None
        return None if names is None else sorted(set(names))


@breaks("I2M-CMD-08.deaf")
class DeafAfterwards(Connector):
    """After a payload that is no JSON text nothing is answered any more, though the process lives."""

    deaf = False

    def parse(self, payload: bytes) -> Any:
        """Note that one was bad."""
        try:
            return super().parse(payload)
        except RefusedError:
            self.deaf = True
            raise

    def dispatch(self, levels: list[str], payload: bytes) -> None:
        """Handle nothing after that."""
        if not self.deaf:
            super().dispatch(levels, payload)


@breaks("I2M-CMD-08.reconnects")
class ReconnectsAfterwards(Connector):
    """A payload that is no JSON text makes it connect anew."""

    def obey(
        self, target: str, payload: bytes, carry_out: Callable[[dict[str, Any]], dict[str, Any]], blank: dict[str, Any]
    ) -> None:
        """Call the broker again where the payload cannot be read."""
        try:
            self.parse(payload)
        except RefusedError:
            self.client.reconnect()
            return
        super().obey(target, payload, carry_out, blank)


@breaks("I2M-CMD-08.bytes")
class TwoBytesAreFatal(Connector):
    """Two bytes side by side, wherever they are in a payload, end the connector."""

    def dispatch(self, levels: list[str], payload: bytes) -> None:
        """Look for them first."""
        if b"\xff\x00" in payload:
            raise ValueError("no such text")
        super().dispatch(levels, payload)


@breaks("I2M-CMD-08.hangs")
class TwoBytesAreForever(Connector):
    """Two bytes side by side, wherever they are in a payload, let the connector wait for nothing for ever."""

    def dispatch(self, levels: list[str], payload: bytes) -> None:
        """Look for them first."""
        if b"\xff\x00" in payload:
            Event().wait()
        super().dispatch(levels, payload)
