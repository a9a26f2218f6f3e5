"""The connector that is measured, on BaseConnector."""

import time
from collections.abc import Mapping
from typing import Any

from iot2mqtt_sdk import BaseConnector


class Lamps(BaseConnector):
    """Lamps in memory; one with `hangs` takes as many seconds to answer."""

    def initialize_connection(self) -> None:
        """Begin with all lamps off."""
        self.power: dict[str, bool] = {}

    def get_device_state(self, device_id: str, device_config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the lamp's state."""
        time.sleep(device_config.get("hangs", 0))
        return {"power": self.power.get(device_id, False)}

    def set_device_state(self, device_id: str, device_config: Mapping[str, Any], state: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """Switch the lamp."""
        self.power[device_id] = state["power"]
        return True


Lamps.main()
