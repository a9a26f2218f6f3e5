"""Numbers at given places in a frame of bytes, such as a Modbus answer."""

import math
import struct
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from iot2mqtt_pipeline.decoders.base import Decoded, Encoding, Reading, wrong
from iot2mqtt_pipeline.decoders.numbers import factor_of, scaled
from iot2mqtt_pipeline.record import Scalar

_FORMATS = {
    "int8": ">b",
    "uint8": ">B",
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "uint64": ">Q",
    "float32": ">f",
    "float64": ">d",
}
_WORD = 2
_WIDEST = 8
_DIGITS = 10

Kind = Literal[
    "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "bcd", "bits"
]
Order = Literal["big", "little"]


def _factor(value: object) -> Decimal | None:
    # A factor of 1 is not the same as none: it goes before that of the row.
    return None if value is None else factor_of(value) or Decimal(1)


class Place(BaseModel):
    """Where a number lies in a frame, and how it is written there.

    Attributes:
        offset: Its first byte, counted from 0 at the start of the frame.
        length: How many bytes it has; needed for `bcd` and `bits` alone, since the others say so themselves.
        type: How it is written; `bcd` is two decimal digits a byte.
        byte_order: Which byte of a 16-bit register comes first.
        word_order: Which register of a longer number comes first.
        bit: The lowest bit of `bits`, where 0 is the lowest of all.
        width: How many bits; one is a boolean, more are a number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    offset: int = Field(default=0, ge=0)
    length: int | None = Field(default=None, ge=1, le=_WIDEST)
    type: Kind | None = None
    byte_order: Order = "big"
    word_order: Order = "big"
    bit: int = Field(default=0, ge=0)
    width: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _length_fits_type(self) -> Self:
        if self.type in {"bcd", "bits"}:
            if self.length is None:
                raise ValueError(f"the type {self.type} needs a length")
        elif self.type is not None and self.length not in (None, struct.calcsize(_FORMATS[self.type])):
            raise ValueError(f"the type {self.type} has a length of its own")
        if self.type != "bits" and self.model_fields_set & {"bit", "width"}:
            raise ValueError("bit and width belong to the type bits")
        if self.type == "bits" and self.bit + self.width > self.size * 8:
            raise ValueError(f"{self.size} bytes have no {self.width} bits from bit {self.bit} on")
        return self

    @property
    def size(self) -> int:
        """How many bytes the number has."""
        return self.length or struct.calcsize(_FORMATS[str(self.type)])

    def read(self, frame: bytes, scaling: Decimal | None) -> Scalar:
        """Return the number at this place, scaled.

        Raises:
            PermanentError: `bad_value`: the frame is too short, or holds no number of this type.
        """
        part = frame[self.offset : self.offset + self.size]
        if len(part) < self.size:
            wrong(frame.hex(" "), f"a frame with {self.size} bytes from byte {self.offset}")
        part = _big_endian(part, self.byte_order, self.word_order)
        if self.type == "bits":
            bits = int.from_bytes(part) >> self.bit & ((1 << self.width) - 1)
            return bool(bits) if self.width == 1 else scaled(bits, scaling)
        if self.type == "bcd":
            return scaled(_decimal_digits(part), scaling)
        number = struct.unpack(_FORMATS[str(self.type)], part)[0]
        if self.type in {"float32", "float64"} and not math.isfinite(number):
            wrong(frame.hex(" "), f"a frame with a finite number at byte {self.offset}")
        return scaled(_shortest(number) if self.type == "float32" else number, scaling)


class Point(Place):
    """One of several numbers in a frame.

    Attributes:
        name: What tells it from the others; it becomes part of the component id.
        type: How it is written.
        unit: Its unit; None means that of the row.
        scaling_factor: What it is multiplied with; None means that of the row.
    """

    name: str = Field(min_length=1)
    type: Kind
    unit: str | None = None
    scaling_factor: Annotated[Decimal | None, BeforeValidator(_factor)] = None

    def reading(self, frame: bytes, scaling: Decimal | None) -> Reading:
        """Return the number with its name and unit."""
        own = scaling if self.scaling_factor is None else self.scaling_factor
        return Reading(self.name, self.read(frame, own), self.unit)


class FrameEncoding(Encoding, Place):
    """What reads frames: one number at a place of its own, or several `points`.

    Attributes:
        points: The numbers; each becomes a measurement with a component id of its own.
    """

    points: tuple[Point, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        names = [point.name for point in self.points]
        if len(set(names)) < len(names):
            raise ValueError("two points have the same name")
        place = sorted(self.model_fields_set & Place.model_fields.keys())
        if names and place:
            raise ValueError(f"each of the points has its own place: leave out {', '.join(place)}, or the points")
        if self.type is None and place:
            raise ValueError(f"{', '.join(place)} need a type")
        return self

    def read_frame(self, frame: bytes, scaling: Decimal | None) -> Decoded:
        """Return the number or the numbers of a frame."""
        if self.points:
            return [point.reading(frame, scaling) for point in self.points]
        return self.read(frame, scaling)


def _big_endian(part: bytes, byte_order: Order, word_order: Order) -> bytes:
    words = [part[start : start + _WORD] for start in range(0, len(part), _WORD)]
    if word_order == "little":
        words.reverse()
    return b"".join(word[::-1] if byte_order == "little" else word for word in words)


def _decimal_digits(part: bytes) -> int:
    digits = part.hex()
    return int(digits) if digits.isdecimal() else wrong(digits, "a number in binary-coded decimal")


def _shortest(number: float) -> float:
    """Return the shortest decimal that is the same single-precision number: 21.3, not 21.299999237060547."""
    wanted = struct.pack(">f", number)
    shorter = (float(f"{number:.{digits}g}") for digits in range(6, _DIGITS))
    return next(decimal for decimal in shorter if struct.pack(">f", decimal) == wanted)
