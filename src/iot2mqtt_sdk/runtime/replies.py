"""Brings responses to those who wait for them."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from iot2mqtt_sdk.clock import Clock
from iot2mqtt_sdk.errors import BrokerError
from iot2mqtt_sdk.jsontext import decode
from iot2mqtt_sdk.runtime.inbox import Inbox, Message

RESPONSES = "devices/+/cmd/response"
KEPT = 300.0
"""Seconds for which a response is kept for somebody who has not asked for it yet."""

Response = dict[str, Any]


@dataclass(slots=True)
class _Expected:
    since: float
    callback: Callable[[Response], Any] | None
    there: threading.Event = field(default_factory=threading.Event)
    response: Response | None = None


class Replies:
    """Responses to the commands that were sent from here, by the command's id."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._following = threading.Lock()
        self._expected: OrderedDict[str, _Expected] = OrderedDict()

    def follow(self, inbox: Inbox, patience: float) -> None:
        """Have the responses brought here; to be called before a command is sent, because some come at once.

        Args:
            inbox: Where they arrive.
            patience: Seconds to wait for the broker's acknowledgement.

        Raises:
            BrokerError: The broker does not grant the subscription.
        """
        with self._following:
            if inbox.has(RESPONSES, self._arrived) or inbox.route(RESPONSES, self._arrived, patience):
                return
            inbox.unroute(RESPONSES, self._arrived)
        raise BrokerError("the broker has not granted the subscription to responses: is the client connected?")

    def _arrived(self, message: Message) -> None:
        try:
            response = decode(message.payload)
        except ValueError:
            return
        if isinstance(response, dict):
            self.take(response)

    def expect(self, identity: str, callback: Callable[[Response], Any] | None = None) -> None:
        """Be ready for a response, before its command is sent.

        Args:
            identity: The command's id.
            callback: Called with the response when it comes.
        """
        now = self._clock.monotonic()
        with self._lock:
            while self._expected and next(iter(self._expected.values())).since < now - KEPT:
                self._expected.popitem(last=False)
            self._expected[identity] = _Expected(now, callback)

    def take(self, response: Response) -> None:
        """Take a response; one that nobody expects is left out."""
        identity = response.get("cmd_id")
        with self._lock:
            expected = self._expected.get(identity) if isinstance(identity, str) else None
        if expected is None or expected.there.is_set():
            return
        expected.response = response
        expected.there.set()
        if expected.callback is not None:
            expected.callback(response)

    def wait(self, identity: str, timeout: float) -> Response | None:
        """Return the response, once it is there; None where it does not come in time, or is not expected.

        Args:
            identity: The command's id.
            timeout: Seconds to wait.
        """
        with self._lock:
            expected = self._expected.get(identity)
        if expected is None or not expected.there.wait(timeout):
            return None
        with self._lock:
            self._expected.pop(identity, None)
        return expected.response
