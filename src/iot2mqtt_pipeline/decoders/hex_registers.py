"""`hex_registers`: numbers at given places of a frame in hexadecimal digits."""

from decimal import Decimal
from typing import Any, Literal, Self

from pydantic import model_validator

from iot2mqtt_pipeline.decoders.base import Decoded, wrong
from iot2mqtt_pipeline.decoders.hexadecimal import bytes_in
from iot2mqtt_pipeline.decoders.registers import FrameEncoding

_CRC = 2
_POLYNOMIAL = 0xA001


class HexRegisters(FrameEncoding):
    """One number or several `points`.

    Attributes:
        crc: Whether the last two bytes are checked: `modbus` is the CRC-16 of Modbus RTU, low byte first.
    """

    crc: Literal["modbus"] | None = None

    @model_validator(mode="after")
    def _says_what_to_read(self) -> Self:
        if self.type is None and not self.points:
            raise ValueError("give a type or points")
        return self

    def decode(self, payload: Any, scaling: Decimal | None) -> Decoded:
        """Return the number or the numbers of a payload's frame."""
        frame = bytes_in(self.value_in(payload))
        if self.crc == "modbus" and (len(frame) <= _CRC or crc16(frame[:-_CRC]) != frame[-_CRC:]):
            wrong(frame.hex(" "), "a frame with a right CRC")
        return self.read_frame(frame, scaling)


def crc16(frame: bytes) -> bytes:
    """Return the CRC-16 of Modbus RTU, as it follows the frame."""
    crc = 0xFFFF
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ _POLYNOMIAL if crc & 1 else crc >> 1
    return crc.to_bytes(_CRC, "little")
