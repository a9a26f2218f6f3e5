"""What an instance has published, in the contract's terms."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Published:
    """One message.

    Attributes:
        topic: The whole topic.
        suffix: The topic below the instance; None where it lies elsewhere.
        value: The parsed JSON; the bare word on the status topic; None where a retained topic was cleared.
        qos: 0, 1 or 2.
        retain: Whether the broker keeps it.
        at: When, in seconds of the virtual clock.
    """

    topic: str
    suffix: str | None
    value: Any
    qos: int
    retain: bool
    at: float


class Event(NamedTuple):
    """An event of a device."""

    name: str
    data: Any


@dataclass(frozen=True, slots=True)
class Response:
    """The response to a command.

    Attributes:
        document: The whole message.
    """

    document: Mapping[str, Any]

    @property
    def status(self) -> str:
        """`success` or `error`; of a group command also `partial`."""
        return str(self.document["status"])

    @property
    def result(self) -> Mapping[str, Any]:
        """The values that took effect; empty where the command was refused."""
        found: Mapping[str, Any] = self.document.get("result", {})
        return found

    @property
    def results(self) -> Mapping[str, Any]:
        """What became of a group command, by device id."""
        found: Mapping[str, Any] = self.document.get("results", {})
        return found

    @property
    def code(self) -> str | None:
        """Why it was refused, for programs, such as `invalid_value`; None where it was not."""
        code: str | None = self.document.get("error", {}).get("code")
        return code

    @property
    def message(self) -> str | None:
        """Why it was refused, for people; None where it was not."""
        message: str | None = self.document.get("error", {}).get("message")
        return message


class Records:
    """Answers questions about what was published.

    Attributes:
        published: Everything, in order.
    """

    def __init__(self, published: list[Published]) -> None:
        self.published = published

    def on(self, suffix: str) -> list[Any]:
        """Return the values that were published on a topic below the instance, in order."""
        return [message.value for message in list(self.published) if message.suffix == suffix]

    def states(self, device_id: str) -> list[dict[str, Any]]:
        """Return the states that were published for a device, in order."""
        return [value["state"] for value in self.on(f"devices/{device_id}/state")]

    def state(self, device_id: str) -> dict[str, Any] | None:
        """Return the state that was published last for a device, or None."""
        return next(reversed(self.states(device_id)), None)

    def events(self, device_id: str) -> list[Event]:
        """Return the events of a device, in order."""
        return [Event(value["event"], value["data"]) for value in self.on(f"devices/{device_id}/events")]

    def errors(self, device_id: str) -> list[dict[str, Any]]:
        """Return what was told to be wrong with a device, in order: error_code, message, severity, retry_info."""
        return self.on(f"devices/{device_id}/error")

    def availability(self, device_id: str) -> str | None:
        """Return what was last said of a device: `online`, `offline`, or None for nothing."""
        return next(reversed(self.on(f"devices/{device_id}/availability")), None)

    def response(self, cmd_id: str) -> Response | None:
        """Return the response to a command, of a device or a group, or None where there is none yet."""
        for message in list(self.published):
            ends = message.suffix is not None and message.suffix.endswith("/cmd/response")
            if ends and message.value["cmd_id"] == cmd_id:
                return Response(message.value)
        return None
