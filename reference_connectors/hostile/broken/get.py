"""I2M-GET: questions for state."""

from collections.abc import Mapping
from typing import Any

from connector import Connector
from devices import Device, RefusedError

from broken.registry import breaks


@breaks("I2M-GET-01")
class NullIsNoQuestion(Connector):
    """A get of `null` is not answered."""

    def wanted(self, payload: bytes) -> list[str] | None:
        """Refuse it."""
        if payload == b"null":
            raise RefusedError("invalid_command", "null asks for nothing")
        return super().wanted(payload)


@breaks("I2M-GET-01.object")
class ObjectAsksForNothing(Connector):
    """A get of `{}` is answered with an empty state."""

    def wanted(self, payload: bytes) -> list[str] | None:
        """Take missing properties for an empty list."""
        return [] if payload == b"{}" else super().wanted(payload)


# The answer to all is what the broker keeps.
@breaks("I2M-GET-01.lacks", company=("I2M-GET-03",))
class AnswerLacksSome(Connector):
    """The answer lacks what cannot be set."""

    asked = False

    def answer_whole(self, device: Device) -> None:
        """Note that the state is an answer."""
        self.asked = True
        super().answer_whole(device)
        self.asked = False

    def state_message(self, device: Device, state: Mapping[str, Any]) -> dict[str, Any]:
        """Leave the temperature out of an answer."""
        kept = {name: value for name, value in state.items() if not self.asked or name != "temperature"}
        return super().state_message(device, kept)


# The kept message is older than a partial answer that was given in the meantime.
@breaks("I2M-GET-01.cached", company=("I2M-STATE-05",))
class CachedAnswer(Connector):
    """A get is answered with the message of the last poll or command, unread."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.cache: dict[str, dict[str, Any]] = {}

    def publish_whole(self, device: Device, message: dict[str, Any]) -> None:
        """Keep each message."""
        self.cache[device.device_id] = message
        super().publish_whole(device, message)

    def answer_whole(self, device: Device) -> None:
        """Publish the message again."""
        self.publish_whole(device, self.cache[device.device_id])


@breaks("I2M-GET-02")
class AlwaysTheWhole(Connector):
    """A get of some properties is answered with all of them."""

    def answer_part(self, device: Device, _names: list[str]) -> None:
        """Answer with the whole state."""
        self.answer_whole(device)


@breaks("I2M-GET-02.null")
class UnknownIsNull(Connector):
    """A get of an unknown property is answered with null for it."""

    def answer_part(self, device: Device, names: list[str]) -> None:
        """Answer with each name."""
        part = {name: device.state.get(name) for name in names}
        self.publish(f"devices/{device.device_id}/state", self.state_message(device, part), qos=self.environment.qos)


@breaks("I2M-GET-02.nothing")
class UnknownSpoilsAll(Connector):
    """A get that names an unknown property is answered with an empty state."""

    def answer_part(self, device: Device, names: list[str]) -> None:
        """Answer with nothing where one is unknown."""
        super().answer_part(device, names if set(names) <= set(device.state) else [])


# An answer that there is not cannot be looked at.
@breaks("I2M-GET-02.unanswered", company=("I2M-GET-03",))
class UnknownIsNotAnswered(Connector):
    """A get that names an unknown property is not answered."""

    def answer_part(self, device: Device, names: list[str]) -> None:
        """Answer where all are known."""
        if set(names) <= set(device.state):
            super().answer_part(device, names)


@breaks("I2M-GET-03")
class RetainedPart(Connector):
    """A partial answer is retained."""

    def publish(self, suffix: str, value: Any, *, qos: int = 1, retain: bool = False) -> None:
        """Retain every state, unless MQTT_RETAIN says otherwise."""
        of_state = suffix.endswith("/state") and self.environment.retain
        super().publish(suffix, value, qos=qos, retain=retain or of_state)


@breaks("I2M-GET-03.cleared", company=("I2M-STATE-02",))
class PartClears(Connector):
    """With a partial answer the retained state is cleared."""

    def answer_part(self, device: Device, names: list[str]) -> None:
        """Answer, and clear."""
        super().answer_part(device, names)
        self.client.publish(self.topic(f"devices/{device.device_id}/state"), b"", qos=1, retain=True)


@breaks("I2M-GET-04")
class UnknownIsFatal(Connector):
    """A get for an unknown device ends the connector."""

    def get(self, name: str, payload: bytes) -> None:
        """Trust that there is one."""
        if self.instance.devices[name].enabled:
            super().get(name, payload)


@breaks("I2M-GET-04.empty", company=("I2M-CMD-07", "I2M-ENV-09"))
class UnknownHasAState(Connector):
    """A get for an unknown device is answered with an empty state."""

    def get(self, name: str, payload: bytes) -> None:
        """Answer in any case."""
        super().get(name, payload)
        if name not in self.instance.devices:
            self.publish_whole(Device(name), self.state_message(Device(name), {}))


@breaks("I2M-GET-04.deaf")
class DeafAfterTheUnknown(Connector):
    """After a get for an unknown device no get is answered any more."""

    deaf = False

    def get(self, name: str, payload: bytes) -> None:
        """Note that one was unknown."""
        self.deaf = self.deaf or name not in self.instance.devices
        if not self.deaf:
            super().get(name, payload)
