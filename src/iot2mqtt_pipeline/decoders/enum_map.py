"""`enum_map`: codes that stand for words or numbers."""

from decimal import Decimal
from typing import Any

from pydantic import Field

from iot2mqtt_pipeline.decoders.base import Encoding, wrong
from iot2mqtt_pipeline.record import Scalar


class EnumMap(Encoding):
    """A code from a list.

    Attributes:
        values: What each code means; JSON's own codes are written as JSON writes them: `"1"`, `"true"`.
    """

    values: dict[str, bool | int | float | str] = Field(min_length=1)

    def decode(self, payload: Any, scaling: Decimal | None) -> Scalar:  # noqa: ARG002
        """Return what the code of a payload means."""
        code = self.value_in(payload)
        key = _key(code)
        return self.values[key] if key in self.values else wrong(code, f"one of {', '.join(self.values)}")


def _key(code: object) -> str | None:
    """Return a code as the list of codes spells it."""
    if isinstance(code, bool):
        return "true" if code else "false"
    if isinstance(code, float) and code.is_integer():
        return str(int(code))
    return str(code) if isinstance(code, int | float | str) else None
