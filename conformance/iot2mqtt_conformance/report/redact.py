"""Masks secrets once, right after the scenarios were played: nothing that is judged, shown or written has them.

Each secret gets the same mask wherever it stands, so that judges still see whether two of them are equal, and whether
one of them went where it must not go.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from iot2mqtt_conformance.transcript import Record, Transcript

SHORTEST = 5
"""A shorter secret is masked where it stands under its own name only: `1234` is in many a payload by chance."""

MASK = "***"
"""What stands for a secret of a command line, where nothing else is to be compared with it."""

_NAME = re.compile(
    r"(^|[_-])(pass(word|wd|phrase|code)?|pwd|secret|token|credentials?|psk|pin|(api|access|auth|private|local)[_-]?key)s?$"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_IN_URL = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")
_MASK = re.compile(r"\*\*\*secret\d+\*\*\*")


def names_a_secret(key: str) -> bool:
    """Whether a key such as `api_key`, `wifiPassword` or `TOKEN` names a secret."""
    return _NAME.search(_CAMEL.sub("_", key).lower()) is not None


def masked_words(words: Iterable[str]) -> str:
    """Return a command line without its secrets: what follows a name of one, as its value or as the next word."""
    shown: list[str] = []
    secret_next = False
    for word in words:
        name, equals, value = word.partition("=")
        if secret_next and not word.startswith("-"):
            shown.append(MASK)
        elif equals and value and names_a_secret(name):
            shown.append(f"{name}={MASK}")
        else:
            shown.append(_IN_URL.sub(lambda found: found[0].replace(f":{found[1]}@", f":{MASK}@"), word))
        secret_next = not equals and word.startswith("-") and names_a_secret(word)
    return " ".join(shown)


def masked(transcript: Transcript) -> Transcript:
    """Return the transcript with every secret masked: the launches' passwords, and secrets of the instance file."""
    masks: dict[str, str] = {}
    for record in transcript:
        for secret in _secrets(record.data):
            masks.setdefault(secret, f"***secret{len(masks) + 1}***")
    mask = _Mask(masks)
    records = (Record(r.i, r.t, r.run, r.kind, mask.value(r.data)) for r in transcript)
    return Transcript(records, wall=transcript.wall, origin=transcript.origin)


def _secrets(value: Any, name: str = "") -> Iterator[str]:
    """Yield what stands under a name of a secret, and the passwords in URLs, of the suite's own records."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _secrets(item, name if names_a_secret(name) else str(key))
    elif isinstance(value, list):
        for item in value:
            yield from _secrets(item, name)
    elif isinstance(value, str):
        if value and names_a_secret(name) and not _MASK.fullmatch(value):
            yield value
        yield from (found for found in _IN_URL.findall(value) if not _MASK.fullmatch(found))


class _Mask:
    """Replaces secrets in values of any shape."""

    def __init__(self, masks: dict[str, str]) -> None:
        self._masks = masks
        long = {secret: mask for secret, mask in masks.items() if len(secret) >= SHORTEST}
        # In a payload a secret stands as JSON has it.
        self._spelled = {spelling: mask for s, mask in long.items() for spelling in (s, json.dumps(s)[1:-1])}
        longest_first = sorted(self._spelled, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def value(self, value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {
                self.text(key): self.value(item, name if names_a_secret(name) else key) for key, item in value.items()
            }
        if isinstance(value, list):
            return [self.value(item, name) for item in value]
        if not isinstance(value, str):
            return value
        if names_a_secret(name) and value in self._masks:
            return self._masks[value]
        return self._base64(value) if name == "payload_b64" else self.text(value)

    def text(self, text: str) -> str:
        return self._pattern.sub(lambda found: self._spelled[found[0]], text) if self._pattern else text

    def _base64(self, text: str) -> str:
        try:
            raw = base64.b64decode(text, validate=True)
        except binascii.Error:
            return self.text(text)
        for secret, mask in self._spelled.items():
            raw = raw.replace(secret.encode("utf-8", "surrogatepass"), mask.encode())
        return base64.b64encode(raw).decode()
