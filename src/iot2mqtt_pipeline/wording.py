"""How values from devices are told in error messages."""

_LONGEST = 80


def shown(found: object) -> str:
    """Return a value as a message tells it: short, and of an object or list not more than its kind and members.

    Documents may nest too deeply for repr.
    """
    if isinstance(found, dict):
        return _cut(f"the object with {', '.join(map(repr, found)) or 'no members'}")
    if isinstance(found, list):
        return f"the list of {len(found)} items"
    if isinstance(found, str | bytes):
        found = found[: _LONGEST + 1]
    return _cut(repr(found))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
