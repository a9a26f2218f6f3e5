"""BaseConnector: the hooks that an author fills in; everything else of the contract is done here."""

import logging
import random
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from iot2mqtt_sdk.client import Message, MQTTClient
from iot2mqtt_sdk.clock import Clock
from iot2mqtt_sdk.errors import CommandError, ConfigurationError, InitializationError, Iot2MqttError, PayloadError
from iot2mqtt_sdk.runtime import command as commands
from iot2mqtt_sdk.runtime import config as configuration
from iot2mqtt_sdk.runtime.device import DeviceState
from iot2mqtt_sdk.runtime.engine import Engine, Lane
from iot2mqtt_sdk.runtime.groups import GroupAnswer
from iot2mqtt_sdk.runtime.hooks import call
from iot2mqtt_sdk.settings import Settings
from iot2mqtt_sdk.settings import load as load_settings

_log = logging.getLogger("iot2mqtt")

MANY = 50
"""Devices from which on the first polls are spread over the interval."""


class BaseConnector:
    """A connector: subclass it, and fill in the hooks.

    Args:
        config_path: The instance file; by default ${IOT2MQTT_PATH:-/app}/instances/${INSTANCE_NAME}.json.
        instance_name: INSTANCE_NAME by default.

    Attributes:
        config: The instance configuration: the mapping of the file, or the class's own Config model.
        instance_id: The instance.
        mqtt: Its connection.
        update_interval: Seconds between two polls of a device; None means that nothing is polled.

    Raises:
        ConfigurationError: The environment or the instance file is missing or wrong.
    """

    Config: ClassVar[Any] = None
    Device: ClassVar[Any] = None

    def __init__(self, config_path: str | None = None, instance_name: str | None = None) -> None:
        settings = load_settings()
        name = instance_name or settings.instance_name
        if name is None and config_path is not None:
            name = Path(config_path).stem
        if name is None:
            raise ConfigurationError("the instance has no name: set INSTANCE_NAME, or pass instance_name")
        file = Path(config_path) if config_path else settings.path / "instances" / f"{name}.json"
        document = configuration.load(file)
        self._settings = _with_secrets(settings, name, document)
        self.config: Any = self._typed_config(document, file)
        self.instance_id = name
        self.update_interval: float | None = document.get("update_interval", configuration.DEFAULT_INTERVAL)
        self.clock = Clock()
        self.mqtt = MQTTClient(name, settings=self._settings, clock=self.clock, hold=True)
        self._engine = Engine(self.clock)
        self._devices = {
            entry["device_id"]: self._device(entry, number) for number, entry in enumerate(document.get("devices", []))
        }
        self._groups: dict[str, Mapping[str, Any]] = {entry["group_id"]: entry for entry in document.get("groups", [])}
        self._seen = commands.SeenIds()
        self._born = self.clock.monotonic()
        self._stopping = threading.Event()
        self._stopped = False
        self._was_online = False

    # ------------------------------------------------------------------ hooks
    def initialize_connection(self) -> Any:
        """Open what all devices share; `online` follows only after this. May be `async def`."""

    def cleanup_connection(self) -> Any:
        """Close what initialize_connection has opened. May be `async def`."""

    def get_device_state(self, device_id: str, device_config: Any) -> Any:  # noqa: ARG002 - a hook's signature
        """Return a device's state as a dict of property to value, or raise what kept you from reading it.

        Args:
            device_id: The device.
            device_config: Its entry in the instance file, or the class's own Device model.
        """
        return None

    def set_device_state(self, device_id: str, device_config: Any, state: Mapping[str, Any]) -> Any:  # noqa: ARG002
        """Make a device take values.

        Args:
            device_id: The device.
            device_config: Its entry in the instance file, or the class's own Device model.
            state: Wanted value by property name.

        Returns:
            True, False where the device did not take them, or a dict of the values that took effect.

        Raises:
            CommandError: The values are refused; the sender is told its code and message.
        """
        raise CommandError("unsupported_property", "this connector takes no commands")

    # ------------------------------------------------------------------ for authors
    @property
    def devices(self) -> dict[str, dict[str, Any]]:
        """The last known state of each device: `{device_id: {"state": …, "online": …}}`."""
        return {
            device.id: {"state": self.mqtt.last_state(device.id), "online": device.online}
            for device in self._devices.values()
        }

    def publish_state(self, device_id: str, state: dict[str, Any]) -> None:
        """Publish a device's state now, from any thread; a device of whom there is news counts as online.

        Raises:
            PayloadError: The state has no form in JSON.
        """
        self.mqtt.publish_state(device_id, state)
        device = self._devices.get(device_id)
        if device is not None:
            self._reached(device)

    def publish_event(self, device_id: str, event: str, data: Any = None) -> None:
        """Publish an event of a device now, from any thread.

        Raises:
            PayloadError: The data have no form in JSON.
        """
        self.mqtt.publish_event(device_id, event, data)

    # ------------------------------------------------------------------ life
    @classmethod
    def main(cls) -> None:
        """Run the connector as a program, until SIGTERM or SIGINT; does nothing where its module is imported."""
        if cls.__module__ == "__main__":
            sys.exit(cls.run())

    @classmethod
    def run(cls) -> int:
        """Run the connector until it is stopped.

        Returns:
            The exit code: 0, 1 where it failed, 2 where its configuration is at fault.
        """
        try:
            _configure_logging()
            connector = cls()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: connector._stopping.set())
            connector.start()
            connector.run_forever()
        except ConfigurationError as error:
            _log.error("%s", error)
            return 2
        except Iot2MqttError:
            _log.exception("the connector failed")
            return 1
        return 0

    def start(self) -> bool:
        """Connect, initialise, and begin to serve the devices.

        Returns:
            True.

        Raises:
            InitializationError: initialize_connection raised; the instance was never online.
        """
        self.mqtt.route("devices/+/cmd", self._on_command)
        self.mqtt.route("devices/+/get", self._on_get)
        self.mqtt.route("groups/+/cmd", self._on_group_command)
        self.mqtt.route("meta/request/+", self._on_meta)
        self.mqtt.on_online = self._on_online
        self._engine.start()
        self.mqtt.begin()
        try:
            call(self.initialize_connection)
        except Exception as error:
            self.stop()
            raise InitializationError(f"initialize_connection failed: {error}") from error
        self._schedule_all()
        self.mqtt.ready()
        return True

    def run_forever(self) -> None:
        """Wait until the connector is stopped, by a signal or by `stop` from another thread; then stop it."""
        while not self._stopping.wait(3600):
            pass
        self.stop()

    def stop(self) -> None:
        """Stop serving, close what is open, say `offline` and leave. A second call does nothing."""
        self._stopping.set()
        if self._stopped:
            return
        self._stopped = True
        self._engine.stop()
        try:
            call(self.cleanup_connection)
        except Exception:  # noqa: BLE001 - whatever the hook raises, `offline` must follow
            _log.exception("cleanup_connection failed")
        self.mqtt.disconnect()

    # ------------------------------------------------------------------ configuration
    def _typed_config(self, document: dict[str, Any], file: Path) -> Any:
        if self.Config is None:
            return document
        try:
            return self.Config.from_document(document)
        except ValueError as error:
            raise ConfigurationError(f"the instance configuration {file} is malformed: {error}") from None

    def _device(self, entry: dict[str, Any], number: int) -> DeviceState:
        config: Any = entry
        if self.Device is not None:
            try:
                config = self.Device.model_validate(entry)
            except ValueError as error:
                raise ConfigurationError(
                    f"devices[{number}] of instance {self.instance_id} is wrong: {error}"
                ) from None
        model = entry.get("model")
        return DeviceState(
            id=entry["device_id"],
            config=config,
            enabled=entry.get("enabled", True),
            model=model if isinstance(model, str) else None,
            lane=Lane(entry["device_id"]),
        )

    # ------------------------------------------------------------------ polling
    @property
    def _polls(self) -> bool:
        return self.update_interval is not None and self._can_read

    @property
    def _can_read(self) -> bool:
        return type(self).get_device_state is not BaseConnector.get_device_state

    def _schedule_all(self) -> None:
        if not self._polls or self.update_interval is None:
            return
        enabled = [device for device in self._devices.values() if device.enabled]
        gap = self.update_interval / len(enabled) if len(enabled) > MANY else 0.0
        for number, device in enumerate(enabled):
            self._schedule(device, number * gap)

    def _schedule(self, device: DeviceState, seconds: float) -> None:
        device.cancel_poll = self._engine.after(seconds, lambda: self._due(device))

    def _due(self, device: DeviceState) -> None:
        """Time to poll a device; while it is still busy with the last poll, this one is left out."""
        if not device.polling:
            device.polling = True
            self._engine.submit(device.lane, lambda: self._poll(device))
        if device.failures == 0 and self.update_interval is not None:
            self._schedule(device, self.update_interval)

    def _poll(self, device: DeviceState) -> None:
        failed_before = device.failures > 0
        try:
            if self.mqtt.connected or self.mqtt.last_state(device.id) is None:
                self._read(device)
        finally:
            device.polling = False
        if failed_before and device.failures == 0 and self.update_interval is not None:
            self._schedule(device, self.update_interval)

    def _read(self, device: DeviceState) -> dict[str, Any] | None:
        """Read a device and publish its state; None where it could not be read, which has been told then."""
        try:
            state = call(self.get_device_state, device.id, device.config)
            if state is None:
                self._failed(device, "NO_STATE", "the device gave no state")
                return None
            if self._stopping.is_set():
                return None
            self.mqtt.publish_state(device.id, state)
        except PayloadError as error:
            self._failed(device, "INVALID_STATE", str(error))
            return None
        except Exception as error:  # noqa: BLE001 - whatever a hook raises, this device cannot be read now
            _log.debug("reading %s failed", device.id, exc_info=True)
            self._failed(device, "CONNECTION_FAILED", f"{type(error).__name__}: {error}")
            return None
        self._reached(device)
        return dict(state)

    def _reached(self, device: DeviceState) -> None:
        device.failures = 0
        device.online = True
        self._say_availability(device, "online")

    def _failed(self, device: DeviceState, code: str, message: str) -> None:
        if self._stopping.is_set():
            return
        device.failures += 1
        retry: dict[str, Any] = {"attempt": device.failures}
        if self._polls and self.update_interval is not None:
            seconds = self.update_interval * device.backoff() * random.uniform(0.9, 1.1)
            device.cancel_poll()
            self._schedule(device, seconds)
            retry["next_retry"] = self.clock.now() + timedelta(seconds=seconds)
        self.mqtt.publish_error(device.id, code, message, "error", retry)
        if device.failed:
            device.online = False
            self._say_availability(device, "offline")

    def _say_availability(self, device: DeviceState, word: str) -> None:
        if device.said != word and self.mqtt.connected:
            device.said = word
            self.mqtt.publish(f"devices/{device.id}/availability", word, retain=True)

    def _on_online(self) -> None:
        """After every (re)connection the broker may have forgotten all: say everything again (clause I2M-STATE-06)."""
        first, self._was_online = not self._was_online, True
        for device in self._devices.values():
            device.said = None
            if not device.enabled:
                continue
            if device.online or device.failed:
                self._say_availability(device, "online" if device.online else "offline")
            if first:
                continue
            if not self._polls:
                self.mqtt.republish_state(device.id)
            elif self.mqtt.last_state(device.id) is not None and not device.polling:
                device.polling = True
                self._engine.submit(device.lane, lambda device=device: self._poll(device))  # type: ignore[misc]

    # ------------------------------------------------------------------ commands
    def _on_command(self, message: Message) -> None:
        if message.retain:
            _log.warning("a retained command on %s is not executed; clear the topic", message.suffix)
            return
        device_id = message.levels[1]
        topic = f"devices/{device_id}/cmd/response"
        identity = None
        try:
            document = commands.parse(message.payload)
            identity = commands.command_id(document)
            device = self._target(device_id)
            order = commands.read(document, self.clock.now())
        except CommandError as error:
            self._refuse(topic, identity, error)
            return
        if identity is not None and self._seen.again(message.suffix, identity, self.clock.monotonic()):
            _log.info("command %s of %s was seen before and is not executed again", identity, device_id)
            return
        self._order(device, order, lambda result: self._respond(topic, order.id, result))

    def _target(self, device_id: str) -> DeviceState:
        device = self._devices.get(device_id)
        if device is None:
            raise CommandError("unknown_device", f"there is no device {device_id!r}")
        if not device.enabled:
            raise CommandError("device_disabled", f"the device {device_id!r} is disabled")
        return device

    def _order(self, device: DeviceState, order: commands.Command, answer: Any) -> None:
        """Queue a command, and answer it once: when it is done, or when its time is up."""
        once = threading.Lock()

        def settle(result: Mapping[str, Any] | CommandError) -> None:
            if once.acquire(blocking=False):
                answer(result)

        late = CommandError("timeout", f"the device did not finish within {order.seconds:.1f} s", retriable=True)
        cancel = self._engine.after(order.seconds, lambda: settle(late))
        expires = self.clock.monotonic() + order.seconds

        def job() -> None:
            if self.clock.monotonic() < expires:
                self._execute(device, order, settle)
            cancel()

        self._engine.submit(device.lane, job, urgent=True)

    def _execute(self, device: DeviceState, order: commands.Command, settle: Any) -> None:
        try:
            result = call(self.set_device_state, device.id, device.config, dict(order.values))
        except CommandError as error:
            if error.code in ("device_error", "timeout"):
                self.mqtt.publish_error(device.id, "COMMAND_FAILED", error.message)
            settle(error)
            return
        except Exception as error:  # noqa: BLE001 - whatever a hook raises, the sender is told
            _log.debug("a command of %s failed", device.id, exc_info=True)
            message = f"{type(error).__name__}: {error}"
            self.mqtt.publish_error(device.id, "COMMAND_FAILED", message)
            settle(CommandError("device_error", message, retriable=True))
            return
        if result is False:
            message = "the device did not take the values"
            self.mqtt.publish_error(device.id, "COMMAND_FAILED", message)
            settle(CommandError("device_error", message, retriable=True))
        else:
            settle(result if isinstance(result, Mapping) else order.values)
        if self._can_read:
            self._read(device)

    def _respond(self, topic: str, identity: str | None, result: Mapping[str, Any] | CommandError) -> None:
        if isinstance(result, CommandError):
            self._refuse(topic, identity, result)
        elif identity is not None:
            self.mqtt.say(topic, {"cmd_id": identity, "status": "success", "result": dict(result)})

    def _refuse(self, topic: str, identity: str | None, error: CommandError) -> None:
        _log.warning("command %s on %s: %s (%s)", identity or "without id", topic, error.message, error.code)
        if identity is not None:
            self.mqtt.say(topic, {"cmd_id": identity, "status": "error", "error": _error_body(error)})

    def _on_group_command(self, message: Message) -> None:
        if message.retain:
            _log.warning("a retained command on %s is not executed; clear the topic", message.suffix)
            return
        group_id = message.levels[1]
        topic = f"groups/{group_id}/cmd/response"
        identity = None
        try:
            document = commands.parse(message.payload)
            identity = commands.command_id(document)
            order = commands.read(document, self.clock.now())
            members = self._members(group_id)
        except CommandError as error:
            _log.warning("command on %s: %s (%s)", message.suffix, error.message, error.code)
            if identity is not None:
                body = {"cmd_id": identity, "status": "error", "results": {}, "error": _error_body(error)}
                self.mqtt.say(topic, body)
            return
        if identity is not None and self._seen.again(message.suffix, identity, self.clock.monotonic()):
            return
        answer = GroupAnswer([member.id for member in members], lambda body: self._respond_group(topic, identity, body))
        for member in members:
            self._order(member, order, lambda result, member=member: answer.take(member.id, result))

    def _members(self, group_id: str) -> list[DeviceState]:
        group = self._groups.get(group_id)
        if group is None:
            raise CommandError("unknown_device", f"there is no group {group_id!r}")
        if not group.get("enabled", True):
            raise CommandError("device_disabled", f"the group {group_id!r} is disabled")
        found = (self._devices.get(name) for name in group.get("devices", []) if isinstance(name, str))
        return [device for device in found if device is not None and device.enabled]

    def _respond_group(self, topic: str, identity: str | None, body: dict[str, Any]) -> None:
        if identity is not None:
            self.mqtt.say(topic, {"cmd_id": identity, **body})

    # ------------------------------------------------------------------ questions
    def _on_get(self, message: Message) -> None:
        device = self._devices.get(message.levels[1])
        if device is None or not device.enabled or message.retain:
            return
        try:
            wanted = _wanted(message.payload)
        except CommandError as error:
            _log.warning("a question on %s is left out: %s", message.suffix, error.message)
            return
        self._engine.submit(device.lane, lambda: self._answer(device, wanted), urgent=True)

    def _answer(self, device: DeviceState, wanted: list[str] | None) -> None:
        if wanted is None:
            if self._can_read:
                self._read(device)
            else:
                self.mqtt.republish_state(device.id)
            return
        state = (
            call(self.get_device_state, device.id, device.config) if self._can_read else self.mqtt.last_state(device.id)
        )
        if state is not None:
            self.mqtt.publish_part(device.id, {name: state[name] for name in wanted if name in state})

    def _on_meta(self, message: Message) -> None:
        question = message.levels[2]
        if question == "info":
            self.mqtt.publish("meta/info", self._info())
        elif question == "devices_list":
            self.mqtt.publish("meta/devices_list", self._devices_list())

    def _info(self) -> dict[str, Any]:
        return {
            "instance_id": self.instance_id,
            "connector_type": self._settings.connector_type,
            "devices_count": len(self._devices),
            "groups_count": len(self._groups),
            "uptime": round(self.clock.monotonic() - self._born, 3),
        }

    def _devices_list(self) -> list[dict[str, Any]]:
        return [
            {
                "device_id": device.id,
                "global_id": f"{self.instance_id}_{device.id}",
                "model": device.model,
                "enabled": device.enabled,
                "online": device.enabled and device.online,
            }
            for device in self._devices.values()
        ]


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


def _error_body(error: CommandError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message, "retriable": error.retriable}


def _with_secrets(settings: Settings, name: str, document: dict[str, Any]) -> Settings:
    """Merge the secrets files into the configuration and the settings (clause I2M-ENV-14)."""
    found = configuration.secrets(settings.secrets_dir / f"{name}_creds")
    if found:
        document["connection"] = {**document.get("connection", {}), **found}
    broker = configuration.secrets(settings.secrets_dir / f"{name}_mqtt")
    if not broker:
        return settings
    return replace(
        settings,
        username=broker.get("username") or settings.username,
        password=broker.get("password") or settings.password,
    )


def _configure_logging() -> None:
    """Log to stderr at LOG_LEVEL; only a program does so, never the library."""
    logging.basicConfig(stream=sys.stderr, level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger().setLevel(load_settings().log_level)
