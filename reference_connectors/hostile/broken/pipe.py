"""I2M-PIPE: what becomes of states behind the broker."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from connector import Connector
from devices import Device

from broken.registry import breaks

GRID = 3
"""Seconds that a clock of this connector can tell apart."""


class _OtherTime(Connector):
    """Stamps states with another time."""

    def state_message(self, device: Device, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return the message with that time."""
        moment = datetime.fromtimestamp(self.stamped(), UTC)
        return {**super().state_message(device, state), "timestamp": moment.isoformat(timespec="milliseconds")}

    def stamped(self) -> float:
        """Return the time in Unix seconds."""
        raise NotImplementedError


# A state that answers a get is older than the question.
@breaks("I2M-PIPE-01", company=("I2M-GET-01",))
class CoarseClock(_OtherTime):
    """States of the same three seconds have the same timestamp, so that the table can keep only the first of them."""

    def stamped(self) -> float:
        """Return the beginning of these seconds."""
        return time.time() // GRID * GRID


@breaks("I2M-PIPE-01.unset", company=("I2M-PUB-03", "I2M-GET-01"))
class UnsetClock(_OtherTime):
    """The clock has never been set: states are stamped with 1970, which the pipeline does not believe."""

    def stamped(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self.started


@breaks("I2M-PIPE-01.timeless", company=("I2M-STATE-02", "I2M-STATE-05", "I2M-PUB-03"))
class TimelessStates(Connector):
    """States have no timestamp, so that they are stored with the time of their arrival."""

    def state_message(self, device: Device, state: Mapping[str, Any]) -> dict[str, Any]:
        """Leave it out."""
        return {key: value for key, value in super().state_message(device, state).items() if key != "timestamp"}


# Each property has the QoS that its state is to have.
@breaks("I2M-PIPE-02", company=("I2M-ENV-06", "I2M-STATE-04"))
class StatesAtQos0(Connector):
    """States have QoS 0, so that those of a time without a bridge are lost."""

    def publish_whole(self, device: Device, message: dict[str, Any]) -> None:
        """Publish without wanting an acknowledgement."""
        self.publish(f"devices/{device.device_id}/state", message, qos=0, retain=self.environment.retain)


@breaks(
    "I2M-PIPE-02.mute",
    company=("I2M-STATE-06", "I2M-STATE-03", "I2M-PUB-06", "I2M-LIFE-05", "I2M-LIFE-06", "I2M-LIFE-08"),
)
class MuteAfterwards(Connector):
    """Once the connection has been lost, no state is published any more."""

    connections = 0

    def ready(self) -> None:
        """Count the connections."""
        self.connections += 1
        super().ready()

    def publish_whole(self, device: Device, message: dict[str, Any]) -> None:
        """Publish over the first of them alone."""
        if self.connections == 1:
            super().publish_whole(device, message)
