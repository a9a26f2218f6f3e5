"""The instance configuration for programs that are no BaseConnector: starters, and processes beside a bridge."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iot2mqtt_sdk import logs
from iot2mqtt_sdk.masking import Mask, secret_values
from iot2mqtt_sdk.runtime import config as configuration
from iot2mqtt_sdk.settings import load as load_settings


@dataclass(frozen=True, slots=True)
class Instance:
    """The configuration of one instance.

    Attributes:
        instance_id: The instance.
        file: Its file.
        config: What the file holds, with the secrets of `connection` in their places; not for the log as a whole.
    """

    instance_id: str
    file: Path
    config: dict[str, Any]


def load_instance(config_path: str | None = None, instance_name: str | None = None) -> Instance:
    """Read the instance file and its secrets as BaseConnector does (clauses I2M-ENV-09, I2M-ENV-10, I2M-ENV-14).

    The same faults are found, in the same words. What the SDK logs does not show the secrets from then on.

    Args:
        config_path: The instance file; by default ${IOT2MQTT_PATH:-/app}/instances/${INSTANCE_NAME}.json.
        instance_name: INSTANCE_NAME by default.

    Raises:
        ConfigurationError: The environment or the instance file is missing or wrong; the message names it and the
            fault.
    """
    settings = load_settings()
    file, name = configuration.locate(settings, config_path, instance_name)
    loaded = configuration.load(file, settings, name)
    logs.hide(Mask({settings.password, loaded.settings.password, *loaded.secrets, *secret_values(loaded.document)}))
    return Instance(name, file, loaded.document)
