"""A translation layer between Zigbee2MQTT and the contract, in both directions."""

import re
import threading
import time
from collections.abc import Mapping
from typing import Any

from brokers import broker_of
from exposes import EVENTS, SET, STATE
from network import LARGEST, Expectation, MalformedError, Served, ZigbeeDevice, is_online, listed, mapping

from iot2mqtt_sdk import BaseConnector, CommandError, ConfigurationError, PayloadError

BASE_TOPIC = "zigbee2mqtt"
PATIENCE = 10.0
"""Seconds that a device may take to answer."""
APPEARS = 5.0
"""Seconds until Zigbee2MQTT is missed, if nothing is heard of it."""
FRESH = 1.0
"""Seconds for which a device is not asked again for what it has just told."""
EARLY = 1000
"""Messages that are kept until it is known which devices they are about."""
UNHEARD = "nothing has been heard of Zigbee2MQTT yet"
OTHERS = ("set", "get")
"""Last levels of topics that others, and this connector, say to Zigbee2MQTT."""


class UnreachableError(Exception):
    """A device cannot be reached; the message says why."""


class Zigbee2Mqtt(BaseConnector):
    """One Zigbee2MQTT; the instance file says where it is, and which of its devices to serve."""

    update_interval = None

    # ------------------------------------------------------------------ hooks
    def initialize_connection(self) -> None:
        """Begin to listen to Zigbee2MQTT; what it keeps at the broker tells all there is to know."""
        connection = self.config.get("connection", {})
        self.base = connection.get("base_topic", BASE_TOPIC)
        if not isinstance(self.base, str) or not self.base.strip("/") or set(self.base) & set("+#"):
            raise ConfigurationError(f"connection.base_topic must be a topic without + and #, not {self.base!r}")
        self.served = {
            device["device_id"]: Served(device["device_id"], device["address"])
            for device in self.config.get("devices", [])
            if device.get("enabled", True)
        }
        self.trouble: str | None = UNHEARD
        self.topics: dict[str, list[Served]] = {}
        self.early: dict[str, bytes] | None = {}
        self.found: list[dict[str, str]] = []
        self.missing = threading.Timer(APPEARS, self.miss)
        self.missing.daemon = True
        self.broker = broker_of(connection, self.mqtt)
        # From here on messages come, on another thread; a timer that one of them has cancelled starts and does nothing.
        self.broker.open(f"{self.base}/#", self.on_message, self.lose_all)
        self.missing.start()

    def cleanup_connection(self) -> None:
        """Listen no more."""
        self.missing.cancel()
        self.broker.close()

    def get_device_state(self, device_id: str, device_config: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Ask a device; one that sleeps cannot be asked, and what it has told last is its state."""
        served = self.served[device_id]
        zigbee = self.reachable(served)
        question = zigbee.question()
        if question and time.monotonic() - served.told_at > FRESH:
            self.ask(served, Expectation(f"{zigbee.name}/get", question, {}))
        if not served.state:
            raise UnreachableError("it has not told its state yet, and cannot be asked for it")
        return served.state

    def set_device_state(
        self,
        device_id: str,
        device_config: Mapping[str, Any],  # noqa: ARG002
        state: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Command a device, and wait until it tells that it has done so."""
        served = self.served[device_id]
        zigbee = self.reachable(served)
        order = {}
        for name, value in state.items():
            if name not in zigbee.features:
                known = ", ".join(name for name, feature in zigbee.features.items() if feature.access & SET) or "none"
                raise CommandError("unsupported_property", f"{zigbee.model} has no {name!r}; those to set: {known}")
            order[name] = zigbee.features[name].to_zigbee(value)
        wanted = {name: value for name, value in state.items() if zigbee.features[name].access & STATE}
        self.ask(served, Expectation(f"{zigbee.name}/set", order, wanted), confirmed=bool(wanted))
        return {name: served.state[name] if name in wanted else value for name, value in state.items()}

    def reachable(self, served: Served) -> ZigbeeDevice:
        """Return a device that can be asked and commanded.

        Raises:
            UnreachableError: There is none.
        """
        if self.trouble is not None:
            raise UnreachableError(self.trouble)
        if served.zigbee is None:
            raise UnreachableError(f"Zigbee2MQTT knows no device {served.address}")
        if not served.available:
            raise UnreachableError("Zigbee2MQTT cannot reach it")
        return served.zigbee

    def ask(self, served: Served, expected: Expectation, *, confirmed: bool = True) -> None:
        """Send a message about a device, and wait for what is expected.

        Raises:
            UnreachableError: It could not be sent, or Zigbee2MQTT or the device did not answer, or said no.
        """
        served.expected = expected
        try:
            if not self.broker.publish(f"{self.base}/{expected.topic}", expected.payload):
                raise UnreachableError("the broker of Zigbee2MQTT is away")
            if confirmed:
                expected.result(PATIENCE)
        except TimeoutError:
            # A device that has told something else has done what it could.
            if not expected.wanted or not expected.told:
                raise UnreachableError(f"it has not answered within {PATIENCE:g} s") from None
        finally:
            served.expected = None

    # ------------------------------------------------------------------ what Zigbee2MQTT says
    def on_message(self, topic: str, payload: bytes, retained: bool) -> None:
        """Take a message; one that is malformed is told of, and changes nothing."""
        name = topic.removeprefix(f"{self.base}/")
        try:
            if name.startswith("bridge/"):
                self.on_bridge(name.removeprefix("bridge/"), payload)
            elif name in self.topics:
                self.on_state(self.topics[name], payload, retained=retained)
            elif self.early is not None:
                self.keep(name, payload)
            elif name.endswith("/availability"):
                self.on_availability(name.removesuffix("/availability"), payload)
        except (MalformedError, PayloadError) as error:
            concerned = self.topics.get(name.removesuffix("/availability"), list(self.served.values()))
            self.complain(concerned, "INVALID_PAYLOAD", f"a message on {topic} is left out: {error}")

    def keep(self, name: str, payload: bytes) -> None:
        """Keep what comes before the list that says which device it is about."""
        room = self.early is not None and len(self.early) < EARLY and len(payload) <= LARGEST
        if self.early is not None and room and name.rpartition("/")[2] not in OTHERS:
            self.early[name] = payload

    def on_bridge(self, name: str, payload: bytes) -> None:
        """Take a message that is about Zigbee2MQTT itself."""
        if name == "state":
            self.on_bridge_state(online=is_online(payload))
        elif name == "devices":
            self.on_devices(listed(payload))
        elif name == "event":
            self.on_bridge_event(mapping(payload))
        elif name == "logging":
            self.on_logging(mapping(payload))
        elif name.startswith("response/"):
            self.on_response(name.removeprefix("response/"), mapping(payload))

    def on_bridge_state(self, *, online: bool) -> None:
        """Zigbee2MQTT comes or goes, and all devices with it."""
        self.missing.cancel()
        if not online:
            self.lose_all("Zigbee2MQTT is offline")
        elif self.trouble is not None:
            self.trouble = None
            for served in self.served.values():
                self.refresh(served)
        else:
            self.repeat()

    def repeat(self) -> None:
        """Send again what is waited for: the connection was lost, and that maybe with it."""
        for served in self.served.values():
            expected = served.expected
            if expected is not None and not expected.done():
                self.broker.publish(f"{self.base}/{expected.topic}", expected.payload, late=True)

    def on_devices(self, devices: list[ZigbeeDevice]) -> None:
        """Take the list of all devices: some may be new, gone, or called otherwise."""
        before, self.topics = {served.id: served.zigbee for served in self.served.values()}, {}
        for served in self.served.values():
            served.zigbee = next((device for device in devices if served.is_meant_by(device)), None)
            if served.zigbee is not None:
                self.topics.setdefault(served.zigbee.name, []).append(served)
        early, self.early = self.early, None
        for name, payload in (early or {}).items():
            self.on_message(f"{self.base}/{name}", payload, retained=True)
        for served in self.served.values():
            if served.zigbee is None and (before[served.id] is not None or early is not None):
                advice = "pair it, or mend its address in the instance file"
                self.lose(served, f"Zigbee2MQTT knows no device {served.address}: {advice}", "UNKNOWN_DEVICE")
            elif served.zigbee != before[served.id]:
                self.refresh(served)
        self.tell_found(devices)

    def tell_found(self, devices: list[ZigbeeDevice]) -> None:
        """Publish the devices that could be served and are not configured."""
        addresses = {device["address"] for device in self.config.get("devices", [])}
        found = [
            {"address": device.ieee, "name": device.name, "model": device.model}
            for device in devices
            if not addresses & {device.ieee, device.name}
        ]
        if found != self.found:
            self.found = found
            self.mqtt.publish_discovered(list(found))

    def on_bridge_event(self, event: Mapping[str, Any]) -> None:
        """Pass on that a configured device has joined, left, was interviewed or has announced itself."""
        data = event.get("data")
        for served in self.concerned(data, "ieee_address", "friendly_name"):
            self.publish_event(served.id, str(event.get("type")), data)

    def on_response(self, request: str, response: Mapping[str, Any]) -> None:
        """Tell of a request that has failed, whoever has made it."""
        if response.get("status") == "error":
            concerned = self.concerned(response.get("data"), "id", "from", "to")
            self.complain(concerned, "REQUEST_FAILED", f"{request} has failed: {response.get('error')}")

    def on_logging(self, line: Mapping[str, Any]) -> None:
        """Tell of what Zigbee2MQTT could not do with a device; it names it in quotes, if at all."""
        if line.get("level") != "error":
            return
        text = str(line.get("message"))
        for name in dict.fromkeys(re.findall(r"'([^']+)'", text)):
            for served in self.topics.get(name, []):
                if served.expected is not None and not served.expected.done():
                    served.expected.set_exception(UnreachableError(text))
                else:
                    self.complain([served], "ZIGBEE2MQTT_ERROR", text)

    def on_availability(self, name: str, payload: bytes) -> None:
        """A device comes or goes."""
        for served in self.topics.get(name, []):
            before, served.available = served.available, is_online(payload)
            if not served.available:
                self.lose(served, "Zigbee2MQTT cannot reach it")
            elif not before:
                self.refresh(served)

    def on_state(self, devices: list[Served], payload: bytes, *, retained: bool) -> None:
        """Pass on what a device tells."""
        document = mapping(payload)
        for served in devices:
            if served.zigbee is None:
                continue
            told = served.zigbee.state(document)
            before, served.state = served.state, {**served.state, **told}
            served.told_at = time.monotonic()
            # Whoever asks for a state publishes it; only news is published besides.
            asked = served.expected is not None and not served.expected.wanted
            if served.state and self.trouble is None and not (asked and served.state == before):
                served.available = True
                self.publish_state(served.id, served.state)
            if served.expected is not None:
                served.expected.look(told)
            for name in EVENTS & document.keys():
                # What the broker has kept happened some time ago; an empty text ends what was.
                if document[name] and not retained:
                    self.publish_event(served.id, str(document[name]), {"property": name})

    # ------------------------------------------------------------------ what follows
    def refresh(self, served: Served) -> None:
        """Bring a device back: ask it, or say again what it told last where it cannot be asked."""
        if self.trouble is not None or served.zigbee is None or not served.available:
            return
        question = served.zigbee.question()
        if question:
            self.broker.publish(f"{self.base}/{served.zigbee.name}/get", question, late=True)
        elif served.state:
            self.publish_state(served.id, served.state)

    def miss(self) -> None:
        """Nothing was heard for a while: tell of it."""
        if self.trouble == UNHEARD:
            self.lose_all(f"nothing is heard of Zigbee2MQTT on {self.base}/bridge/state: does it run, at this broker?")

    def lose_all(self, trouble: str) -> None:
        """No device can be reached."""
        if trouble != self.trouble:
            self.trouble = trouble
            for served in self.served.values():
                self.lose(served, trouble, "BRIDGE_OFFLINE")

    def lose(self, served: Served, trouble: str, code: str = "CONNECTION_FAILED") -> None:
        """A device cannot be reached, and whoever waits for it need not go on."""
        if served.expected is not None and not served.expected.done():
            served.expected.set_exception(UnreachableError(trouble))
        self.publish_failure(served.id, trouble, code=code)

    def complain(self, devices: list[Served], code: str, text: str) -> None:
        """Tell of something that is wrong, and does not keep devices from working."""
        for served in devices:
            self.mqtt.publish_error(served.id, code, text, "warning")

    def concerned(self, data: Any, *keys: str) -> list[Served]:
        """Return the configured devices that a message names."""
        said = [data.get(key) for key in keys] if isinstance(data, dict) else []
        return [served for served in self.served.values() if any(served.is_called(name) for name in said)]


Zigbee2Mqtt.main()
