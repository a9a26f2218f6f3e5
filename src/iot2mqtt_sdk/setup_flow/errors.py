"""The one error of a setup run."""

from iot2mqtt_sdk.errors import Iot2MqttError


class SetupError(Iot2MqttError):
    """The run cannot go on, and nothing was written; the message is a sentence that says what to do."""
