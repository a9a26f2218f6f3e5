"""Secret references: what stands in an instance file for a secret that is kept apart from it (clause I2M-ENV-14).

Every connector reads them when it starts, so this file imports nothing that takes time.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

_SECRET: Final = re.compile(r"\$\{secret:([A-Za-z0-9_]+)\}")


def secret_reference(key: str) -> str:
    """Return what stands in an instance file for the secret of a key: `${secret:KEY}`."""
    return f"${{secret:{key}}}"


def secret_key(value: Any) -> str | None:
    """Return the key of a secret reference, None where a value is none."""
    found = _SECRET.fullmatch(value) if isinstance(value, str) else None
    return None if found is None else found[1]


def fill_secrets(value: Any, secrets: Mapping[str, str], used: set[str]) -> Any:
    """Return a value with every secret reference in it replaced by the secret.

    Args:
        value: An instance document.
        secrets: Secrets by key, as the file of clause I2M-ENV-14 holds them.
        used: Takes the keys that were referred to; the other ones belong into `connection`.

    Raises:
        ValueError: There is no secret of a key; the message names the key.
    """
    if isinstance(value, list):
        return [fill_secrets(item, secrets, used) for item in value]
    if isinstance(value, dict):
        return {name: fill_secrets(item, secrets, used) for name, item in value.items()}
    key = secret_key(value)
    if key is None:
        return value
    if key not in secrets:
        raise ValueError(f"{value} refers to a secret that is not there: add a line {key}=VALUE")
    used.add(key)
    return secrets[key]
