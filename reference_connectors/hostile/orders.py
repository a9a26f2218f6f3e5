"""Commands on their way: who may be told, whether they are fresh, how long they may take, and their answers."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from devices import Device, RefusedError
from reporter import Reporter
from session import LOG
from settings import Environment, Instance

STALE_AFTER = 30.0
"""Seconds after which a command is not carried out any more (I2M-CMD-04)."""
REMEMBERED = 300.0
"""Seconds for which the id of a command is remembered (I2M-CMD-12)."""


LONGEST = 2**31 - 1
"""The longest `timeout` of a command, in milliseconds."""


@dataclass(slots=True)
class Order:
    """A command on its way.

    Attributes:
        target: The topic level pair of the device or group.
        command_id: Its id, None where nobody wants an answer.
        blank: What an answer has when nothing was carried out.
        values: The wanted values.
        carry_out: Carries it out and returns the answer.
        limit: Seconds that it may take, None for as long as it takes.
        over: Whether it is answered.
    """

    target: str
    command_id: str | None
    blank: dict[str, Any]
    values: dict[str, Any] = field(default_factory=dict)
    carry_out: Callable[[], dict[str, Any]] = dict
    limit: float | None = None
    over: bool = False


class Orders(Reporter):
    """One instance that takes commands; Connector says what they do."""

    def __init__(self, environment: Environment, instance: Instance) -> None:
        super().__init__(environment, instance)
        self.seen: dict[tuple[str, str], float] = {}

    def parse(self, payload: bytes) -> Any:
        """Parse strict JSON.

        Raises:
            RefusedError: It is none.
        """
        try:
            return json.loads(payload.decode(), parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise RefusedError("invalid_command", "the payload is no JSON text") from None

    def obey(
        self, target: str, payload: bytes, carry_out: Callable[[dict[str, Any]], dict[str, Any]], blank: dict[str, Any]
    ) -> None:
        """Carry out a command and answer it where it has an id.

        Args:
            target: The topic level pair of the device or group.
            payload: The command.
            carry_out: Takes the command's values and returns the answer.
            blank: What an answer has when nothing was carried out.
        """
        try:
            command = self.command(payload)
        except RefusedError as refusal:
            LOG.warning("a command for %s is ignored: %s", target, refusal)
            return
        command_id = command.get("id")
        if command_id is not None and self.is_repeated(target, command_id):
            return
        order = Order(target, command_id, blank)
        try:
            self.check_age(command)
            order.values = self.values_of(command)
            order.carry_out = partial(carry_out, order.values)
            order.limit = self.allowed(command)
        except RefusedError as refusal:
            self.refuse(order, refusal)
        else:
            self.start(order)

    def start(self, order: Order) -> None:
        """Carry a command out, at once or when the device has taken its time; nobody waits for it (I2M-CMD-16)."""
        delay = max((device.delay for device in self.meant(order.target)), default=0.0)
        if not delay:
            self.settle(order)
            return
        self.later(delay, partial(self.settle, order))
        if order.limit is not None:
            self.later(order.limit, partial(self.give_up, order))

    def meant(self, target: str) -> list[Device]:
        """Return the devices that a command reaches."""
        kind, name = target.split("/")
        names = [name] if kind == "devices" else self.instance.groups.get(name, [])
        return [device for member in names if (device := self.instance.devices.get(member)) is not None]

    def settle(self, order: Order) -> None:
        """Carry a command out and answer it, unless its time is up."""
        if order.over:
            return
        try:
            answer = order.carry_out()
        except RefusedError as refusal:
            self.refuse(order, refusal)
            return
        order.over = True
        self.finish(order.target, order.command_id, answer)

    def give_up(self, order: Order) -> None:
        """Refuse a command whose time is up (I2M-CMD-14)."""
        if not order.over:
            self.refuse(order, RefusedError("timeout", "the device did not answer in time", retriable=True))

    def refuse(self, order: Order, refusal: RefusedError) -> None:
        """Answer that a command is not carried out."""
        LOG.warning("a command for %s is refused: %s", order.target, refusal)
        order.over = True
        self.finish(order.target, order.command_id, {**order.blank, **self.refusal(refusal)})

    def allowed(self, command: Mapping[str, Any]) -> float | None:
        """Return the seconds that a command may take, None where it does not say (I2M-CMD-14).

        Raises:
            RefusedError: It says nonsense.
        """
        timeout = command.get("timeout")
        if timeout is None:
            return None
        if isinstance(timeout, bool) or not isinstance(timeout, int) or not 0 < timeout <= LONGEST:
            raise RefusedError("invalid_command", "timeout must be a whole number of milliseconds above 0")
        return timeout / 1000

    def command(self, payload: bytes) -> dict[str, Any]:
        """Return the command as far as it can be answered.

        Raises:
            RefusedError: It is no object, or its id is no text.
        """
        command = self.parse(payload)
        if not isinstance(command, dict) or not isinstance(command.get("id"), str | None):
            raise RefusedError("invalid_command", "a command is an object whose id, if any, is a text")
        return command

    def is_repeated(self, target: str, command_id: str) -> bool:
        """Whether the target had a command of this id within five minutes (I2M-CMD-12)."""
        now = time.monotonic()
        self.seen = {key: when for key, when in self.seen.items() if when > now - REMEMBERED}
        repeated = (target, command_id) in self.seen
        self.seen[target, command_id] = now
        return repeated

    def check_age(self, command: Mapping[str, Any]) -> None:
        """Let a command pass that is fresh, or has no timestamp (I2M-CMD-04, I2M-CMD-06).

        Raises:
            RefusedError: It is stale, or its timestamp cannot be read.
        """
        stamp = command.get("timestamp")
        if stamp is None:
            return
        age = self.age(stamp)
        if age > STALE_AFTER:
            raise RefusedError("stale_command", f"the command is {age:.0f} s old: send it again", retriable=True)

    def age(self, stamp: Any) -> float:
        """Return the seconds since a timestamp.

        Raises:
            RefusedError: It cannot be read.
        """
        return (datetime.now(UTC) - self.moment(stamp)).total_seconds()

    def moment(self, stamp: Any) -> datetime:
        """Read a timestamp; without an offset it is UTC.

        Raises:
            RefusedError: It cannot be read.
        """
        try:
            moment = datetime.fromisoformat(stamp)
        except (TypeError, ValueError):
            raise RefusedError("invalid_command", "timestamp is no ISO 8601 time") from None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def values_of(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Return the wanted values.

        Raises:
            RefusedError: There are none.
        """
        values = command.get("values")
        if not isinstance(values, dict) or not values:
            raise RefusedError("invalid_command", "values must be an object that names at least one property")
        return values

    def success(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a command that was carried out (I2M-CMD-17)."""
        return {"status": "success", "result": result}

    def refusal(self, refusal: RefusedError) -> dict[str, Any]:
        """Return the answer to a command that was refused (I2M-CMD-05)."""
        return refusal.answer()

    def finish(self, target: str, command_id: str | None, answer: dict[str, Any]) -> None:
        """Answer a command, unless it has no id (I2M-CMD-03)."""
        if command_id is not None:
            self.respond(target, {"cmd_id": command_id, "timestamp": self.timestamp(), **answer})

    def respond(self, target: str, response: dict[str, Any]) -> None:
        """Publish a response (I2M-CMD-02)."""
        self.publish(f"{target}/cmd/response", response)


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON")
