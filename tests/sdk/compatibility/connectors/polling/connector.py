# Written as connectors for IoT2mqtt are: only the import of the SDK is new.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN204, ARG002, BLE001, DTZ005, G004, TRY400
import logging
from datetime import datetime

from iot2mqtt_sdk import BaseConnector

logger = logging.getLogger(__name__)


class Bulb:
    def __init__(self, ip):
        self.ip = ip
        self.power = False
        self.brightness = 50


class Connector(BaseConnector):
    def __init__(self, config_path=None, instance_name=None):
        super().__init__(config_path, instance_name)
        self.bulbs = {}
        self.effect = self.config.get("effect", "smooth")

    def initialize_connection(self):
        for device_config in self.config["devices"]:
            if device_config.get("enabled", True):
                self.bulbs[device_config["device_id"]] = Bulb(device_config["ip"])
        logger.info(f"{self.instance_id}: {len(self.bulbs)} bulbs, every {self.update_interval} s")

    def cleanup_connection(self):
        self.bulbs.clear()
        logger.info("bulbs closed")

    def get_device_state(self, device_id, device_config):
        bulb = self.bulbs[device_id]
        return {"power": bulb.power, "brightness": bulb.brightness, "seen": datetime.now()}

    def set_device_state(self, device_id, device_config, state):
        bulb = self.bulbs[device_id]
        known = self.devices[device_id]["state"]
        try:
            if "power" in state:
                bulb.power = state["power"]
            if "brightness" in state:
                bulb.brightness = int(state["brightness"])
        except Exception as e:
            logger.error(f"Error setting {device_id} (was {known}): {e}")
            self.mqtt.publish_error(device_id, "COMMAND_FAILED", str(e))
            return False
        return True
