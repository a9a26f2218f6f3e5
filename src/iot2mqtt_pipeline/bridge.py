"""The bridge: every MQTT message becomes a record of the raw topic, and is acknowledged when Kafka has it.

At least once: what was not confirmed when a connection or this process ends, the broker sends again.
"""

import logging
import time
from collections import deque

from iot2mqtt_pipeline import letters
from iot2mqtt_pipeline.errors import PermanentError, PipelineError, TransientError
from iot2mqtt_pipeline.record import encode_raw
from iot2mqtt_pipeline.stage import DeadLetter, Figures, Inbox, Message, NoFigures, Outbox, Outgoing, Stopped
from iot2mqtt_pipeline.topics import device_of, verdict_of

_log = logging.getLogger("iot2mqtt.pipeline.bridge")

WINDOW = 10_000
"""Messages that are on their way to Kafka at the most; the broker keeps the others."""
WINDOW_BYTES = 64 * 1024 * 1024
"""Bytes of payload from which on no further message is taken, however few are on their way."""
BATCH = 1000
GRACE = 10.0
"""Seconds that the end waits for Kafka to confirm what is on its way."""
_QUIET = 0.5
"""Seconds to wait for a message when nothing is on its way."""
_TICK = 0.001
"""Seconds to wait for a message before looking for what Kafka has confirmed."""
_FULL = 0.05
_BURIALS = 2
_DIGITS = [str(qos).encode() for qos in range(3)]


class _Flight:
    """A message on its way, and what Kafka has said of it; called with that."""

    __slots__ = ("began", "burials", "error", "message", "safe")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.began = time.monotonic()
        self.safe = False
        self.error: PipelineError | None = None
        self.burials = 0

    def __call__(self, error: PipelineError | None) -> None:
        self.safe = error is None
        self.error = error


class Bridge:
    """Carries messages from an inbox to an outbox.

    Args:
        inbox: Where messages come from.
        outbox: Where records go.
        topic: The raw topic; its dead letters have its name with `.dlq`.
        figures: Counts what happens.
        window: How many messages may be on their way.
    """

    def __init__(
        self, *, inbox: Inbox, outbox: Outbox, topic: str, figures: Figures | None = None, window: int = WINDOW
    ) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._topic = topic
        self._figures = figures or NoFigures()
        self._window = window
        self._flying: deque[_Flight] = deque()
        self._bytes = 0

    def run(self, stopped: Stopped) -> None:
        """Carry messages until told to stop, then wait a bounded time for what is on its way.

        Raises:
            FencedError: Only a new process can go on.
            ConfigurationError: The inbox cannot be opened as it is configured.
        """
        try:
            while not stopped():
                self._round()
        finally:
            self._finish()

    def _round(self) -> None:
        room = min(BATCH, self._window - len(self._flying)) if self._bytes < WINDOW_BYTES else 0
        messages = self._inbox.receive(room, _TICK if self._flying else _QUIET)
        for message in messages:
            self._forward(message)
        if messages:
            self._figures.received(len(messages))
        self._outbox.serve(0 if room > 0 else _FULL)
        self._confirm()

    def _finish(self) -> None:
        try:
            left = self._outbox.flush(GRACE) if self._flying else 0
            self._confirm()
            if left:
                _log.warning("%d messages are not confirmed by Kafka; the broker sends them again", left)
        finally:
            self._inbox.close()

    # ------------------------------------------------------------------ one message
    def _forward(self, message: Message) -> None:
        flight = _Flight(message)
        self._flying.append(flight)
        self._bytes += len(message.payload)
        try:
            device = device_of(message.topic)
            value = encode_raw(topic=message.topic, device_id=device, payload=message.payload, arrived=message.arrived)
            self._outbox.send(Outgoing(self._topic, device.encode(), value, _headers(message)), flight)
        except PermanentError as error:
            # What the contract knows and nobody stores comes by where a filter is wider than ours.
            flight.safe = verdict_of(message.topic) == "ignore"
            if not flight.safe:
                self._bury(flight, error)
        except TransientError as error:
            flight.error = error

    def _bury(self, flight: _Flight, error: PermanentError) -> None:
        """Send a message to the dead letters, and without its bytes if those do not take them."""
        message = flight.message
        flight.error = None
        flight.burials += 1
        if flight.burials == 1:
            _log.warning("a message goes to %s%s: %s", self._topic, letters.SUFFIX, error.message)
            self._figures.dead_letter(error.reason)
        elif flight.burials > _BURIALS:
            raise error
        headers = [*_headers(message), (letters.ARRIVED, repr(message.arrived).encode())]
        letter = DeadLetter(
            message.topic, -1, -1, None, message.payload, headers, "bridge", error.reason, error.message
        )
        try:
            self._outbox.send(letters.outgoing(letter, self._topic, stub=flight.burials > 1), flight)
        except PipelineError as trouble:
            flight.error = trouble

    # ------------------------------------------------------------------ what Kafka says
    def _confirm(self) -> None:
        """Acknowledge what is safe, in the order of receipt, and begin again with what is not."""
        safe: list[_Flight] = []
        failure: PipelineError | None = None
        while self._flying:
            flight = self._flying[0]
            if isinstance(flight.error, PermanentError):
                self._bury(flight, flight.error)
            else:
                failure = flight.error
            if failure is not None or not flight.safe:
                break
            safe.append(self._flying.popleft())
        if safe:
            self._bytes -= sum(len(flight.message.payload) for flight in safe)
            self._inbox.acknowledge([flight.message for flight in safe])
            self._figures.forwarded(len(safe))
            self._figures.batch(len(safe), time.monotonic() - safe[0].began)
        if failure is not None:
            self._start_over(failure)

    def _start_over(self, error: PipelineError) -> None:
        """Forget what is on its way, and have the broker send it again, in order."""
        _log.warning("%s; %d messages start over", error, len(self._flying))
        self._figures.trouble("kafka")
        self._outbox.discard()
        self._flying.clear()
        self._bytes = 0
        self._inbox.renew()


def _headers(message: Message) -> list[tuple[str, bytes]]:
    return [
        ("mqtt-qos", _DIGITS[message.qos]),
        ("mqtt-retain", b"1" if message.retain else b"0"),
        ("mqtt-dup", b"1" if message.dup else b"0"),
        ("message-id", str(message.packet_id).encode()),
    ]
