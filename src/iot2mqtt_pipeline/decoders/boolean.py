"""`boolean`: yes or no."""

from decimal import Decimal
from typing import Any, ClassVar

from iot2mqtt_pipeline.decoders.base import Encoding, wrong

_WORDS = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}


def boolean_in(value: Any) -> bool:
    """Return what a JSON boolean, 0, 1 or one of the usual words says; "false" is false.

    Raises:
        PermanentError: `bad_value`: it is none of these.
    """
    if value is True or value is False:
        return value
    if isinstance(value, str):
        said = _WORDS.get(value.strip().lower())
        if said is not None:
            return said
    elif value in (0, 1):
        return bool(value)
    return wrong(value, "true or false, on or off, yes or no, 1 or 0")


class Boolean(Encoding):
    """One boolean; the scaling factor means nothing to it."""

    usual: ClassVar[tuple[str, ...]] = ("status", "state", "value", "data")

    def decode(self, payload: Any, scaling: Decimal | None) -> bool:  # noqa: ARG002
        """Return the boolean of a payload."""
        return boolean_in(self.value_in(payload))
