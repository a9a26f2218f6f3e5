"""What the parts of one running connector share."""

from dataclasses import dataclass

from iot2mqtt_sdk.client import MQTTClient
from iot2mqtt_sdk.clock import Clock
from iot2mqtt_sdk.masking import Mask
from iot2mqtt_sdk.runtime.engine import Engine


@dataclass(frozen=True, slots=True)
class Context:
    """The parts.

    Attributes:
        mqtt: The connection.
        engine: Runs the hooks.
        clock: The time.
        mask: Hides secrets in what is published of an exception.
    """

    mqtt: MQTTClient
    engine: Engine
    clock: Clock
    mask: Mask
