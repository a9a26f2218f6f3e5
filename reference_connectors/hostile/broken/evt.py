"""I2M-EVT: events of devices."""

from functools import partial
from typing import Any

from connector import Connector
from devices import Device

from broken.registry import breaks


class _OtherEvent(Connector):
    """Changes what an event message says."""

    def tell_event(self, device: Device, event: dict[str, Any]) -> None:
        """Publish the changed message."""
        self.publish(f"devices/{device.device_id}/events", self.changed(event))

    def changed(self, event: dict[str, Any]) -> Any:
        """Return it."""
        raise NotImplementedError


@breaks("I2M-EVT-01")
class NoData(_OtherEvent):
    """An event has no data where there are none."""

    def changed(self, event: dict[str, Any]) -> Any:
        """Leave an empty object out."""
        return {key: value for key, value in event.items() if value != {}}


@breaks("I2M-EVT-01.type")
class TypeForEvent(_OtherEvent):
    """The name of the event is called `type`."""

    def changed(self, event: dict[str, Any]) -> Any:
        """Rename it."""
        return {"type" if key == "event" else key: value for key, value in event.items()}


@breaks("I2M-EVT-01.timeless")
class NoTime(_OtherEvent):
    """An event has no timestamp."""

    def changed(self, event: dict[str, Any]) -> Any:
        """Leave it out."""
        return {key: value for key, value in event.items() if key != "timestamp"}


@breaks("I2M-EVT-01.bare")
class BareName(_OtherEvent):
    """An event is its name, as a JSON string."""

    def changed(self, event: dict[str, Any]) -> Any:
        """Return the name."""
        return event["event"]


class _OtherFlags(Connector):
    """Publishes events with other flags."""

    flags: dict[str, Any]

    def tell_event(self, device: Device, event: dict[str, Any]) -> None:
        """Publish with those."""
        self.publish(f"devices/{device.device_id}/events", event, **self.flags)


@breaks("I2M-EVT-01.retained")
class EventsRetained(_OtherFlags):
    """Events are retained, so that a subscriber of tomorrow takes them for news."""

    flags = {"retain": True}  # noqa: RUF012 - read only


@breaks("I2M-EVT-01.qos")
class EventsAtQos0(_OtherFlags):
    """Events have QoS 0."""

    flags = {"qos": 0}  # noqa: RUF012 - read only


@breaks("I2M-EVT-02")
class AtTheNextPoll(Connector):
    """An event waits for the next poll."""

    waiting: Device | None = None

    def pressed(self, device: Device) -> None:
        """Keep it."""
        self.waiting = device

    def poll(self) -> None:
        """Publish what was kept."""
        if self.waiting is not None:
            super().pressed(self.waiting)
        self.waiting = None
        super().poll()


@breaks("I2M-EVT-02.batch")
class InBatches(Connector):
    """Events are collected for seconds."""

    def pressed(self, device: Device) -> None:
        """Publish it then."""
        self.later(4.5, partial(super().pressed, device))


@breaks("I2M-EVT-02.state")
class AsState(Connector):
    """What happened is published as a state, and not as an event."""

    def pressed(self, device: Device) -> None:
        """Publish the state."""
        self.publish_state(device)
