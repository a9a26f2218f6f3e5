"""The errors that this library raises, grouped by what the caller should do.

Iot2MqttError
├── ConfigurationError      mend the file or variable that the message names; trying again is of no use
├── BrokerError             try again: the broker is away or refuses us
├── InitializationError     the connector's own initialize_connection failed
├── PayloadError            the value cannot be published; mend the hook that returned it
└── CommandError            raised by hooks: the command is refused, and the sender is told why
"""


class Iot2MqttError(Exception):
    """What all errors of this library have in common."""


class ConfigurationError(Iot2MqttError):
    """A file, variable or argument is missing or wrong; the message names it and the fault."""


class BrokerError(Iot2MqttError):
    """The broker cannot be reached, or refuses the connection; the message says which."""


class InitializationError(Iot2MqttError):
    """initialize_connection raised, so the connector never went online (clause I2M-STATUS-08)."""


class PayloadError(Iot2MqttError):
    """A value cannot be written as JSON, or a name cannot be part of a topic (clauses I2M-PUB-02, I2M-PUB-04)."""


class CommandError(Iot2MqttError):
    """A command is refused or has failed; it becomes the `error` of the response (clause I2M-CMD-05).

    Args:
        code: For programs, such as `invalid_value` or `unsupported_property`.
        message: For people: what is wrong with the command.
        retriable: Whether the same command may succeed later.
    """

    def __init__(self, code: str, message: str, retriable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retriable = retriable
