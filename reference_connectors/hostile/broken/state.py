"""I2M-STATE: device state."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from connector import Connector
from devices import Device, RefusedError

from broken.registry import breaks

UNSEEN = (
    *("I2M-ENV-09", "I2M-ENV-14", "I2M-PUB-06", "I2M-STATE-03", "I2M-STATE-06", "I2M-STATE-08"),
    *("I2M-ERR-03", "I2M-ERR-04", "I2M-LIFE-05", "I2M-LIFE-06", "I2M-LIFE-08", "I2M-LIFE-09", "I2M-LIFE-10"),
    "I2M-LIFE-11",
)
"""All of them look for the state of every device."""
REPEATED = tuple(clause for clause in UNSEEN if clause != "I2M-STATE-03")


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


# It is the one that fails as well, which nobody notices either.
@breaks("I2M-STATE-01.first", company=(*UNSEEN, "I2M-STATE-07", "I2M-META-04", "I2M-ERR-02", "I2M-ERR-05"))
class FirstDeviceForgotten(Connector):
    """The first of the devices, which is commanded at once, is not polled, and so seen when it has changed only."""

    def polled(self) -> list[Device]:
        """Return one too few."""
        return super().polled()[1:]


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


# Nor is there a state after a reconnection.
@breaks("I2M-STATE-02.flat", company=("I2M-PUB-06",))
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


# ---------------------------------------------------------------------- rhythm
SELDOM = ("I2M-ERR-02", "I2M-ERR-04", "I2M-META-04", "I2M-STATE-08")
"""What is polled seldom is seldom found to fail, or to be back."""


@breaks("I2M-STATE-03", company=SELDOM)
class OtherInterval(Connector):
    """update_interval is not that of the configuration."""

    def poll(self) -> None:
        """Poll, and note another time."""
        super().poll()
        self.next_poll += 2


@breaks("I2M-STATE-03.often", company=("I2M-ERR-05",))
class TooOften(Connector):
    """update_interval is taken for something shorter."""

    def poll(self) -> None:
        """Poll, and note another time."""
        super().poll()
        self.next_poll = time.monotonic() + max(self.instance.update_interval / 5, 0.2)


@breaks("I2M-STATE-03.drift", company=SELDOM)
class PauseAfterwards(Connector):
    """A round of polls takes most of the interval, and the pause comes after it."""

    def poll(self) -> None:
        """Take a while."""
        super().poll()
        self.next_poll += 0.8


@breaks("I2M-STATE-03.turns")
class TakingTurns(Connector):
    """The last device is polled every other time only."""

    odd = False

    def poll(self) -> None:
        """Note whose turn it is."""
        self.odd = not self.odd
        super().poll()

    def publish_polled(self, device: Device) -> None:
        """Leave the last one out in the other rounds."""
        if self.odd or device is not self.polled()[-1]:
            super().publish_polled(device)


@breaks("I2M-STATE-03.changes", company=REPEATED)
class ChangesOnly(Connector):
    """What a poll finds is published only where it has changed; so a broker that forgets it does not get it again."""

    def publish_polled(self, device: Device) -> None:
        """Compare it with the last."""
        known: dict[str, object] = self.__dict__.setdefault("known", {})
        if known.get(device.device_id) != device.state:
            super().publish_polled(device)
        known[device.device_id] = dict(device.state)


# ---------------------------------------------------------------------- properties
@breaks("I2M-STATE-04")
class PropertiesAsTexts(Connector):
    """Property topics carry texts."""

    def publish_property(self, device: Device, name: str, value: Any) -> None:
        """Turn the value into one."""
        super().publish_property(device, name, str(value))


@breaks("I2M-STATE-04.rounded")
class WholeDegrees(Connector):
    """Property topics carry whole numbers."""

    def publish_property(self, device: Device, name: str, value: Any) -> None:
        """Round the value."""
        super().publish_property(device, name, round(value) if isinstance(value, float) else value)


@breaks("I2M-STATE-04.late")
class OneBehind(Connector):
    """Property topics carry the value of the poll before."""

    def publish_property(self, device: Device, name: str, value: Any) -> None:
        """Publish the last one, and keep this one."""
        last: dict[tuple[str, str], Any] = self.__dict__.setdefault("last", {})
        super().publish_property(device, name, last.get((device.device_id, name), value))
        last[device.device_id, name] = value


@breaks("I2M-STATE-04.once")
class PropertiesOnce(Connector):
    """Property topics are published at the start, and never again."""

    def publish_property(self, device: Device, name: str, value: Any) -> None:
        """Publish the first value."""
        done: set[tuple[str, str]] = self.__dict__.setdefault("done", set())
        if (device.device_id, name) not in done:
            super().publish_property(device, name, value)
        done.add((device.device_id, name))


@breaks("I2M-STATE-04.missing")
class NumbersOnly(Connector):
    """Only numbers have property topics."""

    def publish_property(self, device: Device, name: str, value: Any) -> None:
        """Leave the others out."""
        if not isinstance(value, bool):
            super().publish_property(device, name, value)


@breaks("I2M-STATE-04.retain")
class PropertiesNotRetained(Connector):
    """Property topics are not retained, while the state is."""

    def publish_property(self, device: Device, name: str, value: Any) -> None:
        """Publish without the flag."""
        self.publish(f"devices/{device.device_id}/state/{name}", value, qos=self.environment.qos)


@breaks("I2M-STATE-04.qos")
class PropertiesAtQos0(Connector):
    """Property topics have QoS 0, while the state has 1."""

    def publish_property(self, device: Device, name: str, value: Any) -> None:
        """Publish with the other flag only."""
        self.publish(f"devices/{device.device_id}/state/{name}", value, qos=0, retain=self.environment.retain)


# ---------------------------------------------------------------------- after the broker's restart
class _Reconnected(Connector):
    """Knows whether it has been online before."""

    onlines = 0

    def announce(self) -> None:
        """Count."""
        super().announce()
        self.onlines += 1


@breaks("I2M-STATE-06", company=("I2M-LIFE-05", "I2M-LIFE-06", "I2M-PUB-06"))
class TrustsTheBroker(_Reconnected):
    """After a reconnection it publishes only what is asked for: the broker has the rest, it thinks."""

    def publish_polled(self, device: Device) -> None:
        """Publish before the first loss only: what waits for the broker would be sent afterwards."""
        if self.onlines <= 1 and self.client.is_connected():
            super().publish_polled(device)


@breaks("I2M-STATE-06.late")
class TakesItsTime(_Reconnected):
    """After a reconnection it polls again some intervals later."""

    def announce(self) -> None:
        """Note when."""
        super().announce()
        self.resumed = time.monotonic() + (2 * self.instance.update_interval + 2.5 if self.onlines > 1 else 0.0)

    def polled(self) -> list[Device]:
        """Return nothing before that."""
        return super().polled() if time.monotonic() >= self.resumed else []


@breaks("I2M-STATE-06.unretained")
class NotRetainedAgain(_Reconnected):
    """After a reconnection states are published, but not for the broker to keep."""

    def publish(self, suffix: str, value: Any, *, qos: int = 1, retain: bool = False) -> None:
        """Publish without the flag then."""
        super().publish(suffix, value, qos=qos, retain=retain and self.onlines <= 1)


# ---------------------------------------------------------------------- devices that do not answer
@breaks("I2M-STATE-07")
class LastValues(Connector):
    """The last values of a device that does not answer are published on."""

    def publish_lost(self, device: Device) -> None:
        """Publish them with the time of now."""
        self.publish_state(device)


@breaks("I2M-STATE-07.between")
class LastValuesBetween(Connector):
    """It says that the device is offline, and publishes its last values until the next attempt."""

    def poll(self) -> None:
        """Publish what is known of those that are not due."""
        for device in self.polled():
            if not device.online:
                self.publish_state(device)
        super().poll()


@breaks("I2M-STATE-07.cache")
class AnswersFromTheCache(Connector):
    """A get for a device that does not answer is answered with its last values."""

    def answer_whole(self, device: Device) -> None:
        """Ask nobody."""
        self.publish_state(device)


@breaks("I2M-STATE-07.silent")
class SilentlyGone(Connector):
    """A device that does not answer is not published any more, and nothing says that it is offline."""

    def publish_lost(self, device: Device) -> None:
        """Say nothing."""


@breaks("I2M-STATE-08")
class OneAfterAnother(Connector):
    """Devices are polled one after another, however long one takes."""

    def begin(self, device: Device) -> None:
        """Wait for the answer."""
        time.sleep(device.delay)
        self.take(device)


@breaks("I2M-STATE-08.timeout")
class WaitsForATimeout(Connector):
    """Devices are polled one after another, each for 1.4 s at most, and the pause comes after that."""

    def poll(self) -> None:
        """Count the interval from the end."""
        super().poll()
        self.next_poll = time.monotonic() + self.instance.update_interval

    def begin(self, device: Device) -> None:
        """Wait for an answer that does not come."""
        if device.delay:
            time.sleep(1.4)
            self.lose(device, RefusedError("device_error", "no answer in time"))
            device.retry_at = 0.0
        else:
            self.take(device)


@breaks("I2M-STATE-08.once")
class OneLongWait(Connector):
    """The first slow poll is waited for; after it the device is left alone."""

    def begin(self, device: Device) -> None:
        """Wait once."""
        time.sleep(device.delay)
        self.take(device)
        if device.delay:
            device.retry_at = time.monotonic() + 60
