"""Masks secrets once, right after the scenarios were played: nothing that is judged, shown or written has them.

Each secret gets the same mask wherever it stands, so that judges still see whether two of them are equal, and whether
one of them went where it must not go.
"""

import base64
import binascii
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from iot2mqtt_conformance.transcript import Record, Transcript

SHORTEST = 5
"""A shorter secret is masked where it stands under its own name only: `1234` is in many a payload by chance."""
_WORDS = {"online", "offline"}
"""What messages say of every connector."""

MASK = "***"
"""What stands for a secret of a command line, where nothing else is to be compared with it."""

_NAME = re.compile(
    r"(^|[_-])(pass(word|wd|phrase|code)?|pwd|secret|token|credentials?|psk|pin|(api|access|auth|private|local)[_-]?key)s?$"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TEXT_IN_JSON = re.compile(r'"(?:[^"\\]|\\.)*"')
_PAYLOADS = {"payload", "kept", "stdout"}
"""Facts that may be JSON: there a number may mean anything, and a mask in its place would be no JSON."""
_OWN = {"secret_names", "case", "tool", "field", "probe"}
"""Facts in words of the suite's own, of the declaration's and of setup.json's."""
_IN_URL = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")
_MASK = re.compile(r"\*\*\*secret\d+\*\*\*")


def names_a_secret(key: str) -> bool:
    """Whether a key such as `api_key`, `wifiPassword` or `TOKEN` names a secret."""
    return isinstance(key, _Secret) or _tells(key)


@lru_cache(4096)
def _tells(key: str) -> bool:
    # A transcript has a handful of names, some hundred thousand times.
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
    plain = set(_WORDS)
    for record in transcript:
        for secret in _secrets(_marked(record) | {"values": _texts(record.data.get("values"))}):
            masks.setdefault(secret, f"***secret{len(masks) + 1}***")
        if record.kind == "run":
            plain.update(_names(record.data.get("config")))
    mask = _Mask(masks, plain)
    records = (Record(r.i, r.t, r.run, r.kind, mask.facts(_marked(r))) for r in transcript)
    return Transcript(records, wall=transcript.wall, origin=transcript.origin)


def _names(value: Any) -> Iterator[str]:
    """Yield the keys and ids of an instance configuration: they are in topics, and a secret of that name is not."""
    if isinstance(value, dict):
        yield from value
        yield from (value[key] for key in ("device_id", "group_id") if isinstance(value.get(key), str))
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _names(item)


class _Secret(str):
    """A key of what is secret though its name does not tell."""

    __slots__ = ()


def _marked(record: Record) -> dict[str, Any]:
    """Return the facts, with those inputs of an action script marked that setup.json says are secret."""
    given, names = record.data.get("input"), record.data.get("secret_names", ())
    if record.kind != "action" or not isinstance(given, dict):
        return record.data
    return {**record.data, "input": {_Secret(key) if key in names else key: item for key, item in given.items()}}


def _texts(values: Any) -> dict[str, str]:
    """Return those values of a command that are texts: its numbers stand in payloads, where none is masked."""
    return {key: item for key, item in values.items() if isinstance(item, str)} if isinstance(values, dict) else {}


def _secrets(value: Any, name: str = "") -> Iterator[str]:
    """Yield what stands under a name of a secret, and the passwords in URLs, of the suite's own records."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value) if names_a_secret(name) else ""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _secrets(item, name if names_a_secret(name) else key)
    elif isinstance(value, list):
        for item in value:
            yield from _secrets(item, name)
    elif isinstance(value, str):
        if value and names_a_secret(name) and not _MASK.fullmatch(value):
            yield value
        if "://" in value:
            yield from (found for found in _IN_URL.findall(value) if not _MASK.fullmatch(found))


def _pattern(texts: Collection[str]) -> re.Pattern[str]:
    """Return what finds any of these texts, the longest first."""
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or r"(?!)")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


class _Mask:
    """Replaces secrets in values of any shape."""

    def __init__(self, masks: dict[str, str], plain: Collection[str]) -> None:
        self._masks = masks
        long = {secret: mask for secret, mask in masks.items() if len(secret) >= SHORTEST and secret not in plain}
        # In a payload a secret stands as JSON has it.
        self._spelled = {spelling: mask for s, mask in long.items() for spelling in (s, json.dumps(s)[1:-1])}
        self._pattern = _pattern(self._spelled)

    def facts(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        found = {key: item if key in _OWN else self.value(item, key) for key, item in facts.items()}
        if isinstance(values := facts.get("values"), dict):
            # As in the payloads that they are compared with.
            found["values"] = {name: self.value(item) for name, item in values.items()}
        return found

    def value(self, value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: self.value(item, name if names_a_secret(name) else key) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, name) for item in value]
        if names_a_secret(name) and not isinstance(value, bool) and str(value) in self._masks:
            return self._masks[str(value)]
        if not isinstance(value, str):
            return value
        if name in _PAYLOADS:
            return self.payload(value)
        return self._base64(value) if name == "payload_b64" else self.text(value)

    def payload(self, text: str) -> str:
        if self._pattern.search(text) is None:
            return text
        if not _is_json(text):
            return self.text(text)
        return _TEXT_IN_JSON.sub(lambda found: self.text(found[0]), text)

    def text(self, text: str) -> str:
        return self._pattern.sub(lambda found: self._spelled[found[0]], text)

    def _base64(self, text: str) -> str:
        try:
            raw = base64.b64decode(text, validate=True)
        except binascii.Error:
            return self.text(text)
        for secret, mask in self._spelled.items():
            raw = raw.replace(secret.encode("utf-8", "surrogatepass"), mask.encode())
        return base64.b64encode(raw).decode()
