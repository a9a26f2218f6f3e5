"""A device that is what a test says it is."""

from collections.abc import Mapping
from typing import Any

from iot2mqtt_sdk.testing.engine import here


class FakeDevice:
    """A device with a state, which may fail and be slow.

    Let the stand-in for your device library call `read` and `write`, or their asynchronous twins.

    Args:
        state: Value by property name, at first.

    Attributes:
        state: What it is now; a test may change it at any time.
        delay: Seconds of the virtual clock that each read and write takes; `math.inf` never ends.
        error: What each read and write raises, or None.
        reads: How often it was read.
        written: What was written, in order, what failed left out.
    """

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.state = dict(state)
        self.delay = 0.0
        self.error: Exception | None = None
        self.reads = 0
        self.written: list[dict[str, Any]] = []

    def fail(self, error: Exception | None = None) -> None:
        """Raise from now on, ConnectionError by default, whenever it is read or written."""
        self.error = error or ConnectionError("the fake device does not answer")

    def recover(self) -> None:
        """Be well again, and quick."""
        self.error = None
        self.delay = 0.0

    def read(self) -> dict[str, Any]:
        """Return the state."""
        if self.delay:
            here().sleep(self.delay)
        return self._read()

    def write(self, values: Mapping[str, Any]) -> bool:
        """Take values, and return True."""
        if self.delay:
            here().sleep(self.delay)
        return self._write(values)

    async def aread(self) -> dict[str, Any]:
        """Return the state; for hooks that are coroutine functions."""
        if self.delay:
            await here().pause(self.delay)
        return self._read()

    async def awrite(self, values: Mapping[str, Any]) -> bool:
        """Take values, and return True; for hooks that are coroutine functions."""
        if self.delay:
            await here().pause(self.delay)
        return self._write(values)

    def _read(self) -> dict[str, Any]:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return dict(self.state)

    def _write(self, values: Mapping[str, Any]) -> bool:
        if self.error is not None:
            raise self.error
        self.written.append(dict(values))
        self.state.update(values)
        return True
