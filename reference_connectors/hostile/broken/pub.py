"""I2M-PUB: what every publication obeys."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from connector import Connector
from devices import Device

from broken.registry import breaks

OUTSIDE = ("I2M-ENV-01",)
"""A topic outside the instance does not begin with its root."""
NO_TOPIC = ("I2M-PUB-05",)
"""A topic with a level too many, or an empty one, is none of the contract's."""
NO_ORDER = ("I2M-STATE-05",)
"""The order of timestamps cannot be judged where none can be read."""
NO_EVENT = ("I2M-EVT-01",)
"""An event message is a JSON object of one form, and that includes the timestamp's."""
NO_TIMESTAMP = (
    *("I2M-STATE-02", "I2M-CMD-02", "I2M-CMD-05", "I2M-CMD-14", "I2M-GROUP-04", "I2M-ERR-01"),
    *(*NO_EVENT, *NO_ORDER),
)
"""So have states, responses and errors."""


@breaks("I2M-PUB-01", company=OUTSIDE)
class Discovery(Connector):
    """It announces its devices to another application, undeclared."""

    def publish_polled(self, device: Device) -> None:
        """Announce the device with each poll."""
        super().publish_polled(device)
        self.client.publish(f"homeassistant/light/{device.device_id}/config", self.encode({"name": device.model}))


@breaks("I2M-PUB-01.global", company=OUTSIDE)
class GlobalLog(Connector):
    """It writes to a topic of all instances that is not global/events."""

    def announce(self) -> None:
        """Write there first."""
        self.client.publish(f"{self.environment.base}/v1/global/log", self.encode("ready"), qos=1)
        super().announce()


class _RawProperty(Connector):
    """Writes the payload of property topics by hand."""

    def publish_property(self, device: Device, name: str, value: Any) -> None:
        """Publish what `raw` makes of the value."""
        topic = self.topic(f"devices/{device.device_id}/state/{name}")
        self.client.publish(topic, self.raw(value), qos=self.environment.qos, retain=self.environment.retain)

    def raw(self, value: Any) -> str:
        """Return the payload."""
        raise NotImplementedError


@breaks("I2M-PUB-02")
class PythonWords(_RawProperty):
    """Property topics say True and False."""

    def raw(self, value: Any) -> str:
        """Return the value as Python shows it."""
        return str(value)


@breaks("I2M-PUB-02.on_off")
class BareWords(_RawProperty):
    """Property topics say ON and OFF without quotation marks."""

    def raw(self, value: Any) -> str:
        """Return words for booleans."""
        return ("ON" if value else "OFF") if isinstance(value, bool) else self.encode(value)


@breaks("I2M-PUB-02.nan")
class NotANumber(_RawProperty):
    """A sensor without a reading says NaN."""

    def raw(self, value: Any) -> str:
        """Return NaN for the temperature."""
        return "NaN" if isinstance(value, float) else self.encode(value)


@breaks("I2M-PUB-02.empty", company=NO_EVENT)
class EmptyPayload(Connector):
    """An event has an empty payload."""

    def publish_event(self, device: Device, _values: Mapping[str, Any]) -> None:
        """Publish nothing."""
        self.client.publish(self.topic(f"devices/{device.device_id}/events"), b"", qos=1)


@breaks("I2M-PUB-02.latin1", company=NO_EVENT)
class Latin1(Connector):
    """An event is JSON, but not UTF-8."""

    def publish_event(self, device: Device, _values: Mapping[str, Any]) -> None:
        """Publish an umlaut of one byte."""
        payload = '{"event": "geändert", "data": {}}'.encode("latin-1")
        self.client.publish(self.topic(f"devices/{device.device_id}/events"), payload, qos=1)


@breaks("I2M-PUB-02.quotes", company=NO_EVENT)
class SingleQuotes(Connector):
    """An event is a Python dict, as print shows it."""

    def publish_event(self, device: Device, values: Mapping[str, Any]) -> None:
        """Publish its repr."""
        event = {"timestamp": self.timestamp(), "event": "changed", "data": dict(values)}
        self.client.publish(self.topic(f"devices/{device.device_id}/events"), repr(event), qos=1)


@breaks("I2M-PUB-02.two", company=NO_EVENT)
class TwoTexts(Connector):
    """An event is followed by a second JSON text in the same payload."""

    def publish_event(self, device: Device, values: Mapping[str, Any]) -> None:
        """Publish two lines of JSON."""
        lines = f"{self.encode({'event': 'changed', 'data': dict(values)})}\n{self.encode({})}"
        self.client.publish(self.topic(f"devices/{device.device_id}/events"), lines, qos=1)


@breaks("I2M-PUB-03", company=NO_TIMESTAMP)
class EpochTime(Connector):
    """Timestamps are numbers: seconds since 1970."""

    def timestamp(self) -> Any:
        """Return a number."""
        return datetime.now(UTC).timestamp()


@breaks("I2M-PUB-03.naive", company=NO_TIMESTAMP)
class NaiveTime(Connector):
    """Timestamps are local and have no offset."""

    def timestamp(self) -> str:
        """Return what datetime gives who asks for nothing."""
        return datetime.now().isoformat()  # noqa: DTZ005 - this is the fault


@breaks("I2M-PUB-03.naive_events", company=NO_EVENT)
class NaiveTimeInEvents(Connector):
    """The timestamps of events have no offset."""

    def publish_event(self, device: Device, values: Mapping[str, Any]) -> None:
        """Publish it with such a one."""
        stamp = datetime.now(UTC).replace(tzinfo=None).isoformat()
        event = {"timestamp": stamp, "event": "changed", "data": dict(values)}
        self.publish(f"devices/{device.device_id}/events", event)


