"""`base64`: a text, or numbers at given places of a frame."""

import base64
import binascii
from decimal import Decimal
from typing import Any

from iot2mqtt_pipeline.decoders.base import Decoded, wrong
from iot2mqtt_pipeline.decoders.registers import FrameEncoding


class Base64(FrameEncoding):
    """UTF-8 text where neither a type nor points are given."""

    def decode(self, payload: Any, scaling: Decimal | None) -> Decoded:
        """Return the text, the number or the numbers of a payload."""
        value = self.value_in(payload)
        if not isinstance(value, str):
            wrong(value, "a text in base64")
        try:
            frame = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            wrong(value, "a text in base64")
        if self.type is not None or self.points:
            return self.read_frame(frame, scaling)
        try:
            return frame.decode()
        except UnicodeDecodeError:
            return wrong(value, "UTF-8 text in base64; numbers need a type or points")
