"""Takes commands and questions from the network thread, has them carried out, and answers them."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from iot2mqtt_sdk.errors import CommandError, PayloadError
from iot2mqtt_sdk.jsontext import plain
from iot2mqtt_sdk.properties import checked
from iot2mqtt_sdk.runtime import command as commands
from iot2mqtt_sdk.runtime.context import Context
from iot2mqtt_sdk.runtime.device import DeviceState
from iot2mqtt_sdk.runtime.groups import GroupAnswer
from iot2mqtt_sdk.runtime.hooks import call
from iot2mqtt_sdk.runtime.inbox import Message
from iot2mqtt_sdk.runtime.messages import is_level
from iot2mqtt_sdk.runtime.polling import Poller, describe

_log = logging.getLogger("iot2mqtt")

Result = Mapping[str, Any] | CommandError
Settle = Callable[[Result], None]
WAITING = 1000
"""Commands that may wait for one device; further ones are refused, so that a flood fills no memory."""


class Desk:
    """Commands and gets of one instance.

    Args:
        context: What the parts of the connector share.
        poller: Reads and publishes states.
        write: The hook set_device_state.
        devices: All devices by id.
        groups: The groups of the configuration by id.
    """

    def __init__(
        self,
        context: Context,
        *,
        poller: Poller,
        write: Callable[..., Any],
        devices: Mapping[str, DeviceState],
        groups: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._mqtt = context.mqtt
        self._engine = context.engine
        self._clock = context.clock
        self._mask = context.mask
        self._poller = poller
        self._write = write
        self._devices = devices
        self._groups = groups
        self._seen = commands.SeenIds()

    def open(self) -> None:
        """Take what arrives from now on."""
        self._mqtt.route("devices/+/cmd", self._on_command)
        self._mqtt.route("devices/+/get", self._on_get)
        self._mqtt.route("groups/+/cmd", self._on_group_command)

    # ------------------------------------------------------------------ commands to a device
    def _on_command(self, message: Message) -> None:
        if self._is_retained(message):
            return
        device_id = message.levels[1]
        identity = None
        try:
            document = commands.parse(message.payload)
            identity = commands.command_id(document)
            device = self._target(device_id)
            order = commands.read(document, self._clock.now())
        except CommandError as error:
            self._respond(device_id, identity or commands.rescued_id(message.payload), error)
            return
        if not self._is_repeated(message, identity):
            self._order(device, order, partial(self._respond, device_id, identity))

    def _target(self, device_id: str) -> DeviceState:
        device = self._devices.get(device_id)
        if device is None:
            raise CommandError("unknown_device", f"there is no device {device_id!r}")
        if not device.enabled:
            raise CommandError("device_disabled", f"the device {device_id!r} is disabled")
        if len(device.lane.urgent) >= WAITING:
            raise CommandError("device_error", f"{WAITING} commands are waiting for {device_id!r}", retriable=True)
        return device

    def _is_retained(self, message: Message) -> bool:
        if message.retain:
            _log.warning("a retained command on %s is not executed; clear the topic", message.suffix)
        return message.retain

    def _is_repeated(self, message: Message, identity: str | None) -> bool:
        repeated = identity is not None and self._seen.again(message.suffix, identity, self._clock.monotonic())
        if repeated:
            _log.info("command %.80r on %s was seen before and is not executed again", identity, message.suffix)
        return repeated

    def _order(self, device: DeviceState, order: commands.Command, answer: Settle) -> None:
        """Queue a command, and answer it once: when it is done, when its time is up, or at once if it is refused."""
        try:
            order = replace(order, values=checked(device.properties, order.values))
        except CommandError as error:
            answer(error)
            return
        once = threading.Lock()

        def settle(result: Result) -> None:
            if once.acquire(blocking=False):
                answer(result)

        late = CommandError("timeout", f"the device did not finish within {order.seconds:g} s", retriable=True)
        timer = self._engine.after(order.seconds, lambda: settle(late))
        expires = self._clock.monotonic() + order.seconds

        async def job() -> None:
            # A command that has waited past its time was answered so, and is not carried out behind the sender's back.
            if self._clock.monotonic() < expires:
                await self._execute(device, order, settle)
            timer.cancel()

        self._engine.submit(device.lane, job, urgent=True)

    async def _execute(self, device: DeviceState, order: commands.Command, settle: Settle) -> None:
        try:
            result = await call(self._write, device.id, device.config, dict(order.values))
        except CommandError as error:
            self._fail(device, error, settle)
        except Exception as error:  # noqa: BLE001 - whatever a hook raises, the sender is told
            _log.debug("a command of %s failed", device.id, exc_info=True)
            self._fail(device, CommandError("device_error", describe(error), retriable=True), settle)
        else:
            try:
                settle(_effect(result, order.values))
            except CommandError as error:
                self._fail(device, error, settle)
            if self._poller.read is not None:
                await self._poller.publish_reading(device)

    def _fail(self, device: DeviceState, error: CommandError, settle: Settle) -> None:
        """Tell the sender, and all others too unless the command itself was wrong (clause I2M-CMD-15)."""
        if error.code in ("device_error", "timeout"):
            self._mqtt.publish_error(device.id, "COMMAND_FAILED", self._mask.text(str(error.message)))
        settle(error)

    def _respond(self, device_id: str, identity: str | None, result: Result) -> None:
        self._mqtt.figures.count_command(_outcome(result))
        if isinstance(result, CommandError):
            text = self._mask.text(str(result.message))
            _log.warning("command %.80r for %.80r: %s (%s)", identity, device_id, text, result.code)
            answer = {"status": "error", "error": self._error(result)}
        else:
            answer = {"status": "success", "result": dict(result)}
        if identity is not None and is_level(device_id):
            self._mqtt.say(f"devices/{device_id}/cmd/response", {"cmd_id": identity, **answer})

    def _error(self, error: CommandError) -> dict[str, Any]:
        text = self._mask.text(str(error.message))
        return {"code": str(error.code), "message": text, "retriable": bool(error.retriable)}

    # ------------------------------------------------------------------ commands to a group
    def _on_group_command(self, message: Message) -> None:
        if self._is_retained(message):
            return
        group_id = message.levels[1]
        identity = None
        try:
            document = commands.parse(message.payload)
            identity = commands.command_id(document)
            order = commands.read(document, self._clock.now())
            members = self._members(group_id)
        except CommandError as error:
            self._mqtt.figures.count_command(error.code)
            identity = identity or commands.rescued_id(message.payload)
            _log.warning("command %.80r for group %.80r: %s (%s)", identity, group_id, error.message, error.code)
            self._respond_group(group_id, identity, {"status": "error", "results": {}, "error": self._error(error)})
            return
        if self._is_repeated(message, identity):
            return
        answer = GroupAnswer([member.id for member in members], partial(self._respond_group, group_id, identity))
        for member in members:
            self._order(member, order, partial(self._take, answer, member))

    def _take(self, answer: GroupAnswer, member: DeviceState, result: Result) -> None:
        self._mqtt.figures.count_command(_outcome(result))
        if isinstance(result, CommandError):
            answer.take(member.id, {"status": "error", "error": self._error(result)})
        else:
            answer.take(member.id, {"status": "success"})

    def _members(self, group_id: str) -> list[DeviceState]:
        group = self._groups.get(group_id)
        if group is None:
            raise CommandError("unknown_device", f"there is no group {group_id!r}")
        if not group.get("enabled", True):
            raise CommandError("device_disabled", f"the group {group_id!r} is disabled")
        names = dict.fromkeys(name for name in group.get("devices", []) if isinstance(name, str))
        found = (self._devices.get(name) for name in names)
        return [device for device in found if device is not None and device.enabled]

    def _respond_group(self, group_id: str, identity: str | None, body: Mapping[str, Any]) -> None:
        if identity is not None and is_level(group_id):
            self._mqtt.say(f"groups/{group_id}/cmd/response", {"cmd_id": identity, **body})

    # ------------------------------------------------------------------ gets
    def _on_get(self, message: Message) -> None:
        device = self._devices.get(message.levels[1])
        if device is None or not device.enabled or message.retain or len(device.lane.urgent) >= WAITING:
            return
        try:
            wanted = _wanted(message.payload)
        except CommandError as error:
            _log.warning("a question on %s is left out: %s", message.suffix, error.message)
            return
        self._engine.submit(device.lane, lambda: self._answer(device, wanted), urgent=True)

    async def _answer(self, device: DeviceState, wanted: list[str] | None) -> None:
        if wanted is None and self._poller.read is not None:
            await self._poller.publish_reading(device)
        elif wanted is not None:
            await self._answer_part(device, wanted)
        elif not self._mqtt.republish_state(device.id):
            self._mqtt.publish_error(device.id, "STATE_UNKNOWN", "the device has not told its state yet", "warning")

    async def _answer_part(self, device: DeviceState, wanted: list[str]) -> None:
        try:
            state = await self._poller.reading(device)
            self._mqtt.publish_part(device.id, {name: state[name] for name in wanted if name in state})
        except Exception as error:  # noqa: BLE001 - whatever a hook raises, there is no answer now, and the error is told
            text = self._mask.text(describe(error))
            self._mqtt.publish_error(device.id, "CONNECTION_FAILED", text)


def _outcome(result: Result) -> str:
    return result.code if isinstance(result, CommandError) else "success"


def _effect(result: Any, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values that took effect, by what set_device_state has returned.

    Raises:
        CommandError: The device did not take them, or the hook returned what it must not.
    """
    if result is True or result is None:
        return values
    if result is False:
        raise CommandError("device_error", "the device did not take the values", retriable=True)
    try:
        found = plain(result)
    except PayloadError as error:
        raise CommandError("device_error", f"set_device_state returned what cannot be told: {error}") from None
    if not isinstance(found, dict):
        kind = type(result).__name__
        raise CommandError("device_error", f"set_device_state must return True, False or a dict, and returned a {kind}")
    return found


def _wanted(payload: bytes) -> list[str] | None:
    """Return the property names that a get asks for, or None for all (clauses I2M-GET-01, I2M-GET-02)."""
    document = commands.parse(payload) if payload else None
    if document is None:
        return None
    if not isinstance(document, Mapping):
        raise CommandError("invalid_command", "a get must be empty, null or an object")
    names = document.get("properties")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CommandError("invalid_command", "`properties` must be a list of property names")
    return names
