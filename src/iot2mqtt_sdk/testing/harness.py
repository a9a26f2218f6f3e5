"""A connector that runs in a test, without a broker and without waiting."""

import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType, new_class
from typing import Any, Generic, Self, TypeVar
from unittest.mock import patch

from iot2mqtt_sdk.connector import BaseConnector
from iot2mqtt_sdk.contract.time import format_timestamp
from iot2mqtt_sdk.settings import Settings
from iot2mqtt_sdk.testing.memory import MemoryClient
from iot2mqtt_sdk.testing.records import Records, Response

OURS = ("MQTT_", "IOT2MQTT_", "INSTANCE_NAME", "CONNECTOR_TYPE", "MODE", "LOG_LEVEL", "HOMEASSISTANT_", "METRICS_")
"""What the variables begin with that a connector reads; those of the machine are none of a test's business."""
LONGEST = 60.0
"""Seconds of the virtual clock after which an answer is not waited for any more."""

C = TypeVar("C", bound=BaseConnector)


class Harness(Records, Generic[C]):
    """A connector with an instance file, a connection in memory and a virtual clock; a context manager.

    On entering, the connector initialises, comes online and polls its devices for the first time. Time passes only in
    `advance`, `poll`, and while `command` and its like wait for an answer.

    Args:
        kind: The connector's class.
        environment: Variables that its constructor reads, such as MQTT_QOS.
        document: The instance file: `devices`, and whatever else the connector needs.

    Attributes:
        connector: The connector, of a subclass of `kind` that differs in nothing but its connection.
        mqtt: Its connection.
        clock: Its clock.
        published: Everything that it has published, in order.

    Raises:
        ConfigurationError: On making it: the instance file or a variable is wrong.
        InitializationError: On entering: initialize_connection raised.
    """

    def __init__(self, kind: type[C], *, environment: Mapping[str, str] | None = None, **document: Any) -> None:
        with _surroundings(environment or {}, document):
            self.connector: C = _in_memory(kind)()
        mqtt = self.connector.mqtt
        if not isinstance(mqtt, MemoryClient):
            raise TypeError(f"{kind.__name__} replaces its connection `mqtt`, so it cannot run in memory")
        self.mqtt = mqtt
        self.clock = mqtt.clock
        self._numbers = itertools.count(1)
        super().__init__(mqtt.published)

    def __enter__(self) -> Self:
        """Start the connector."""
        self.connector.start()
        self.clock.settle()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the connector."""
        self.stop()

    # ------------------------------------------------------------------ time
    def advance(self, seconds: float) -> None:
        """Let time pass, and let the connector do on the way what falls due."""
        self.clock.advance(seconds)

    def poll(self) -> None:
        """Let one update_interval pass: every device that is well is polled once more.

        Raises:
            AssertionError: The connector does not poll.
        """
        interval = self.connector.update_interval
        if interval is None:
            raise AssertionError(f"{type(self.connector).__name__} polls nothing: its update_interval is None")
        self.clock.advance(interval)

    # ------------------------------------------------------------------ what others ask of the connector
    def send(self, device_id: str, values: Any, *, age: float = 0.0, timeout: float = 5.0) -> str:
        """Send a command, and wait for nothing.

        Args:
            device_id: The device.
            values: Wanted value by property name.
            age: Seconds ago that it was sent; more than 30 is too old.
            timeout: Seconds that the device may take.

        Returns:
            The command's id, for `response`.
        """
        return self._send(f"devices/{device_id}/cmd", values, age, timeout)

    def command(self, device_id: str, /, **values: Any) -> Response:
        """Send a command, and let time pass until it is answered.

        Args:
            device_id: The device.
            values: Wanted value by property name.

        Raises:
            AssertionError: There is no response within a minute.
        """
        return self._answer(self.send(device_id, values))

    def command_group(self, group_id: str, /, **values: Any) -> Response:
        """Send a command to a group, and let time pass until it is answered.

        Raises:
            AssertionError: There is no response within a minute.
        """
        return self._answer(self._send(f"groups/{group_id}/cmd", values, 0.0, 5.0))

    def get(self, device_id: str, *properties: str) -> dict[str, Any]:
        """Ask for a device's state, or for some properties of it, and return the state that is published on that.

        Raises:
            AssertionError: There is none within a minute.
        """
        before = len(self.states(device_id))
        self.mqtt.receive(f"devices/{device_id}/get", {"properties": list(properties)} if properties else None)
        self._until(lambda: len(self.states(device_id)) > before, f"state of {device_id}")
        return self.states(device_id)[before]

    def _send(self, suffix: str, values: Any, age: float, timeout: float) -> str:
        identity = f"command-{next(self._numbers)}"
        stamp = format_timestamp(self.clock.now() - timedelta(seconds=age))
        body = {"id": identity, "timestamp": stamp, "values": values, "timeout": round(timeout * 1000)}
        self.mqtt.receive(suffix, body)
        return identity

    def _answer(self, identity: str) -> Response:
        self._until(lambda: self.response(identity) is not None, f"response to {identity}")
        found = self.response(identity)
        assert found is not None  # noqa: S101 - what was waited for
        return found

    def _until(self, there: Callable[[], bool], what: str) -> None:
        end = self.clock.monotonic() + LONGEST
        self.clock.settle()
        while not there():
            if not self.clock.skip(end):
                told = ", ".join(message.topic for message in self.published[-5:])
                raise AssertionError(f"no {what} within {LONGEST:g} s; the last messages were on {told or 'no topic'}")
            self.clock.settle()

    # ------------------------------------------------------------------ the connection, and the end
    @property
    def status(self) -> str | None:
        """What the broker retains on the status topic: `online`, `offline`, or None for nothing."""
        return self.mqtt.status

    def disconnect(self) -> None:
        """Cut the connection to the broker, which then says `offline`."""
        self.mqtt.cut()

    def reconnect(self) -> None:
        """Let the connection to the broker come back."""
        self.mqtt.restore()

    def stop(self) -> None:
        """Stop the connector, as SIGTERM does; a second call does nothing."""
        self.connector.stop()


MakeHarness = Callable[..., Harness[Any]]
"""What the fixture `connector_harness` is: it takes what Harness takes."""


def _in_memory(kind: type[C]) -> type[C]:
    """Return a subclass that differs in nothing but its connection."""

    def client(_self: BaseConnector, name: str, settings: Settings) -> MemoryClient:
        return MemoryClient(name, settings=settings, hold=True)

    parts = {"_iot2mqtt_client": client, "__module__": kind.__module__, "__doc__": kind.__doc__}
    made: type[C] = new_class(kind.__name__, (kind,), exec_body=lambda body: body.update(parts))
    return made


@contextmanager
def _surroundings(environment: Mapping[str, str], document: Mapping[str, Any]) -> Iterator[None]:
    """Surround the making of a connector with the files and variables that it reads."""
    with TemporaryDirectory(prefix="iot2mqtt-") as name, patch.dict(os.environ):
        folder = Path(name)
        (folder / "instances").mkdir()
        (folder / "instances" / "test.json").write_text(json.dumps(document), encoding="utf-8")
        for variable in [variable for variable in os.environ if variable.startswith(OURS)]:
            del os.environ[variable]
        usual = {"IOT2MQTT_PATH": name, "IOT2MQTT_SECRETS_DIR": str(folder / "secrets"), "INSTANCE_NAME": "test"}
        os.environ.update({**usual, **environment})
        yield
