"""Connect devices to MQTT by the IoT2MQTT connector contract.

What is named here is public. Each name is imported when it is first used, so that an action script does not pay for the
MQTT client, nor a connector for the models that it does not declare.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iot2mqtt_sdk.client import MQTTClient
    from iot2mqtt_sdk.connector import BaseConnector
    from iot2mqtt_sdk.contract.instance import DeviceConfig, GroupConfig, InstanceConfig
    from iot2mqtt_sdk.errors import (
        BrokerError,
        CommandError,
        ConfigurationError,
        InitializationError,
        Iot2MqttError,
        PayloadError,
    )
    from iot2mqtt_sdk.instance import Instance, load_instance
    from iot2mqtt_sdk.properties import Property

__all__ = [
    "BaseConnector",
    "BrokerError",
    "CommandError",
    "ConfigurationError",
    "DeviceConfig",
    "GroupConfig",
    "InitializationError",
    "Instance",
    "InstanceConfig",
    "Iot2MqttError",
    "MQTTClient",
    "PayloadError",
    "Property",
    "load_instance",
]

_HOMES = {
    "BaseConnector": "connector",
    "Instance": "instance",
    "MQTTClient": "client",
    "Property": "properties",
    "DeviceConfig": "contract.instance",
    "GroupConfig": "contract.instance",
    "InstanceConfig": "contract.instance",
    "load_instance": "instance",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
