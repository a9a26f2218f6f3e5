"""Connect devices to MQTT by the IoT2MQTT connector contract."""

from iot2mqtt_sdk.client import MQTTClient
from iot2mqtt_sdk.connector import BaseConnector
from iot2mqtt_sdk.errors import (
    BrokerError,
    CommandError,
    ConfigurationError,
    InitializationError,
    Iot2MqttError,
    PayloadError,
)

__all__ = [
    "BaseConnector",
    "BrokerError",
    "CommandError",
    "ConfigurationError",
    "InitializationError",
    "Iot2MqttError",
    "MQTTClient",
    "PayloadError",
]
