"""What a launch is given: its configuration, its environment and its files."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iot2mqtt_conformance.launch_image import open_up
from iot2mqtt_conformance.names import DISABLED, NEIGHBOUR, PREFIX
from iot2mqtt_conformance.peripherals import placed
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.stage import Stage


class Outfit:
    """What one launch is given.

    Args:
        stage: What all launches share.
        setting: How this one differs from the usual one.
        instance: The instance's name.
        base: The base topic.
        ports: The ports that placeholders of the declaration stand for.
    """

    def __init__(self, stage: Stage, setting: Setting, instance: str, base: str, ports: Mapping[str, int]) -> None:
        self._stage = stage
        self._setting = setting
        self._instance = instance
        self._base = base
        self._ports = ports

    def configuration(self) -> dict[str, Any]:
        """Return the instance configuration: the declared one with what the suite adds and sets."""
        config: dict[str, Any] = placed(copy.deepcopy(dict(self._stage.declaration.instance)), self._ports)
        first = next(device for device in config["devices"] if device.get("enabled", True))
        config["devices"].append({**first, "device_id": DISABLED, "enabled": False})
        config.setdefault("groups", []).extend(self._setting.groups)
        config.update(instance_id=self._instance, connector_type=self._stage.declaration.name)
        if self._stage.declaration.reporting == "polling":
            config["update_interval"] = self._setting.interval
        changed: dict[str, Any] = placed(self._setting.configure(config), self._ports)
        return changed

    def environment(self, folder: Path, port: int) -> dict[str, str]:
        """Return the contract's variables, for a broker on a port of this machine."""
        chosen = {
            "IOT2MQTT_PATH": str(folder),
            "IOT2MQTT_SECRETS_DIR": str(folder / "secrets"),
            "INSTANCE_NAME": self._instance,
            "CONNECTOR_TYPE": self._stage.declaration.name,
            "MODE": "production",
            "PYTHONUNBUFFERED": "1",
            "MQTT_HOST": "127.0.0.1",
            "MQTT_PORT": str(port),
            "MQTT_USERNAME": self._setting.username,
            "MQTT_PASSWORD": self._setting.password,
            "MQTT_BASE_TOPIC": self._base,
            "MQTT_CLIENT_PREFIX": PREFIX,
            "MQTT_QOS": None if self._setting.qos is None else str(self._setting.qos),
            "MQTT_RETAIN": self._setting.retain,
            "MQTT_KEEPALIVE": str(self._setting.keepalive),
            "LOG_LEVEL": self._setting.log_level,
            "TZ": self._setting.tz,
            **self._setting.env,
        }
        return {name: value for name, value in chosen.items() if value is not None}

    def write_files(self, folder: Path, config: Mapping[str, Any], port: int) -> None:
        """Write everything that the contract says a connector finds below IOT2MQTT_PATH."""
        for name in ("instances", "shared", "secrets"):
            (folder / name).mkdir()
        for ending, text in self._setting.secrets.items():
            (folder / "secrets" / f"{self._instance}{ending}").write_text(text, encoding="utf-8")
        (folder / ".env").write_text(self._setting.env_file.replace("{port}", str(port)), encoding="utf-8")
        if self._setting.config_text is not None:
            text = self._setting.config_text(json.dumps(config, indent=2))
            (folder / "instances" / f"{self._instance}.json").write_text(text, encoding="utf-8")
        neighbour = {"instance_id": NEIGHBOUR, "devices": [{"device_id": f"{NEIGHBOUR}1"}], "groups": []}
        text = json.dumps({**config, **neighbour})
        (folder / "instances" / f"{NEIGHBOUR}.json").write_text(text, encoding="utf-8")
        if self._stage.image:
            open_up(folder)
