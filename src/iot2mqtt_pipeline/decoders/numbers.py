"""Numbers, scaled exactly: 298 times 0.1 is 29.8, not 29.800000000000004."""

import math
import re
from decimal import Decimal

from iot2mqtt_pipeline.decoders.base import wrong

LARGEST = 2**64
"""What 64 bits, and so the integers of most readers of JSON, no longer hold; below zero, half of it."""

_NUMBER = re.compile(r"\s*[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?\s*", re.ASCII)
_LONGEST = 400
_SMALLEST, _BIGGEST = Decimal("1e-30"), Decimal("1e30")


def factor_of(scaling: object) -> Decimal | None:
    """Return a scaling factor as `scaled` takes it: None for 1.

    Args:
        scaling: A number, or the text of one; it is read by its text, so that 0.1 stays 0.1.

    Raises:
        ValueError: It is none, 0, or so large or small that it can be no scale; the message is one sentence.
    """
    try:
        factor = Decimal(str(scaling))
    except ArithmeticError:
        raise ValueError(f"scaling_factor {scaling!r} is no number") from None
    # abs() would round, and fail where the exponent is larger than a context allows.
    if not factor.is_finite() or not _SMALLEST <= factor.copy_abs() <= _BIGGEST:
        raise ValueError(f"scaling_factor {scaling} is 0 or outside of 1e-30 to 1e30")
    return None if factor == 1 else factor


def scaled(number: float, scaling: Decimal | None) -> int | float:
    """Multiply a measured number by the scaling factor of its parameters, in decimal.

    Args:
        number: An int, or a finite float.
        scaling: None for 1.

    Raises:
        PermanentError: `bad_value`: the product is beyond what a double holds.
    """
    if scaling is None:
        return number
    product = float((Decimal(number) if isinstance(number, int) else Decimal(str(number))) * scaling)
    return product if math.isfinite(product) else wrong(number, "a number that can be scaled")


def number_in(value: object) -> int | float:
    """Return a JSON number, or the number that a text spells.

    Raises:
        PermanentError: `bad_value`: it is neither.
    """
    if isinstance(value, str) and len(value) <= _LONGEST and _NUMBER.fullmatch(value):
        value = int(value) if value.strip().lstrip("+-").isdigit() else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        wrong(value, "a number")
    if isinstance(value, int):
        return whole(value)
    return value if math.isfinite(value) else wrong(value, "a number")


def whole(value: int) -> int:
    """Return a whole number that JSON and the database can hold.

    Raises:
        PermanentError: `bad_value`: it has more than 64 bits.
    """
    return value if -LARGEST // 2 <= value < LARGEST else wrong(value, "a number of at most 64 bits")
