"""Takes the secrets out of an instance document (clause I2M-ENV-14).

What stands directly in `connection` leaves the document: readers merge the lines of the secrets file into that
section. In any other place, a device for instance, `${secret:KEY}` stays behind.
"""

import re
from collections.abc import Collection

from pydantic import JsonValue

from iot2mqtt_sdk.contract.references import secret_key, secret_reference
from iot2mqtt_sdk.contract.templating import Secret
from iot2mqtt_sdk.masking import tells_a_secret
from iot2mqtt_sdk.setup_flow.errors import SetupError


def take_secrets(document: dict[str, JsonValue], names: Collection[str]) -> tuple[dict[str, JsonValue], dict[str, str]]:
    """Split an instance document into what may be read by anybody and the secrets by key.

    Args:
        document: The instance document, in which every `Secret` is one.
        names: Keys whose values are secrets, wherever they stand. So are texts under keys such as `password`.

    Raises:
        SetupError: A secret does not fit into a line, or a plain text looks like a reference.
    """
    hidden = _Hidden(names)
    connection = document.get("connection")
    plain = dict(document)
    if isinstance(connection, dict):
        plain["connection"] = hidden.merged(connection)
    return {key: hidden.value(item, (key,)) for key, item in plain.items()}, hidden.lines


class _Hidden:
    def __init__(self, names: Collection[str]) -> None:
        self.lines: dict[str, str] = {}
        self._names = names

    def merged(self, connection: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """Return the connection without its own secrets, which become lines under their names."""
        rest: dict[str, JsonValue] = {}
        for key, item in connection.items():
            text = self._secret(item, (key,))
            if text is None or not re.fullmatch(r"[^\s=#][^\s=]*", key):
                rest[key] = item
            else:
                self.lines[key] = _one_line(text, ("connection", key))
        return rest

    def value(self, item: JsonValue, path: tuple[str, ...]) -> JsonValue:
        """Return a value with references for its secrets."""
        if isinstance(item, dict):
            return {key: self.value(part, (*path, key)) for key, part in item.items()}
        if isinstance(item, list):
            return [self.value(part, (*path, str(number))) for number, part in enumerate(item)]
        text = self._secret(item, path)
        if text is None:
            if secret_key(item) is not None:
                raise SetupError(f"{'.'.join(path)} is {item!r}, which stands for a secret; give it another value")
            return item
        key = self._key(path)
        self.lines[key] = _one_line(text, path)
        return secret_reference(key)

    def _secret(self, item: JsonValue, path: tuple[str, ...]) -> str | None:
        """Return the text of a secret, None for what is none, or empty."""
        declared = any(key in self._names for key in path)
        if isinstance(item, str):
            return str(item) or None if declared or isinstance(item, Secret) or any(map(tells_a_secret, path)) else None
        # Reading makes a text of it, which only a declaration accepts.
        return str(item) if declared and isinstance(item, int | float) and not isinstance(item, bool) else None

    def _key(self, path: tuple[str, ...]) -> str:
        wanted = re.sub(r"[^A-Za-z0-9_]", "_", "_".join(path))
        number, key = 1, wanted
        while key in self.lines:
            number += 1
            key = f"{wanted}_{number}"
        return key


def _one_line(text: str, path: tuple[str, ...]) -> str:
    if text.splitlines() != [text.strip()]:
        raise SetupError(f"the secret {'.'.join(path)} must be one line without blanks around it")
    return text
