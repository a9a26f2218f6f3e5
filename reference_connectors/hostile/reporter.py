"""What the connector tells of its lights by itself: polls, states, failures and events."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Event
from typing import Any

from devices import Device, RefusedError
from keeper import Keepers
from session import LOG, Session
from settings import Environment, Instance
from world import listen

LONGEST_BACKOFF = 8
"""Update intervals between two attempts to reach a device that does not answer, at the most (I2M-ERR-05)."""
STRUCK_WITHIN = 3.0
"""Seconds in which a stimulus takes effect."""
ALMOST = 0.9
"""The part of an interval after which the next poll may count as due: timers are not exact."""


class Reporter(Session):
    """One instance that polls its devices; Connector handles commands and questions besides."""

    def __init__(self, environment: Environment, instance: Instance) -> None:
        super().__init__(environment, instance)
        self.keepers = Keepers(lambda device: self.inbox.put(partial(self.bereave, device)))

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
                if time.monotonic() >= device.retry_at:
                    self.begin(device)

    def begin(self, device: Device) -> None:
        """Read a device; for one that takes its time nobody waits (I2M-STATE-08)."""
        if not device.delay:
            self.take(device)
        elif not device.awaited:
            device.awaited = True
            self.later(device.delay, partial(self.arrive, device))

    def arrive(self, device: Device) -> None:
        """Go on with a device that has taken its time."""
        device.awaited = False
        self.take(device)

    def take(self, device: Device) -> None:
        """Publish what a device answers, or that it does not."""
        try:
            self.read(device)
        except RefusedError as fault:
            self.lose(device, fault)
        else:
            device.failures, device.retry_at = 0, 0.0
            self.publish_polled(device)

    def read(self, device: Device) -> None:
        """Read a device; what is in memory is up to date.

        Raises:
            RefusedError: It does not answer.
        """
        self.keepers.keep(device)
        device.reach()

    def bereave(self, device: Device) -> None:
        """Tell at once that a light's keeper has died; the next attempt to read it starts another (I2M-LIFE-10)."""
        self.lose(device, RefusedError("device_error", f"the keeper of {device.device_id} has died", retriable=True))

    def lose(self, device: Device, fault: RefusedError) -> None:
        """Tell that a device does not answer, and when it is tried again (I2M-ERR-02, I2M-STATE-07)."""
        device.failures += 1
        wait = self.instance.update_interval * self.backoff(device)
        device.retry_at = time.monotonic() + wait * ALMOST
        self.publish_failure(device, fault, wait)
        self.publish_lost(device)

    def backoff(self, device: Device) -> int:
        """Return how many intervals to wait for the next attempt (I2M-ERR-05)."""
        return int(min(2 ** (device.failures - 1), LONGEST_BACKOFF))

    def publish_lost(self, device: Device) -> None:
        """Publish the state of a device of which nothing is known but that it does not answer (I2M-STATE-07)."""
        self.publish_whole(device, self.state_message(device, {"online": False}))
        self.publish_property(device, "online", False)

    def publish_polled(self, device: Device) -> None:
        """Publish what a poll has found."""
        self.publish_state(device)

    def publish_state(self, device: Device) -> None:
        """Publish a device's whole state, and each property on its own topic."""
        state = {**device.state, "online": True}
        self.publish_whole(device, self.state_message(device, state))
        for name, value in state.items():
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
        """Tell that a command has changed a device."""
        self.tell_event(device, {"timestamp": self.timestamp(), "event": "changed", "data": dict(values)})

    def tell_event(self, device: Device, event: dict[str, Any]) -> None:
        """Publish an event message (I2M-EVT-01)."""
        self.publish(f"devices/{device.device_id}/events", event)

    def publish_error(self, device: Device, refusal: RefusedError) -> None:
        """Tell that a device cannot take a command."""
        self.tell_error(device, {"error_code": refusal.code, "message": str(refusal), "severity": "warning"})

    def publish_failure(self, device: Device, fault: RefusedError, wait: float) -> None:
        """Tell that a device did not answer, and in how many seconds it is tried again (I2M-ERR-05)."""
        again = (datetime.now(UTC) + timedelta(seconds=wait)).isoformat(timespec="milliseconds")
        facts = {"error_code": fault.code, "message": str(fault), "severity": "error"}
        self.tell_error(device, {**facts, "retry_info": {"attempt": device.failures, "next_retry": again}})

    def tell_error(self, device: Device, facts: dict[str, Any]) -> None:
        """Publish an error message (I2M-ERR-01)."""
        self.publish(f"devices/{device.device_id}/error", {"timestamp": self.timestamp(), **facts})

    # ------------------------------------------------------------------ the world
    def run(self) -> int:
        """Work until a signal, and let stimulus.py reach the lights meanwhile."""
        if self.instance.port is not None:
            listen(self.instance.port, self.happen)
        return super().run()

    def happen(self, words: list[str]) -> bool:
        """Let something happen to a light; returns, once it has happened, whether the words were understood."""
        match words:
            case ["fail" | "recover" | "slow" | "press" as verb, name, *rest] if name in self.instance.devices:
                done = Event()
                self.inbox.put(partial(self.strike, verb, self.instance.devices[name], rest))
                self.inbox.put(done.set)
                return done.wait(STRUCK_WITHIN)
        return False

    def strike(self, verb: str, device: Device, rest: list[str]) -> None:
        """Do to a device what a stimulus says."""
        match verb:
            case "fail":
                device.failing = True
            case "recover":
                device.failing, device.delay = False, 0.0
            case "slow":
                device.delay = float(rest[0])
            case "press":
                self.pressed(device)

    def pressed(self, device: Device) -> None:
        """Tell at once that somebody has pressed a device's button (I2M-EVT-02)."""
        self.tell_event(device, {"timestamp": self.timestamp(), "event": "pressed", "data": {}})
