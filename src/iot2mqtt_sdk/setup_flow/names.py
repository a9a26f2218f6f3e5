"""Ids out of what people call things: ids are levels of topics and names of files (clause I2M-PUB-04)."""

import re
import unicodedata
from typing import Final

from pydantic import JsonValue

from iot2mqtt_sdk.contract.manifest import ID_PATTERN
from iot2mqtt_sdk.contract.templating import Secret
from iot2mqtt_sdk.setup_flow.errors import SetupError

_DEVICE_ID: Final = re.compile(r"[^\s/+#\x00-\x1f\x7f-\x9f]+")
_AUTOMATIC: Final = ("", "auto", None)
"""What stands for "make one from the name"."""


def instance_id(given: JsonValue, name: JsonValue) -> str:
    """Return the id of an instance: the given one, or what can be made of it or of the instance's name.

    Raises:
        SetupError: Nothing can.
    """
    text = _text(given, name, "instance_id")
    return text if text == given and re.match(ID_PATTERN, text) else slug(text, "instance_id")


def device_id(given: JsonValue, name: JsonValue, where: str) -> str:
    """Return the id of a device: the given one, with whatever its maker put into it, or what can be made of it.

    Where none is given, one is made of the device's name.

    Raises:
        SetupError: Nothing can.
    """
    text = _text(given, name, where)
    return text if text == given and _DEVICE_ID.fullmatch(text) else slug(text, where)


def slug(text: str, where: str) -> str:
    """Return a text as small letters, digits, `_` and `-`.

    Raises:
        SetupError: It has no letter and no digit that could stay.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    found = re.sub(r"[^a-z0-9_-]+", "_", plain).strip("_-")
    if not found:
        raise SetupError(f"{where}: no id can be made of {text!r}; give one of letters a to z, digits, _ and -")
    return found


def _text(given: JsonValue, name: JsonValue, where: str) -> str:
    wanted = name if given in _AUTOMATIC else given
    if isinstance(wanted, Secret):
        raise SetupError(f"{where} is made of a secret, and would be in every topic; make it of another field")
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        return str(wanted)
    if not isinstance(wanted, str) or not wanted:
        raise SetupError(f"{where} is empty, and there is no name to make one of; fill one of them")
    return wanted
