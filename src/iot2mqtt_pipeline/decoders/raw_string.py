"""`raw_string`: a text as it is, such as the number of a badge."""

import ast
import re
from decimal import Decimal
from typing import Any

from iot2mqtt_pipeline.decoders.base import Encoding, wrong

_BYTES_LITERAL = re.compile(r"""b(?:'(?:[^'\\\r\n]|\\.)*'|"(?:[^"\\\r\n]|\\.)*")""", re.ASCII)


class RawString(Encoding):
    """A text; a whole number counts as one, so that badges may be sent without quotes.

    Attributes:
        unwrap: Whether the text is a Python bytes literal, such as `b'12'`, that stands for what is inside.
    """

    unwrap: bool = False

    def decode(self, payload: Any, scaling: Decimal | None) -> str:  # noqa: ARG002
        """Return the text of a payload."""
        text = self.value_in(payload)
        if isinstance(text, int) and not isinstance(text, bool):
            text = str(text)
        if not isinstance(text, str):
            wrong(text, "a text")
        return _unwrapped(text) if self.unwrap else text


def _unwrapped(text: str) -> str:
    if not _BYTES_LITERAL.fullmatch(text):
        wrong(text, "a bytes literal such as b'12'")
    try:
        inner: bytes = ast.literal_eval(text)
        return inner.decode()
    except (SyntaxError, ValueError):
        return wrong(text, "a bytes literal of UTF-8 text")
