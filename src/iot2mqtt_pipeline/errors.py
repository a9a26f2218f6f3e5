"""The errors of the pipeline, grouped by what a stage does about them.

Iot2MqttError
└── PipelineError
    ├── PermanentError      this record can never be carried: it goes to the dead letters, the others go on
    │   └── RefusedError    the one of several outgoing records that Kafka never takes
    ├── TransientError      a server is away or busy: pause, try the same records again, dead-letter nothing
    └── FencedError         another process has taken this one's place: end, and start anew

What a person has to mend before anything can run is iot2mqtt_sdk.errors.ConfigurationError.
"""

from iot2mqtt_sdk.errors import Iot2MqttError


class PipelineError(Iot2MqttError):
    """What the errors of the pipeline have in common."""


class PermanentError(PipelineError):
    """One record is at fault, and trying again is of no use.

    Args:
        reason: For metrics and for `dlq list`: one of a small set of words with underscores, such as `bad_json`,
            `bad_time`, `bad_value`, `unknown_encoding`, `unknown_topic`, `too_large`.
        message: For people: what is wrong with the record, in one sentence.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class TransientError(PipelineError):
    """A broker or database is away, or refuses for now.

    Args:
        message: For people: which one, and why.
        server: For metrics: `kafka`, `database` or `mqtt`.
    """

    def __init__(self, message: str, *, server: str = "kafka") -> None:
        super().__init__(message)
        self.server = server


class RefusedError(PermanentError):
    """Kafka never takes one of the records that were to be written together.

    Args:
        index: Which of them, counted from 0.
        reason: As of PermanentError.
        message: As of PermanentError.
    """

    def __init__(self, index: int, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.index = index


class FencedError(PipelineError):
    """Another process has taken this one's place, or Kafka has given it up: only a new process can go on."""
