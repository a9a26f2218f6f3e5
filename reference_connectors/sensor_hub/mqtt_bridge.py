"""The process that speaks MQTT, and the only one: it publishes what the state aggregator knows."""

import os
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from lifeline import end_with_supervisord
from peer import Peer, PeerError
from plan import HANDLERS

from iot2mqtt_sdk import BaseConnector, CommandError, ConfigurationError

READY_WITHIN = 10.0
"""Seconds to wait for the other services at the start."""
ANSWER_WITHIN = 10.0
"""Seconds that a reading may take."""
LOOK_EVERY = 1.0
"""Seconds between two looks at the other services."""
HEALTH_WITHIN = 5.0
"""Seconds that the aggregator may take to tell how it and the handlers are."""
MISSED = 2
"""Looks in vain, one after the other, after which a service counts as away."""
LEFT_OUT = {"sensor_id", "type", "value", "timestamp", "cached", "cache_age"}
"""What a reading holds beside the properties of its device."""


class SensorHub(BaseConnector):
    """Publishes readings, and tells when a process that reads them has died."""

    def initialize_connection(self) -> None:
        """Wait for the state aggregator, and watch the other processes from then on."""
        if "STATE_AGGREGATOR_URL" not in os.environ:
            raise ConfigurationError("this is one process of several: start main.py, which starts it")
        self.ended = threading.Event()
        self.aggregator = Peer(name="state-aggregator", url=os.environ["STATE_AGGREGATOR_URL"], timeout=ANSWER_WITHIN)
        if not self.aggregator.wait(READY_WITHIN, self.ended):
            raise TimeoutError(f"state-aggregator was not ready within {READY_WITHIN:g} s")
        # What is seen before `online` is what later looks are compared with: a process may die right after it.
        threading.Thread(target=self.watch, args=(self.look(),), daemon=True).start()

    def cleanup_connection(self) -> None:
        """End the watch."""
        self.ended.set()

    def get_device_state(self, device_id: str, device_config: Mapping[str, Any]) -> dict[str, Any]:
        """Return a reading that is at most half an update_interval old, so that no poll gets what the last one got."""
        headers = {"Cache-Control": f"max-age={(self.update_interval or 0) / 2:.3f}"}
        reading = self.aggregator.get(f"/device/{quote(device_id, safe='')}", headers)
        state = {name: value for name, value in reading.items() if name not in LEFT_OUT}
        return {device_config["sensor_type"]: reading["value"], **state} if "value" in reading else state

    def set_device_state(self, device_id: str, device_config: Mapping[str, Any], state: Mapping[str, Any]) -> bool:
        """Refuse: sensors can only be read."""
        kind = device_config["sensor_type"]
        raise CommandError("unsupported_property", f"{device_id} is a {kind} sensor, which takes no {', '.join(state)}")

    def watch(self, lives: dict[str, str | None]) -> None:
        """Look at the other processes again and again, and report each that dies, also between two polls."""
        missed: dict[str, int] = {}
        while not self.ended.wait(LOOK_EVERY):
            for service, life in self.look().items():
                missed[service] = 0 if life else missed.get(service, 0) + 1
                if life and lives.get(service) not in (life, None):
                    self.report(service, "has ended unexpectedly and was started again")
                elif missed[service] == MISSED:
                    self.report(service, "does not answer any more")
                lives[service] = life or lives.get(service)

    def look(self) -> dict[str, str | None]:
        """Return when each of the other processes was started; None for one that does not answer."""
        try:
            health = self.aggregator.health(HEALTH_WITHIN)
        except PeerError:
            return {"aggregator": None}
        return {
            "aggregator": health["started"],
            **{name: handler.get("started") for name, handler in health["handlers"].items()},
        }

    def report(self, service: str, what: str) -> None:
        """Report all devices that a process serves."""
        for device in self.config["devices"]:
            if service in ("aggregator", HANDLERS[device["sensor_type"]]):
                self.publish_failure(device["device_id"], f"the process of the {service} {what}", "SERVICE_DOWN")


end_with_supervisord()
SensorHub.main()
