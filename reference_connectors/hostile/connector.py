"""A conforming connector in plain paho-mqtt, cut into small methods so that each can be broken alone."""

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import paho.mqtt.client as mqtt
from devices import Device, RefusedError, check
from session import LOG, Session
from settings import Environment, Instance, is_name

STALE_AFTER = 30.0
"""Seconds after which a command is not carried out any more (I2M-CMD-04)."""
REMEMBERED = 300.0
"""Seconds for which the id of a command is remembered (I2M-CMD-12)."""


class Connector(Session):
    """One instance and its devices."""

    def __init__(self, environment: Environment, instance: Instance) -> None:
        super().__init__(environment, instance)
        self.seen: dict[tuple[str, str], float] = {}

    # ------------------------------------------------------------------ publications
    def publish(self, suffix: str, value: Any, *, qos: int = 1, retain: bool = False) -> None:
        """Publish a JSON value."""
        LOG.debug("publishing on %s", suffix)
        self.client.publish(self.topic(suffix), self.encode(value), qos=qos, retain=retain)

    def encode(self, value: Any) -> str:
        """Return the value as strict JSON (I2M-PUB-02)."""
        return json.dumps(value, allow_nan=False)

    def timestamp(self) -> str:
        """Return the present time (I2M-PUB-03)."""
        return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def polled(self) -> list[Device]:
        """Return the devices that are polled (I2M-ENV-15)."""
        return [device for device in self.instance.devices.values() if device.enabled]

    def poll(self) -> None:
        """Publish the state of every enabled device, unless the broker is away (I2M-STATE-03)."""
        self.next_poll = time.monotonic() + self.instance.update_interval
        if self.online:
            for device in self.polled():
                self.publish_polled(device)

    def publish_polled(self, device: Device) -> None:
        """Publish what a poll has found."""
        self.publish_state(device)

    def publish_state(self, device: Device) -> None:
        """Publish a device's whole state, and each property on its own topic."""
        self.publish_whole(device, self.state_message(device, device.state))
        for name, value in device.state.items():
            self.publish_property(device, name, value)

    def publish_whole(self, device: Device, message: dict[str, Any]) -> None:
        """Publish a state message at the QoS and with the retain flag asked for (I2M-ENV-06, I2M-ENV-07)."""
        topic = f"devices/{device.device_id}/state"
        self.publish(topic, message, qos=self.environment.qos, retain=self.environment.retain)

    def publish_property(self, device: Device, name: str, value: Any) -> None:
        """Publish one property (I2M-STATE-04)."""
        topic = f"devices/{device.device_id}/state/{name}"
        self.publish(topic, value, qos=self.environment.qos, retain=self.environment.retain)

    def state_message(self, device: Device, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return the message that carries a state (I2M-STATE-02)."""
        return {"timestamp": self.timestamp(), "device_id": device.device_id, "state": dict(state)}

    def publish_event(self, device: Device, values: Mapping[str, Any]) -> None:
        """Tell that a command has changed a device (I2M-EVT-01)."""
        event = {"timestamp": self.timestamp(), "event": "changed", "data": dict(values)}
        self.publish(f"devices/{device.device_id}/events", event)

    def publish_error(self, device: Device, refusal: RefusedError) -> None:
        """Tell that a device cannot take a command (I2M-ERR-01)."""
        facts = {"error_code": refusal.code, "message": str(refusal), "severity": "warning"}
        self.publish(f"devices/{device.device_id}/error", {"timestamp": self.timestamp(), **facts})

    # ------------------------------------------------------------------ messages
    def receive(self, message: mqtt.MQTTMessage) -> None:
        """Handle a message; a retained one was meant for an earlier time (I2M-CMD-13)."""
        levels = message.topic.removeprefix(f"{self.root}/").split("/")
        if message.retain or not all(is_name(level) for level in levels):
            return
        LOG.debug("received %d bytes on %s", len(message.payload), message.topic)
        self.dispatch(levels, bytes(message.payload))

    def dispatch(self, levels: list[str], payload: bytes) -> None:
        """Hand a message to what handles its topic."""
        match levels:
            case ["devices", name, "cmd"]:
                self.obey(f"devices/{name}", payload, partial(self.command_device, name), {})
            case ["groups", name, "cmd"]:
                self.obey(f"groups/{name}", payload, partial(self.command_group, name), {"results": {}})
            case ["devices", name, "get"]:
                self.get(name, payload)
            case ["meta", "request", name]:
                self.answer_meta(name)

    def parse(self, payload: bytes) -> Any:
        """Parse strict JSON.

        Raises:
            RefusedError: It is none.
        """
        try:
            return json.loads(payload.decode(), parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise RefusedError("invalid_command", "the payload is no JSON text") from None

    # ------------------------------------------------------------------ commands
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
        try:
            self.check_age(command)
            answer = carry_out(self.values_of(command))
        except RefusedError as refusal:
            LOG.warning("a command for %s is refused: %s", target, refusal)
            answer = {**blank, **self.refusal(refusal)}
        self.finish(target, command_id, answer)

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
        age = (datetime.now(UTC) - self.moment(stamp)).total_seconds()
        if age > STALE_AFTER:
            raise RefusedError("stale_command", f"the command is {age:.0f} s old: send it again", retriable=True)

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

    def command_device(self, name: str, values: dict[str, Any]) -> dict[str, Any]:
        """Carry out a command for one device.

        Raises:
            RefusedError: There is no such device, or it cannot take the values.
        """
        device = self.commanded(name)
        return self.success(self.execute(device, values))

    def commanded(self, name: str) -> Device:
        """Return the device that a command is for (I2M-CMD-07).

        Raises:
            RefusedError: It is not configured, or it is disabled.
        """
        device = self.instance.devices.get(name)
        if device is None:
            raise RefusedError("unknown_device", f"no device {name[:40]!r} is configured")
        if not device.enabled:
            raise RefusedError("device_disabled", f"{name} is disabled")
        return device

    def execute(self, device: Device, values: dict[str, Any]) -> dict[str, Any]:
        """Set a device's values, publish what came of it, and return what took effect (I2M-CMD-01).

        Raises:
            RefusedError: The device cannot take the values; none of them is set (I2M-CMD-09).
        """
        try:
            self.check(values)
        except RefusedError as refusal:
            self.publish_error(device, refusal)
            raise
        self.apply(device, values)
        self.publish_state(device)
        self.publish_event(device, values)
        return values

    def check(self, values: dict[str, Any]) -> None:
        """See whether a device can take the values.

        Raises:
            RefusedError: It cannot.
        """
        check(values)

    def apply(self, device: Device, values: Mapping[str, Any]) -> None:
        """Set a device's values."""
        device.state.update(values)

    def command_group(self, name: str, values: dict[str, Any]) -> dict[str, Any]:
        """Carry out a command for every enabled member of a group (I2M-GROUP-01, I2M-GROUP-04).

        Raises:
            RefusedError: There is no such group.
        """
        results = {device.device_id: self.command_member(device, values) for device in self.members(name)}
        failed = sum(result["status"] == "error" for result in results.values())
        status = "success" if not failed else "error" if failed == len(results) else "partial"
        return {"status": status, "results": results}

    def command_member(self, device: Device, values: dict[str, Any]) -> dict[str, Any]:
        """Carry out a group command for one member, and return what came of it."""
        try:
            self.execute(device, values)
        except RefusedError as refusal:
            return self.refusal(refusal)
        return {"status": "success"}

    def members(self, name: str) -> list[Device]:
        """Return the members of a group that are known and enabled (I2M-GROUP-02).

        Raises:
            RefusedError: There is no such group.
        """
        if name not in self.instance.groups:
            raise RefusedError("unknown_group", f"no group {name[:40]!r} is configured")
        found = (self.instance.devices.get(member) for member in self.instance.groups[name])
        return [device for device in found if device is not None and device.enabled]

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

    # ------------------------------------------------------------------ questions
    def get(self, name: str, payload: bytes) -> None:
        """Answer a request for state; one for a device that is not polled has no answer (I2M-GET-04)."""
        device = self.instance.devices.get(name)
        if device is None or not device.enabled:
            return
        try:
            names = self.wanted(payload)
        except RefusedError as refusal:
            LOG.warning("a get for %s is ignored: %s", name, refusal)
            return
        if names is None:
            self.answer_whole(device)
        else:
            self.answer_part(device, names)

    def wanted(self, payload: bytes) -> list[str] | None:
        """Return the names of the properties that are asked for, or None for all (I2M-GET-01).

        Raises:
            RefusedError: The request cannot be understood.
        """
        request = self.parse(payload) if payload else {}
        names = request.get("properties") if isinstance(request, dict) else request
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise RefusedError("invalid_command", "properties must be a list of names")
        return names

    def answer_whole(self, device: Device) -> None:
        """Answer with the whole state, read now."""
        self.publish_state(device)

    def answer_part(self, device: Device, names: list[str]) -> None:
        """Answer with some properties; what is retained stays whole (I2M-GET-02, I2M-GET-03)."""
        part = {name: value for name, value in device.state.items() if name in names}
        self.publish(f"devices/{device.device_id}/state", self.state_message(device, part), qos=self.environment.qos)

    def answer_meta(self, name: str) -> None:
        """Answer a question about the instance; an unknown one has no answer (I2M-META-05)."""
        if name == "info":
            self.publish("meta/info", self.info())
        elif name == "devices_list":
            self.publish("meta/devices_list", [self.entry(device) for device in self.listed()])

    def info(self) -> dict[str, Any]:
        """Return what meta/info says (I2M-META-02)."""
        return {
            "instance_id": self.environment.instance_name,
            "connector_type": self.environment.connector_type,
            "devices_count": len(self.instance.devices),
            "groups_count": len(self.instance.groups),
            "uptime": self.uptime(),
        }

    def uptime(self) -> float:
        """Return the seconds since the start (I2M-META-03)."""
        return round(time.monotonic() - self.started, 3)

    def listed(self) -> list[Device]:
        """Return the devices that meta/devices_list names."""
        return list(self.instance.devices.values())

    def entry(self, device: Device) -> dict[str, Any]:
        """Return what meta/devices_list says of a device (I2M-META-01)."""
        return {
            "device_id": device.device_id,
            "global_id": f"{self.environment.instance_name}_{device.device_id}",
            "model": device.model,
            "enabled": device.enabled,
            "online": device.enabled,
        }


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON")
