"""The process that speaks MQTT, and the only one: it passes on what the poller and the listener do and say."""

import os
from collections.abc import Mapping
from typing import Any

from protocol import end_with_supervisor
from workers import Workers

from iot2mqtt_sdk import BaseConnector, CommandError, ConfigurationError

SERVED_BY = {"pump": "poller", "gate": "listener"}
"""Which process serves the devices of a type."""
STARTS_WITHIN = 5.0
"""Seconds that `online` waits for the other processes."""
PATIENCE = 10.0
"""Seconds that another process may take to answer: longer than a device may, which it says itself."""


# --8<-- [start:check]
def check(name: str, value: Any) -> None:
    """Refuse what no pump can take.

    Raises:
        CommandError: The sender is told its code and message.
    """
    if name == "running":
        if not isinstance(value, bool):
            raise CommandError("invalid_value", f"running must be true or false, not {value!r}")
    elif name == "speed":
        if type(value) is not int or value not in range(101):
            raise CommandError("invalid_value", f"speed must be a whole number from 0 to 100, not {value!r}")
    else:
        raise CommandError("unsupported_property", f"a pump has no property {name!r}")


# --8<-- [end:check]
class PumpHouse(BaseConnector):
    """One pump house; the instance file says where its controller is, and which devices to serve."""

    def initialize_connection(self) -> None:
        """Listen for the other processes, and give them a while to come."""
        if "BRIDGE_SOCKET" not in os.environ:
            raise ConfigurationError("this is one process of several: start supervisor.py, which starts it")
        connection = self.config.get("connection", {})
        if not {"host", "port"} <= connection.keys():
            raise ConfigurationError("the instance's connection needs the host and the port of the controller")
        devices = {device["device_id"]: device for device in self.config["devices"] if device.get("enabled", True)}
        self.names = {device_id: SERVED_BY[device["type"]] for device_id, device in devices.items()}
        orders = {
            worker: {
                "connection": connection,
                "devices": {name: devices[name]["address"] for name in devices if self.names[name] == worker},
            }
            for worker in SERVED_BY.values()
        }
        self.workers = Workers(path=os.environ["BRIDGE_SOCKET"], orders=orders, on_line=self.on_line)
        self.workers.start()
        for worker in orders:
            self.workers.wait_for(worker, STARTS_WITHIN)

    def cleanup_connection(self) -> None:
        """Listen no more."""
        self.workers.stop()

    def get_device_state(self, device_id: str, device_config: Mapping[str, Any]) -> Any:
        """Have a device read; whatever is raised here is told on its error topic."""
        return self.workers.ask(SERVED_BY[device_config["type"]], PATIENCE, get=device_id)

    def set_device_state(self, device_id: str, device_config: Mapping[str, Any], state: Mapping[str, Any]) -> bool:
        """Have a device commanded: all values or none of them."""
        if device_config["type"] != "pump":
            raise CommandError("unsupported_property", f"{device_id} can only be read")
        for name, value in state.items():
            check(name, value)
        self.workers.ask("poller", PATIENCE, set=device_id, values=dict(state))
        return True

    def on_line(self, line: Mapping[str, Any]) -> None:
        """Publish what another process tells unasked."""
        if "state" in line:
            self.publish_state(line["state"], line["values"])
        elif "event" in line:
            self.publish_event(line["event"], line["name"])
        elif "failure" in line:
            self.publish_failure(line["failure"], line["error"])
        elif "died" in line:
            self.on_death(line["died"], line["how"], line["again_in"])

    def on_death(self, worker: str, how: str, again_in: float) -> None:
        """Tell of each device that nobody serves any more; the worker's first states bring them back."""
        for device_id, name in self.names.items():
            if name == worker:
                text = f"the {worker} {how}, and is started again in {again_in:.1f} s"
                self.publish_failure(device_id, text, code="PROCESS_DIED")


if __name__ == "__main__":
    end_with_supervisor()
PumpHouse.main()
