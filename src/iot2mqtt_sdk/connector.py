"""BaseConnector: the hooks that an author fills in; everything else of the contract is done here."""

import logging
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from iot2mqtt_sdk import logs
from iot2mqtt_sdk.client import Message, MQTTClient
from iot2mqtt_sdk.clock import Clock
from iot2mqtt_sdk.errors import CommandError, ConfigurationError, InitializationError, Iot2MqttError
from iot2mqtt_sdk.masking import Mask, secret_values
from iot2mqtt_sdk.runtime import config as configuration
from iot2mqtt_sdk.runtime.context import Context
from iot2mqtt_sdk.runtime.desk import Desk
from iot2mqtt_sdk.runtime.device import DeviceState
from iot2mqtt_sdk.runtime.engine import Engine
from iot2mqtt_sdk.runtime.hooks import call_aside
from iot2mqtt_sdk.runtime.leftovers import Leftovers
from iot2mqtt_sdk.runtime.polling import Poller
from iot2mqtt_sdk.settings import load as load_settings

_log = logging.getLogger("iot2mqtt")

GRACE = 1.0
"""Seconds that hooks may take to return once the connector is to stop, and again for cleanup_connection."""


class BaseConnector:
    """A connector: subclass it, and fill in the hooks.

    Each hook may be a function or an `async def`. Coroutines of one connector share one event loop; functions are
    called on threads, never two at a time for the same device.

    Args:
        config_path: The instance file; by default ${IOT2MQTT_PATH:-/app}/instances/${INSTANCE_NAME}.json.
        instance_name: INSTANCE_NAME by default.

    Attributes:
        config: The instance configuration: the mapping of the file, or the class's own `Config` model.
        instance_id: The instance.
        mqtt: Its connection.
        update_interval: Seconds between two polls of a device. A class may set another default; one that sets None
            polls nothing, whatever the file says.

    Raises:
        ConfigurationError: The environment or the instance file is missing or wrong.
    """

    Config: ClassVar[Any] = None
    Device: ClassVar[Any] = None
    update_interval: float | None = configuration.DEFAULT_INTERVAL

    def __init__(self, config_path: str | None = None, instance_name: str | None = None) -> None:
        settings = load_settings()
        name = instance_name or settings.instance_name or (Path(config_path).stem if config_path else None)
        if name is None:
            raise ConfigurationError("the instance has no name: set INSTANCE_NAME, or pass instance_name")
        file = Path(config_path) if config_path else settings.path / "instances" / f"{name}.json"
        loaded = configuration.load(file, settings, name)
        self._settings = loaded.settings
        self._mask = Mask(
            {settings.password, loaded.settings.password, *loaded.secrets, *secret_values(loaded.document)}
        )
        logs.hide(self._mask)
        self.config: Any = self._typed_config(loaded.document, file)
        self.instance_id = name
        if self.update_interval is not None:
            self.update_interval = loaded.document.get("update_interval", self.update_interval)
        self.clock = Clock()
        self._engine = Engine(self.clock)
        self.mqtt = MQTTClient(name, settings=self._settings, clock=self.clock, engine=self._engine, hold=True)
        self._devices = {
            entry["device_id"]: self._device(entry, number)
            for number, entry in enumerate(loaded.document.get("devices", []))
        }
        self._groups: dict[str, Mapping[str, Any]] = {
            entry["group_id"]: entry for entry in loaded.document.get("groups", [])
        }
        self._poller: Poller | None = None
        self._born = self.clock.monotonic()
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._stop_lock = threading.Lock()
        self._was_online = False

    # ------------------------------------------------------------------ hooks
    def initialize_connection(self) -> Any:
        """Open what all devices share; `online` follows only after this."""

    def cleanup_connection(self) -> Any:
        """Close what initialize_connection has opened."""

    def get_device_state(self, device_id: str, device_config: Any) -> Any:  # noqa: ARG002 - a hook's signature
        """Return a device's state as a dict of property to value, or raise what kept you from reading it.

        Args:
            device_id: The device.
            device_config: Its entry in the instance file, or the class's own `Device` model.
        """
        return None

    def set_device_state(self, device_id: str, device_config: Any, state: Mapping[str, Any]) -> Any:  # noqa: ARG002
        """Make a device take values.

        Args:
            device_id: The device.
            device_config: Its entry in the instance file, or the class's own `Device` model.
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
        """What is known of each device: `{device_id: {"state": …, "online": …}}`; a copy."""
        return {
            device.id: {"state": self.mqtt.last_state(device.id), "online": device.online}
            for device in list(self._devices.values())
        }

    @property
    def stopping(self) -> bool:
        """Whether the connector has been told to stop; a long-running hook may want to look."""
        return self._stopping.is_set()

    def publish_state(self, device_id: str, state: Mapping[str, Any]) -> None:
        """Publish a device's state now, from any thread; a device of whom there is news counts as online.

        Nothing is published for a disabled device.

        Raises:
            PayloadError: The state cannot be published.
        """
        device = self._devices.get(device_id)
        if device is not None and not device.enabled:
            return
        self.mqtt.publish_state(device_id, state)
        if device is not None and self._poller is not None:
            self._poller.reached(device)

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
            settings = load_settings()
            logs.configure(settings.log_level)
            connector = cls()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: connector._signalled())
            if settings.mode == "development":
                from iot2mqtt_sdk.runtime.reload import watch

                watch(connector.stop)
            connector.start()
            connector.run_forever()
        except ConfigurationError as error:
            _log.error("%s", error)
            return 2
        except Iot2MqttError as error:
            _log.error("the connector failed: %s", error, exc_info=error.__cause__)
            return 1
        return 0

    def _signalled(self) -> None:
        self._stopping.set()
        self._wake.set()

    def start(self) -> bool:
        """Connect, initialise, and begin to serve the devices.

        Returns:
            True.

        Raises:
            InitializationError: initialize_connection raised; the instance was never online.
        """
        read = self.get_device_state if self._overrides("get_device_state") else None
        context = Context(self.mqtt, self._engine, self.clock, self._mask)
        poller = self._poller = Poller(context, read=read, interval=self.update_interval)
        write = self.set_device_state
        Desk(context, poller=poller, write=write, devices=self._devices, groups=self._groups).open()
        self.mqtt.route("meta/request/+", self._on_meta)
        self.mqtt.on_online = self._on_online
        self.mqtt.begin()
        error = call_aside(self._engine.loop, self.initialize_connection, self._wake)
        if error is not None:
            self.stop()
            raise InitializationError(f"initialize_connection failed: {error}") from error
        if not self._stopping.is_set():
            poller.start([device for device in self._devices.values() if device.enabled])
            self.mqtt.ready()
        return True

    def run_forever(self) -> None:
        """Wait until the connector is stopped, by a signal or by `stop` from another thread; then stop it."""
        self._stopping.wait()
        self.stop()

    def stop(self) -> None:
        """Stop serving, close what is open, say `offline` and leave. A second call waits for the first."""
        self._stopping.set()
        self._wake.set()
        with self._stop_lock:
            poller, self._poller = self._poller, None
            if poller is None:
                return
            poller.stop()
            self._engine.stop(GRACE)
            failure = call_aside(self._engine.loop, self.cleanup_connection, threading.Event(), GRACE)
            if failure is not None:
                _log.error("cleanup_connection failed: %s", failure, exc_info=failure)
            self.mqtt.disconnect()

    def _overrides(self, hook: str) -> bool:
        return getattr(type(self), hook) is not getattr(BaseConnector, hook)

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
                config = self.Device.from_document(entry)
            except ValueError as error:
                raise ConfigurationError(f"devices[{number}] of {self.instance_id} is malformed: {error}") from None
        model = entry.get("model")
        enabled = entry.get("enabled", True)
        return DeviceState(entry["device_id"], config, enabled, model if isinstance(model, str) else None)

    # ------------------------------------------------------------------ questions, and what follows every connection
    def _on_online(self) -> None:
        """After a reconnection the broker may have forgotten all: say everything again (clause I2M-STATE-06)."""
        first, self._was_online = not self._was_online, True
        poller = self._poller
        if poller is None:
            return
        if first:
            Leftovers(self.mqtt, self._engine, set(self._devices), set(self._groups)).clear()
        for device in self._devices.values():
            device.said = None
            if device.enabled:
                poller.say_availability(device)
                if not first:
                    poller.refresh(device)

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
