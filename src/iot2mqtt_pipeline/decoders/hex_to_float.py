"""`hex_to_float`: one number in hexadecimal digits."""

from decimal import Decimal
from typing import Any, Literal

from pydantic import Field

from iot2mqtt_pipeline.decoders.base import Encoding, wrong
from iot2mqtt_pipeline.decoders.hexadecimal import bytes_in
from iot2mqtt_pipeline.decoders.numbers import scaled

_WIDEST = 8


class HexToFloat(Encoding):
    """A whole number of up to eight bytes, scaled.

    Attributes:
        signed: Whether the highest bit means negative (two's complement).
        byte_order: Which end of the number comes first.
        offset: Where the number begins, in bytes.
        length: How many bytes it has; None means the rest.
    """

    signed: bool = False
    byte_order: Literal["big", "little"] = "big"
    offset: int = Field(default=0, ge=0)
    length: int | None = Field(default=None, ge=1, le=_WIDEST)

    def decode(self, payload: Any, scaling: Decimal | None) -> float:
        """Return the scaled number of a payload."""
        value = self.value_in(payload)
        end = None if self.length is None else self.offset + self.length
        part = bytes_in(value)[self.offset : end]
        if not 1 <= len(part) <= _WIDEST or (self.length is not None and len(part) != self.length):
            wrong(value, f"a number of {self.length or 'one to eight'} bytes from byte {self.offset}")
        return float(scaled(int.from_bytes(part, self.byte_order, signed=self.signed), scaling))
