"""BaseConnector: the hooks that an author fills in; everything else of the contract is done here."""

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from iot2mqtt_sdk import logs
from iot2mqtt_sdk.client import MQTTClient
from iot2mqtt_sdk.clock import Clock
from iot2mqtt_sdk.errors import CommandError, ConfigurationError, InitializationError, Iot2MqttError
from iot2mqtt_sdk.jsontext import plain
from iot2mqtt_sdk.masking import Mask, secret_values
from iot2mqtt_sdk.properties import Property, described
from iot2mqtt_sdk.runtime import condition
from iot2mqtt_sdk.runtime import config as configuration
from iot2mqtt_sdk.runtime.context import Context
from iot2mqtt_sdk.runtime.desk import Desk
from iot2mqtt_sdk.runtime.device import DeviceState
from iot2mqtt_sdk.runtime.engine import Engine
from iot2mqtt_sdk.runtime.hooks import SLICE, call_aside
from iot2mqtt_sdk.runtime.inbox import Message
from iot2mqtt_sdk.runtime.leftovers import Leftovers
from iot2mqtt_sdk.runtime.polling import Poller
from iot2mqtt_sdk.runtime.program import Signals, end
from iot2mqtt_sdk.settings import Settings
from iot2mqtt_sdk.settings import load as load_settings

if TYPE_CHECKING:
    from iot2mqtt_sdk.homeassistant import Discovery
    from iot2mqtt_sdk.metrics import Endpoint

_log = logging.getLogger("iot2mqtt")

