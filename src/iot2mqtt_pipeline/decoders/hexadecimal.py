"""Hexadecimal texts, as controllers write them: `0x12A`, `12a`, `FF FE`."""

import re
from typing import Any

from iot2mqtt_pipeline.decoders.base import wrong

_LONGEST = 20_000
_HEXADECIMAL = re.compile(r"(?:0[xX])?(?:[0-9a-fA-F]+|(?:[0-9a-fA-F]{2})+(?:[\s:-]+(?:[0-9a-fA-F]{2})+)*)", re.ASCII)
_PARTED = str.maketrans("", "", " \t\r\n\f\v:-")


def bytes_in(value: Any) -> bytes:
    """Return the bytes that a text spells in hexadecimal, or bytes as they are.

    `0x` may precede the digits; spaces, colons or dashes may part them into whole bytes; where nothing parts them, an
    odd number of digits has a 0 before it.

    Raises:
        PermanentError: `bad_value`: it is no such text.
    """
    if isinstance(value, bytes):
        return value or wrong(value, "at least one byte")
    if not isinstance(value, str) or len(value) > _LONGEST:
        wrong(value, "a hexadecimal text")
    text = value.strip()
    if not _HEXADECIMAL.fullmatch(text):
        wrong(value, "a hexadecimal text")
    digits = text.translate(_PARTED)
    if digits[1:2] in {"x", "X"}:
        digits = digits[2:]
    return bytes.fromhex(digits if len(digits) % 2 == 0 else f"0{digits}")
