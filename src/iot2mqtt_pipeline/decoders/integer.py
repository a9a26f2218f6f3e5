"""`integer`: a whole number, as JSON or as text."""

from decimal import Decimal
from typing import Any

from iot2mqtt_pipeline.decoders.base import Encoding, wrong
from iot2mqtt_pipeline.decoders.numbers import number_in, scaled, whole


class Integer(Encoding):
    """A whole number; what is scaled may have decimals."""

    def decode(self, payload: Any, scaling: Decimal | None) -> int | float:
        """Return the scaled number of a payload."""
        number = number_in(self.value_in(payload))
        if isinstance(number, float):
            number = whole(int(number)) if number.is_integer() else wrong(number, "a whole number")
        return scaled(number, scaling)