@breaks("I2M-PUB-03.local_z")
class LocalTimeAsUtc(Connector):
    """Timestamps are local, with a Z behind them."""

    def timestamp(self) -> str:
        """Return local time and call it UTC."""
        return f"{datetime.now().isoformat(timespec='milliseconds')}Z"  # noqa: DTZ005 - this is the fault


@breaks("I2M-PUB-03.hour")
class AnHourAhead(Connector):
    """Timestamps are an hour ahead, as after a change to summer time."""

    def timestamp(self) -> str:
        """Return the time in an hour."""
        return (datetime.now(UTC) + timedelta(hours=1)).isoformat()


@breaks("I2M-PUB-03.late", company=("I2M-GET-01",))
class TenSecondsLate(Connector):
    """Timestamps are ten seconds behind; so an answer to a get is older than the question."""

    def timestamp(self) -> str:
        """Return the time of before."""
        return (datetime.now(UTC) - timedelta(seconds=10)).isoformat()


@breaks("I2M-PUB-03.space", company=NO_ORDER)
class SpaceInTime(Connector):
    """Date and time are parted by a space, which ISO 8601 does not allow."""

    def timestamp(self) -> str:
        """Return the time as Python's str shows it."""
        return str(datetime.now(UTC))


MOMENT = 0.1
"""Seconds that some work takes, in which a connection may end."""


class _OddTopic(Connector):
    """Publishes one thing more with each poll, on an odd topic."""

    def publish_polled(self, device: Device) -> None:
        """Publish that too."""
        super().publish_polled(device)
        self.publish(self.odd(device), 1)

    def odd(self, device: Device) -> str:
        """Return the topic below the instance."""
        raise NotImplementedError


@breaks("I2M-PUB-04", company=NO_TOPIC)
class SlashInAProperty(_OddTopic):
    """A property's name holds a `/`."""

    def odd(self, device: Device) -> str:
        """Return a topic of one level too many."""
        return f"devices/{device.device_id}/state/power/total"


@breaks("I2M-PUB-04.empty", company=NO_TOPIC)
class EmptyProperty(_OddTopic):
    """A property's name is empty."""

    def odd(self, device: Device) -> str:
        """Return a topic whose last level is empty."""
        return f"devices/{device.device_id}/state/"


@breaks("I2M-PUB-04.device", company=NO_TOPIC)
class SlashInADevice(_OddTopic):
    """A device id holds a `/`."""

    def odd(self, device: Device) -> str:
        """Return a topic in which the room comes before the device."""
        return f"devices/room/{device.device_id}/telemetry"


@breaks("I2M-PUB-04.group", company=NO_TOPIC)
class SlashInAGroup(_OddTopic):
    """A group id holds a `/`."""

    def odd(self, _device: Device) -> str:
        """Return a topic in which the house comes before the group."""
        return "groups/house/room/state"


@breaks("I2M-PUB-05")
class LogTopic(Connector):
    """It publishes its log."""

    def announce(self) -> None:
        """Publish a line."""
        self.publish("log", "ready")
        super().announce()


@breaks("I2M-PUB-05.device")
class LinkQuality(_OddTopic):
    """It has a topic of its own for each device."""

    def odd(self, device: Device) -> str:
        """Return it."""
        return f"devices/{device.device_id}/linkquality"


@breaks("I2M-PUB-05.meta")
class MetaVersion(_OddTopic):
    """It tells its version as meta data that nobody asks for."""

    def odd(self, _device: Device) -> str:
        """Return the topic."""
        return "meta/version"


@breaks("I2M-PUB-05.response")
class SecondResponse(_OddTopic):
    """It has a second topic for responses."""

    def odd(self, device: Device) -> str:
        """Return it."""
        return f"devices/{device.device_id}/cmd/ack"


@breaks("I2M-PUB-06")
class DropsWhileAway(Connector):
    """What it has to say while there is no connection is lost."""

    def publish(self, suffix: str, value: Any, *, qos: int = 1, retain: bool = False) -> None:
        """Publish it if somebody listens."""
        if self.client.is_connected():
            super().publish(suffix, value, qos=qos, retain=retain)

    def dispatch(self, levels: list[str], payload: bytes) -> None:
        """Work for a moment: a connection that ends in that time is noticed."""
        if levels[-1] == "cmd":
            self.disconnected.wait(MOMENT)
        super().dispatch(levels, payload)


@breaks("I2M-PUB-06.qos")
class ResponsesAtQos0(Connector):
    """Responses have QoS 0, so that one is lost with the connection."""

    def publish(self, suffix: str, value: Any, *, qos: int = 1, retain: bool = False) -> None:
        """Publish them so."""
        super().publish(suffix, value, qos=0 if suffix.endswith("/response") else qos, retain=retain)

    def dispatch(self, levels: list[str], payload: bytes) -> None:
        """Work for a moment: the connection may end in that time."""
        if levels[-1] == "cmd":
            self.disconnected.wait(MOMENT)
        super().dispatch(levels, payload)


@breaks("I2M-PUB-06.undone")
class ForgetsWhileAway(Connector):
    """It answers a command that it was given before the connection was lost, but does not carry it out."""

    def apply(self, device: Device, values: Mapping[str, Any]) -> None:
        """Set values while there is a connection."""
        if not self.disconnected.wait(MOMENT):
            super().apply(device, values)


@breaks("I2M-PUB-06.states", company=("I2M-STATE-06", "I2M-LIFE-05", "I2M-LIFE-06"))
class SilentAfterAnOutage(Connector):
    """After a lost connection it publishes no states any more."""

    lost = False

    def forget_online(self) -> None:
        """A connection is lost."""
        super().forget_online()
        self.lost = True

    def polled(self) -> list[Device]:
        """Return nothing after that."""
        return [] if self.lost else super().polled()
