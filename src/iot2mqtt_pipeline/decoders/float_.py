"""`float`: a number, as JSON or as text."""

from decimal import Decimal
from typing import Any

from iot2mqtt_pipeline.decoders.base import Encoding
from iot2mqtt_pipeline.decoders.numbers import number_in, scaled


class Float(Encoding):
    """A number; 21 is read as 21.0."""

    def decode(self, payload: Any, scaling: Decimal | None) -> float:
        """Return the scaled number of a payload."""
        return float(scaled(number_in(self.value_in(payload)), scaling))
