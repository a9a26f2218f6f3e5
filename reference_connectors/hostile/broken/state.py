"""I2M-STATE: device state."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from connector import Connector
from devices import Device

from broken.registry import breaks

UNSEEN = ("I2M-ENV-09", "I2M-LIFE-05")
"""The configured devices appear in state topics, and are published again after a broker's restart."""


@breaks("I2M-STATE-01", company=UNSEEN)
class SilentUntilCommanded(Connector):
    """It publishes a state only when one has changed."""

    def publish_polled(self, device: Device) -> None:
        """Publish nothing."""


@breaks("I2M-STATE-01.last", company=UNSEEN)
class LastDeviceForgotten(Connector):
    """The last of the devices is not polled."""

    def polled(self) -> list[Device]:
        """Return one too few."""
        return super().polled()[:-1]


@breaks("I2M-STATE-02")
class GlobalIdInState(Connector):
    """device_id is the global id instead of the topic's."""

    def state_message(self, device: Device, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return the message with it."""
        global_id = f"{self.environment.instance_name}_{device.device_id}"
        return {**super().state_message(device, state), "device_id": global_id}


class _WithoutKey(Connector):
    """Leaves a key out of its state messages."""

    missing: str

    def state_message(self, device: Device, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return the message without that key."""
        return {key: value for key, value in super().state_message(device, state).items() if key != self.missing}


@breaks("I2M-STATE-02.no_device_id")
class NoDeviceId(_WithoutKey):
    """A state message has no device_id."""

    missing = "device_id"


@breaks("I2M-STATE-02.no_timestamp", company=("I2M-STATE-05",))
class NoTimestamp(_WithoutKey):
    """A state message has no timestamp; so there is no order that could be judged."""

    missing = "timestamp"


@breaks("I2M-STATE-02.null")
class NullState(Connector):
    """A poll that found nothing is published as a state of null."""

    def publish_polled(self, device: Device) -> None:
        """Publish null for one of the devices."""
        if device is self.polled()[-1]:
            self.publish_whole(device, {**self.state_message(device, {}), "state": None})
        else:
            super().publish_polled(device)


@breaks("I2M-STATE-02.flat")
class FlatState(Connector):
    """A poll's properties stand beside the timestamp, not under `state`."""

    def publish_polled(self, device: Device) -> None:
        """Publish a flat object."""
        self.publish_whole(device, {"timestamp": self.timestamp(), "device_id": device.device_id, **device.state})


@breaks("I2M-STATE-05")
class ClockJumps(Connector):
    """Every other state is stamped two seconds ahead."""

    ahead = False

    def state_message(self, device: Device, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return a message with the clock of one of two sources."""
        self.ahead = not self.ahead
        stamp = datetime.now(UTC) + timedelta(seconds=2 if self.ahead else 0)
        return {**super().state_message(device, state), "timestamp": stamp.isoformat()}


@breaks("I2M-STATE-05.rounded")
class RoundedTimes(Connector):
    """Polls are stamped with milliseconds, answers with whole seconds, which lie before them."""

    whole = True

    def state_message(self, device: Device, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return a message with the time of its kind."""
        stamp = datetime.now(UTC).isoformat(timespec="seconds" if self.whole else "milliseconds")
        return {**super().state_message(device, state), "timestamp": stamp}

    def publish_polled(self, device: Device) -> None:
        """Publish with milliseconds."""
        self.whole = False
        super().publish_polled(device)
        self.whole = True
