"""The devices: lights that exist in memory only, and what they refuse."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BRIGHTEST = 100


class RefusedError(Exception):
    """A command is not carried out; `code` is one of I2M-CMD-05."""

    def __init__(self, code: str, message: str, *, retriable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.retriable = retriable

    def answer(self) -> dict[str, Any]:
        """Return what a response says of it."""
        error = {"code": self.code, "message": str(self), "retriable": self.retriable}
        return {"status": "error", "error": error}


@dataclass(slots=True)
class Device:
    """A light whose power and brightness can be set; its temperature can only be read.

    Attributes:
        kept: Whether it works only while a process of its own runs.
        state: Value by property name; brightness in percent, temperature in degrees Celsius.
        failing: Whether it does not answer.
        delay: Seconds that it takes to answer.
        awaited: Whether an answer to a poll is on its way.
        failures: Attempts in a row that it did not answer.
        retry_at: The time.monotonic() before which it is not polled again.
    """

    device_id: str
    model: str = "light in memory"
    enabled: bool = True
    kept: bool = False
    state: dict[str, Any] = field(default_factory=lambda: {"power": False, "brightness": 50, "temperature": 21.5})
    failing: bool = False
    delay: float = 0.0
    awaited: bool = False
    failures: int = 0
    retry_at: float = 0.0

    @property
    def online(self) -> bool:
        """Whether it has answered the last attempt, as far as there was one."""
        return self.failures == 0

    def reach(self) -> None:
        """See whether it answers.

        Raises:
            RefusedError: It does not.
        """
        if self.failing:
            raise RefusedError("device_error", f"{self.device_id} does not answer", retriable=True)


def check(values: Mapping[str, Any]) -> None:
    """See whether a light can take these values.

    Raises:
        RefusedError: It cannot: `unsupported_property` or `invalid_value`.
    """
    for name, value in values.items():
        if name not in ("power", "brightness"):
            raise RefusedError("unsupported_property", f"{name[:40]!r} cannot be set: power and brightness can")
        if name == "power" and not isinstance(value, bool):
            raise RefusedError("invalid_value", "power must be true or false")
        if name == "brightness" and not _is_percentage(value):
            raise RefusedError("invalid_value", f"brightness must be a whole number from 0 to {BRIGHTEST}")


def _is_percentage(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= BRIGHTEST
