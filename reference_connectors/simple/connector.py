"""Lamps and a thermometer behind a hub: a small connector that does everything the contract asks for."""

from collections.abc import Mapping
from typing import Any

from hub import Hub

from iot2mqtt_sdk import BaseConnector, CommandError


# --8<-- [start:check]
def check(name: str, value: Any) -> None:
    """Refuse what no lamp can take.

    Raises:
        CommandError: The sender is told its code and message.
    """
    if name == "power":
        if not isinstance(value, bool):
            raise CommandError("invalid_value", f"power must be true or false, not {value!r}")
    elif name == "brightness":
        if type(value) is not int or value not in range(101):
            raise CommandError("invalid_value", f"brightness must be a whole number from 0 to 100, not {value!r}")
    else:
        raise CommandError("unsupported_property", f"a lamp has no property {name!r}")


# --8<-- [end:check]
# --8<-- [start:connector]
class LampHub(BaseConnector):
    """One hub; the instance file says where it is, and which of its devices to serve."""

    def initialize_connection(self) -> None:
        """Get ready to speak to the hub, and pass on what it reports by itself."""
        self.hub = Hub(**self.config["connection"])
        self.hub.watch(self.on_event)

    def cleanup_connection(self) -> None:
        """Stop listening to the hub."""
        self.hub.close()

    def get_device_state(self, device_id: str, device_config: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Read one device; whatever is raised here is told on its error topic."""
        return self.hub.get(device_config["address"])

    def set_device_state(self, device_id: str, device_config: Mapping[str, Any], state: Mapping[str, Any]) -> bool:
        """Command one device: all values or none of them."""
        if device_config["type"] != "light":
            raise CommandError("unsupported_property", f"{device_id} can only be read")
        for name, value in state.items():
            check(name, value)
        self.hub.set(device_config["address"], state)
        return True

    def on_event(self, address: str, event: str) -> None:
        """Publish an event for the device with this address."""
        for device in self.config["devices"]:
            if device["address"] == address and device.get("enabled", True):
                self.publish_event(device["device_id"], event)


LampHub.main()
# --8<-- [end:connector]
