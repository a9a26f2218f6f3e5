"""What all encodings share."""

from abc import ABC, abstractmethod
from decimal import Decimal
from typing import Any, ClassVar, NamedTuple, NoReturn

from pydantic import BaseModel, ConfigDict

from iot2mqtt_pipeline.errors import PermanentError
from iot2mqtt_pipeline.record import Scalar
from iot2mqtt_pipeline.wording import shown


class Reading(NamedTuple):
    """One of several values in one payload.

    Attributes:
        name: What tells it from the others; it becomes part of the component id.
        value: What was measured.
        unit: Its unit; None means that of the parameters.
    """

    name: str
    value: Scalar
    unit: str | None


Decoded = Scalar | dict[str, Scalar] | list[Reading]
"""One value, a mapping of values that belong together, or several measurements in their own right."""


class Encoding(BaseModel, ABC):
    """How the payloads of a component are read: its fields are the members of `decode` in the component's parameters.

    Attributes:
        field: The member of the payload that holds the value; None means the usual ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)
    usual: ClassVar[tuple[str, ...]] = ("data", "value", "status", "state")

    field: str | None = None

    @abstractmethod
    def decode(self, payload: Any, scaling: Decimal | None) -> Decoded:
        """Return what a payload says.

        Args:
            payload: A JSON value, or bytes where the device sent neither JSON nor text.
            scaling: What numbers are multiplied with; None for 1.

        Raises:
            PermanentError: `bad_value`: the payload says nothing that this encoding knows.
        """

    def value_in(self, payload: Any) -> Any:
        """Return the value of a payload: itself unless it is an object.

        In an object it is the member named by `field`, or the first of the usual ones, or the only one besides
        `timestamp`; never one of several at a guess.

        Raises:
            PermanentError: `bad_value`: there is none.
        """
        if not isinstance(payload, dict):
            return payload
        if self.field is not None:
            return payload[self.field] if self.field in payload else wrong(payload, f"an object with {self.field!r}")
        for name in self.usual:
            if name in payload:
                return payload[name]
        others = payload.keys() - {"timestamp"}
        return payload[others.pop()] if len(others) == 1 else wrong(payload, f"an object with {self.usual[0]!r}")


def wrong(found: object, wanted: str) -> NoReturn:
    """Refuse a payload or a part of it.

    Raises:
        PermanentError: `bad_value`, always.
    """
    raise PermanentError("bad_value", f"{shown(found)} is not {wanted}")
