"""Reads devices and tells of it: on time, each on its own, with backoff for those that fail."""

import logging
import random
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from iot2mqtt_sdk.errors import PayloadError
from iot2mqtt_sdk.runtime.context import Context
from iot2mqtt_sdk.runtime.device import OFFLINE_AFTER, DeviceState
from iot2mqtt_sdk.runtime.hooks import call

_log = logging.getLogger("iot2mqtt")

HANGING = 5.0
"""Seconds, and at least two intervals, after which a poll that has not ended is told of."""
MANY = 50
"""Devices from which on the first polls are spread over the interval."""


class Poller:
    """Polls devices.

    Args:
        context: What the parts of the connector share.
        read: The hook get_device_state, or None where devices tell of themselves.
        interval: Seconds between two polls of a device; None means that nothing is polled.
    """

    def __init__(self, context: Context, *, read: Callable[..., Any] | None, interval: float | None) -> None:
        self.read = read
        self._mqtt = context.mqtt
        self._engine = context.engine
        self._clock = context.clock
        self._mask = context.mask
        self._interval = interval if read is not None else None
        self._stopped = False

    def start(self, devices: list[DeviceState]) -> None:
        """Begin to poll the devices."""
        if self._interval is None:
            return
        gap = self._interval / len(devices) if len(devices) > MANY else 0.0
        for number, device in enumerate(devices):
            self._schedule(device, number * gap)

    def stop(self) -> None:
        """Tell nothing more: what fails from now on fails because of the shutdown."""
        self._stopped = True

    def refresh(self, device: DeviceState) -> None:
        """Publish a device's state once more, because the broker may have forgotten it (clause I2M-STATE-06)."""
        if self._interval is None:
            self._mqtt.republish_state(device.id)
        elif self._mqtt.last_state(device.id) is not None:
            self._submit(device)

    # ------------------------------------------------------------------ polling
    def _schedule(self, device: DeviceState, seconds: float) -> None:
        device.timer.cancel()
        device.timer = self._engine.after(seconds, partial(self._due, device))

    def _due(self, device: DeviceState) -> None:
        if device.polling:
            self._check_hanging(device)
        self._submit(device)
        # In any case, also where the end of the poll will say when the next one is: it may not end, or have ended but
        # for its last step, so that the device still counts as busy.
        if self._interval is not None:
            self._schedule(device, self._interval * device.backoff())

    def _submit(self, device: DeviceState) -> None:
        """Poll a device soon; while it is still busy with the last poll, this one is left out."""
        if not device.polling:
            device.polling = True
            device.since = self._clock.monotonic()
            self._engine.submit(device.lane, lambda: self._poll(device))

    def _check_hanging(self, device: DeviceState) -> None:
        """Tell once of a device whose poll does not come to an end: nobody else would."""
        seconds = self._clock.monotonic() - device.since
        if device.hanging or self._stopped or self._interval is None or seconds < max(HANGING, 2 * self._interval):
            return
        device.hanging = True
        device.online = False
        text = f"the device has not been read for {seconds:.0f} s: get_device_state does not return"
        _log.warning("%s: %s", device.id, text)
        self._mqtt.publish_error(device.id, "TIMEOUT", text)
        self.say_availability(device)

    async def _poll(self, device: DeviceState) -> None:
        try:
            # While the broker is away only what is not known yet is read: the rest is read again when it is back.
            if self._mqtt.connected or self._mqtt.last_state(device.id) is None:
                await self.publish_reading(device)
        finally:
            device.polling = False

    async def publish_reading(self, device: DeviceState) -> None:
        """Read a device and publish its state; what goes wrong is published as well."""
        news = device.news
        try:
            state = await self.reading(device)
            if self._stopped:
                return
            with device.telling:
                # What the connector published by itself meanwhile is newer: a reading would undo it.
                if device.news == news:
                    with device.present():
                        self._mqtt.publish_state(device.id, state)
        except PayloadError as error:
            self._failed(device, "INVALID_STATE", str(error))
        except Exception as error:  # noqa: BLE001 - whatever a hook raises, this device cannot be read now
            _log.debug("reading %s failed", device.id, exc_info=True)
            self._failed(device, "CONNECTION_FAILED", describe(error))
        else:
            self.reached(device)

    async def reading(self, device: DeviceState) -> Mapping[str, Any]:
        """Return what the hook reads; it raises whatever the hook raises.

        Raises:
            PayloadError: The hook returned no state.
        """
        if self.read is None:
            return self._mqtt.last_state(device.id) or {}
        began, state = self._clock.monotonic(), None
        try:
            state = await call(self.read, device.id, device.config)
        finally:
            self._mqtt.figures.count_poll(began, self._clock.monotonic(), good=isinstance(state, Mapping))
        if not isinstance(state, Mapping):
            raise PayloadError(f"get_device_state must return a dict of property to value, not {type(state).__name__}")
        return state

    # ------------------------------------------------------------------ reachability
    def reached(self, device: DeviceState) -> None:
        """There is news of a device, so it is there; it is polled as usual again."""
        if device.failures and self._interval is not None:
            self._schedule(device, self._interval)
        device.failures = 0
        device.hanging = False
        device.online = True
        self.say_availability(device)

    def lost(self, device: DeviceState, code: str, message: str) -> None:
        """Somebody knows that a device cannot be reached: it is offline at once, without a second attempt."""
        device.failures = max(device.failures, OFFLINE_AFTER - 1)
        self._failed(device, code, message)

    def _failed(self, device: DeviceState, code: str, message: str) -> None:
        if self._stopped:
            return
        device.failures += 1
        device.hanging = False
        retry: dict[str, Any] = {"attempt": device.failures}
        if self._interval is not None:
            seconds = self._interval * device.backoff() * random.uniform(0.9, 1.1)
            self._schedule(device, seconds)
            retry["next_retry"] = self._clock.now() + timedelta(seconds=seconds)
        text = self._mask.text(message)
        if device.failures == 1:
            _log.warning("%s cannot be read: %s", device.id, text)
        self._mqtt.publish_error(device.id, code, text, "error", retry)
        if device.failed:
            device.online = False
            self.say_availability(device)

    def say_availability(self, device: DeviceState) -> None:
        """Publish whether a device can be reached, where that is known and has not been said."""
        if not device.online and not device.failed:
            return
        word = "online" if device.online else "offline"
        if device.said != word and self._mqtt.connected:
            device.said = word
            self._mqtt.publish(f"devices/{device.id}/availability", word, retain=True)


def describe(error: BaseException) -> str:
    """Return what to tell of an exception that a hook raised."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
