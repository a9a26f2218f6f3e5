"""A conforming connector in plain paho-mqtt, cut into small methods so that each can be broken alone."""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import paho.mqtt.client as mqtt
from devices import Device, RefusedError, check
from orders import Orders
from session import LOG
from settings import is_name


class Connector(Orders):
    """One instance and its devices."""

    # ------------------------------------------------------------------ messages
    def receive(self, message: mqtt.MQTTMessage) -> None:
        """Handle a message; a retained one was meant for an earlier time (I2M-CMD-13)."""
        levels = message.topic.removeprefix(f"{self.root}/").split("/")
        if levels[2:3] == ["state"]:
            self.clear_leftover(message)
            return
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

    # ------------------------------------------------------------------ commands
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
            self.read(device)
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
        try:
            self.read(device)
        except RefusedError as fault:
            self.lose(device, fault)
        else:
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

    def is_reachable(self, device: Device) -> bool:
        """Whether a device can be reached now, as far as is known (I2M-META-04)."""
        return device.enabled and device.online

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
            "online": self.is_reachable(device),
        }