GRACE = 0.6
"""Seconds that hooks may take to return once the connector is to stop, and again for cleanup_connection at least."""
FAREWELL = 1.0
"""Seconds to wait for the broker, to tell it that the initialisation has failed."""
THREADS = "iot2mqtt-"
"""What the names of all threads begin with that call hooks and handlers."""


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
        properties: What the properties of all devices are, by name; a device's entry in the instance file may say it
            of that device instead. Commands are checked by it, and Home Assistant can be told.

    Raises:
        ConfigurationError: The environment or the instance file is missing or wrong.
    """

    Config: ClassVar[Any] = None
    Device: ClassVar[Any] = None
    update_interval: float | None = configuration.DEFAULT_INTERVAL
    properties: ClassVar[Mapping[str, Property]] = {}

    def __init__(self, config_path: str | None = None, instance_name: str | None = None) -> None:
        settings = load_settings()
        file, name = configuration.locate(settings, config_path, instance_name)
        loaded = configuration.load(file, settings, name)
        self.__settings = loaded.settings
        self.__mask = Mask(
            {settings.password, loaded.settings.password, *loaded.secrets, *secret_values(loaded.document)}
        )
        logs.hide(self.__mask)
        self.config: Any = self.__typed_config(loaded.document, file)
        self.instance_id = name
        if self.update_interval is not None:
            self.update_interval = loaded.document.get("update_interval", self.update_interval)
        self.mqtt = self._iot2mqtt_client(name, self.__settings)
        self.clock = self.mqtt.clock
        self.__engine = self.mqtt.engine
        self.__devices = {
            entry["device_id"]: self.__device(entry, number)
            for number, entry in enumerate(loaded.document.get("devices", []))
        }
        self.__groups: dict[str, Mapping[str, Any]] = {
            entry["group_id"]: entry for entry in loaded.document.get("groups", [])
        }
        self.__poller: Poller | None = None
        self.__discovery: Discovery | None = None
        self.__endpoint: Endpoint | None = None
        self.__born = self.clock.monotonic()
        self.__stopping = threading.Event()
        self.__wake = threading.Event()
        self.__stop_lock = threading.Lock()
        self.__was_online = False

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
            device.id: {"state": plain(self.mqtt.last_state(device.id)), "online": device.online}
            for device in list(self.__devices.values())
        }

    @property
    def stopping(self) -> bool:
        """Whether the connector has been told to stop; a long-running hook may want to look."""
        return self.__stopping.is_set()

    @property
    def running(self) -> bool:
        """Whether the devices are served; a program may set it to False, which tells the connector to stop."""
        return self.__poller is not None and not self.stopping

    @running.setter
    def running(self, wanted: bool) -> None:
        if self.running and not wanted:
            self.__ask_to_stop()

    def publish_state(self, device_id: str, state: Mapping[str, Any]) -> None:
        """Publish a device's state now, from any thread; a device of whom there is news counts as online.

        Nothing is published for a disabled device. What get_device_state is about to return meanwhile is older, and is
        not published.

        Raises:
            PayloadError: The state cannot be published.
        """
        device = self.__devices.get(device_id)
        if device is None:
            self.mqtt.publish_state(device_id, state)
            return
        if not device.enabled:
            return
        with device.telling, device.present():
            self.mqtt.publish_state(device_id, state)
            device.news += 1
        if self.__poller is not None:
            self.__poller.reached(device)

    def publish_failure(self, device_id: str, message: str, code: str = "CONNECTION_FAILED") -> None:
        """Tell now, from any thread, that a device cannot be reached: it is offline until there is news of it.

        Nothing is published for a disabled or unknown device.
        """
        device = self.__devices.get(device_id)
        if device is not None and device.enabled and self.__poller is not None:
            self.__poller.lost(device, code, message)

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
            end(cls.run())

    @classmethod
    def run(cls) -> int:
        """Run the connector until it is stopped.

        Returns:
            The exit code: 0, 1 where it failed, 2 where its configuration is at fault.
        """
        signals, reloader = Signals(), None
        try:
            signals.take_over()
            settings = load_settings()
            logs.configure(settings.log_level)
            connector = cls()
            signals.stop_with(connector.__ask_to_stop)
            if settings.mode == "development":
                from iot2mqtt_sdk.runtime.reload import Reloader

                reloader = Reloader(connector.__ask_to_stop)
                reloader.start()
            connector.start()
            connector.run_forever()
        except ConfigurationError as error:
            _log.error("%s", error)
            return 2
        except Iot2MqttError as error:
            _log.error("the connector failed: %s", error, exc_info=error.__cause__)
            return 1
        if reloader is not None and reloader.changed and not signals.received:
            reloader.restart()
        return 0

    def _iot2mqtt_client(self, name: str, settings: Settings) -> MQTTClient:
        """Make the connection, which brings clock and engine along; a test brings its own."""
        clock = Clock()
        return MQTTClient(name, settings=settings, clock=clock, engine=Engine(clock), hold=True)

    def __ask_to_stop(self) -> None:
        self.__stopping.set()
        self.__wake.set()

    def start(self) -> bool:
        """Connect, initialise, and begin to serve the devices.

        Returns:
            True.

        Raises:
            InitializationError: initialize_connection raised; the instance was never online.
        """
        read = self.get_device_state if self.__overrides("get_device_state") else None
        self.__open_extras(polled=read is not None and self.update_interval is not None)
        context = Context(self.mqtt, self.__engine, self.clock, self.__mask)
        poller = self.__poller = Poller(context, read=read, interval=self.update_interval)
        write = self.set_device_state
        Desk(context, poller=poller, write=write, devices=self.__devices, groups=self.__groups).open()
        self.mqtt.route("meta/request/+", self.__on_meta)
        self.mqtt.on_online = self.__on_online
        self.mqtt.begin()
        error = call_aside(self.__engine.loop, self.initialize_connection, self.__wake)
        if error is not None and not self.__stopping.is_set():
            self.__end(FAREWELL)
            raise InitializationError(f"initialize_connection failed: {error}") from error
        if not self.__stopping.is_set():
            poller.start([device for device in self.__devices.values() if device.enabled])
            self.mqtt.ready()
        return True

    def run_forever(self) -> None:
        """Wait until the connector is stopped, by a signal or by `stop` from another thread; then stop it."""
        # In slices: a signal that the system hands to another thread does not wake this one, in which handlers run.
        while not self.__stopping.wait(SLICE):
            pass
        self.stop()

    def stop(self) -> None:
        """Stop serving, close what is open, say `offline` and leave. A second call waits for the first.

        Where a hook or handler calls it, it returns at once, because stopping waits for hooks and handlers.
        """
        self.__ask_to_stop()
        if threading.current_thread().name.startswith(THREADS):
            threading.Thread(target=self.__end, name="stop").start()
        else:
            self.__end()

    def __end(self, patience: float = 0.0) -> None:
        self.__ask_to_stop()
        end_of_cleanup = self.clock.monotonic() + 2 * GRACE
        with self.__stop_lock:
            poller, self.__poller = self.__poller, None
            if poller is None:
                return
            poller.stop()
            self.__engine.stop(GRACE)
            left = max(GRACE, end_of_cleanup - self.clock.monotonic())
            failure = call_aside(self.__engine.loop, self.cleanup_connection, threading.Event(), left)
            if failure is not None:
                _log.error("cleanup_connection failed: %s", failure, exc_info=failure)
            self.mqtt.disconnect(patience)
            if self.__endpoint is not None:
                self.__endpoint.stop()

    def __overrides(self, hook: str) -> bool:
        return getattr(type(self), hook) is not getattr(BaseConnector, hook)

    def __open_extras(self, *, polled: bool) -> None:
        """Prepare what only some settings ask for; it is imported only then, because every module takes memory."""
        settings = self.__settings
        if settings.homeassistant_discovery:
            from iot2mqtt_sdk.homeassistant import Discovery

            prefix = settings.homeassistant_prefix
            self.__discovery = Discovery(
                mqtt=self.mqtt, engine=self.__engine, prefix=prefix, devices=self.__devices, polled=polled
            )
            self.__discovery.open()
        if settings.metrics_port is not None:
            from iot2mqtt_sdk.metrics import Endpoint, Metrics

            about = {"instance_id": self.instance_id, "connector_type": settings.connector_type}
            metrics = Metrics(mqtt=self.mqtt, about=about, devices=self.__devices)
            self.__endpoint = Endpoint(metrics, host=settings.metrics_host, port=settings.metrics_port)
            self.__endpoint.start()

    # ------------------------------------------------------------------ configuration
    def __typed_config(self, document: dict[str, Any], file: Path) -> Any:
        if self.Config is None:
            return document
        try:
            return self.Config.from_document(document)
        except ValueError as error:
            raise ConfigurationError(f"the instance configuration {file} is malformed: {error}") from None

    def __device(self, entry: dict[str, Any], number: int) -> DeviceState:
        config: Any = entry
        if self.Device is not None:
            try:
                config = self.Device.from_document(entry)
            except ValueError as error:
                raise ConfigurationError(f"devices[{number}] of {self.instance_id} is malformed: {error}") from None
        model, name = (
            entry.get(key) if isinstance(entry.get(key), str) else None for key in ("model", "friendly_name")
        )
        enabled = entry.get("enabled", True)
        properties = described(entry, self.properties, f"devices[{number}] of {self.instance_id}")
        return DeviceState(entry["device_id"], config, enabled, model, name, properties)

    # ------------------------------------------------------------------ questions, and what follows every connection
    def __on_online(self) -> None:
        """After a reconnection the broker may have forgotten all: say everything again (clause I2M-STATE-06)."""
        first, self.__was_online = not self.__was_online, True
        poller = self.__poller
        if poller is None:
            return
        if first:
            Leftovers(self.mqtt, self.__engine, set(self.__devices), set(self.__groups)).clear()
        for device in self.__devices.values():
            device.said = None
            if device.enabled:
                poller.say_availability(device)
                if not first:
                    poller.refresh(device)
        if self.__discovery is not None:
            self.__discovery.online(first=first)

    def __on_meta(self, message: Message) -> None:
        question = message.levels[2]
        if question == "info":
            self.mqtt.publish("meta/info", self.__info())
        elif question == "devices_list":
            self.mqtt.publish("meta/devices_list", self.__devices_list())

    def __info(self) -> dict[str, Any]:
        return {
            "instance_id": self.instance_id,
            "connector_type": self.__settings.connector_type,
            "devices_count": len(self.__devices),
            "groups_count": len(self.__groups),
            "uptime": round(self.clock.monotonic() - self.__born, 3),
            "health": {"ok": not (faults := self.__faults()), "faults": faults},
        }

    def __faults(self) -> list[str]:
        polled = self.__overrides("get_device_state")
        return condition.faults(
            self.mqtt.figures,
            self.__engine,
            now=self.clock.monotonic(),
            interval=self.update_interval if polled else None,
            devices=self.__devices.values(),
        )

    def __devices_list(self) -> list[dict[str, Any]]:
        return [
            {
                "device_id": device.id,
                "global_id": f"{self.instance_id}_{device.id}",
                "model": device.model,
                "enabled": device.enabled,
                "online": device.enabled and device.online,
            }
            for device in self.__devices.values()
        ]
