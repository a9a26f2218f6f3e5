"""`bitmask`: several booleans in the bits of one number."""

from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, StringConstraints, field_validator

from iot2mqtt_pipeline.decoders.base import Encoding, wrong
from iot2mqtt_pipeline.decoders.hexadecimal import bytes_in
from iot2mqtt_pipeline.record import Scalar

_Bit = Annotated[str, StringConstraints(pattern=r"^(?:[0-9]|[1-5][0-9]|6[0-3])$")]


class Bitmask(Encoding):
    """A number from 0 to 2^64 - 1, or its hexadecimal text.

    Attributes:
        bits: The name of each bit that matters; `"0"` is the lowest.
    """

    bits: dict[_Bit, str] = Field(min_length=1)

    @field_validator("bits")
    @classmethod
    def _names_differ(cls, bits: dict[str, str]) -> dict[str, str]:
        if len(set(bits.values())) < len(bits):
            raise ValueError("two bits have the same name")
        return bits

    def decode(self, payload: Any, scaling: Decimal | None) -> dict[str, Scalar]:  # noqa: ARG002
        """Return each named bit of a payload's number."""
        value = self.value_in(payload)
        mask = value if isinstance(value, int) else int.from_bytes(bytes_in(value))
        if isinstance(value, bool) or not 0 <= mask < 2**64:
            wrong(value, "a bit mask of at most 64 bits")
        return {name: bool(mask >> int(bit) & 1) for bit, name in self.bits.items()}
