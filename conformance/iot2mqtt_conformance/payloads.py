"""Payloads that nobody should send: some by heart, the others generated from a seed.

A seed stands for the same payloads on every machine and with every version of Python: nothing but `Random.random()` is
used, which alone is promised to stay as it is.
"""

import json
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

GENERATED = 80
LETTERS = 'aZ09 _-./+#"\\{}[]:,\x00\x1f\x7f\u00e9\u200b\ufffd\U0001f4a1'
"""What generated texts are made of."""
NASTY: tuple[bytes, ...] = (
    b"\xff\xfe\xfd",
    b"",
    b'{"id": "cut off", "values": {',
    b"[]",
    b"null",
    b"true",
    b"42",
    b'"online"',
    b"[1, 2, {}]",
    b'{"values": null}',
    b'{"values": []}',
    b'{"values": "power"}',
    b'{"id": 7, "values": {"power": true}}',
    b'{"id": {"a": []}, "timestamp": [], "timeout": "soon", "values": {}}',
    b'{"properties": 5}',
    b'{"properties": [null, {}, 1]}',
    b'{"timestamp": 1e400, "values": {}}',
    b"NaN",
    b"[" * 5000 + b"]" * 5000,
    b'{"a":' * 3000 + b"1" + b"}" * 3000,
    b'{"values": {"' + b"x" * 1_000_000 + b'": 1}}',
    b"\x00" * 100,
)
FRAGMENTS: tuple[bytes, ...] = (
    b"\xff\x00",
    b"\x00",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\xc0\xaf",
    b"\\ud800",
    b"\\u0000",
    b"1e999",
    b"-Infinity",
    b"NaN",
    b'"',
    b"\\",
    b"{",
    b"]",
    b",",
    b"\r\n",
    b"'",
    b"`",
    b"$(",
    b"%s%n",
    b"{{",
    b"9" * 400,
)
"""Bytes that are put into the middle of good payloads."""
ENVELOPES: tuple[bytes, ...] = (
    b'{"id": "fuzz-1", "timestamp": "2024-01-01T00:00:00Z", "values": {"power": true}, "timeout": 5000}',
    b'{"properties": ["power", "brightness"]}',
    b"{}",
)
INPUTS = 4
"""Generated inputs for an action script: each costs the start of a process."""
DEEPEST = 3
WIDEST = 4

T = TypeVar("T")


class Chance:
    """Choices that a seed determines."""

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(seed)

    def below(self, limit: int) -> int:
        """Return a number from 0 on that is smaller than a limit."""
        return int(self._random.random() * limit)

    def one(self, options: Sequence[T]) -> T:
        """Return one of several."""
        return options[self.below(len(options))]

    def noise(self, longest: int) -> bytes:
        """Return some bytes."""
        return bytes(self.below(256) for _ in range(self.below(longest + 1)))

    def text(self, longest: int) -> str:
        """Return a text of few but strange letters."""
        return "".join(self.one(LETTERS) for _ in range(self.below(longest + 1)))

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return several in another order."""
        left, found = list(items), []
        while left:
            found.append(left.pop(self.below(len(left))))
        return found

    def value(self, depth: int = 0) -> Any:
        """Return a JSON value, or a number that JSON does not have."""
        kind = self.below(9 if depth < DEEPEST else 7)
        if kind < 5:  # noqa: PLR2004 - five kinds of which one value is as good as another
            return (None, True, False, "", 0)[kind]
        if kind == 5:  # noqa: PLR2004
            return self.one((-1, 1, 2**31, 2**63, -(2**64), 10**40, 0.5, -0.0, 1e-320, 1e308, math.inf, math.nan))
        if kind == 6:  # noqa: PLR2004
            return self.text(20)
        if kind == 7:  # noqa: PLR2004
            return [self.value(depth + 1) for _ in range(self.below(WIDEST + 1))]
        return {self.text(8): self.value(depth + 1) for _ in range(self.below(WIDEST + 1))}

    def envelope(self) -> dict[str, Any]:
        """Return what has the keys of a command or a question, with values of any kind."""
        keys = ("id", "timestamp", "values", "timeout", "properties")
        return {key: self.value() for key in keys if self.below(2)}

    def spoiled(self, payload: bytes, fragment: bytes) -> bytes:
        """Return a payload with bytes in it that do not belong there, in the place of some that do."""
        start = self.below(len(payload) + 1)
        return payload[:start] + fragment + payload[start + self.below(3) :]


def payloads(seed: int) -> list[bytes]:
    """Return the payloads that a seed stands for."""
    chance = Chance(seed)
    found = [chance.spoiled(chance.one(ENVELOPES), fragment) for fragment in FRAGMENTS]
    while len(found) < GENERATED:
        kind = chance.below(4)
        if kind == 0:
            found.append(chance.noise(200))
        elif kind == 1:
            found.append(chance.spoiled(chance.one(ENVELOPES), chance.noise(4)))
        else:
            value = chance.envelope() if kind == 2 else chance.value()  # noqa: PLR2004
            found.append(json.dumps(value).encode())
    return found


def script_inputs(seed: int, request: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what is no request to an action script: `malformed`, which is no JSON text, and `envelope`, which is.

    Args:
        seed: What determines them.
        request: A good request, of which some are made.
    """
    chance = Chance(f"script {seed}")
    count = 0
    while count < INPUTS:
        spoilt = chance.spoiled(request, chance.one(FRAGMENTS))
        text = spoilt if count % 2 else json.dumps(chance.value()).encode()
        case = _case(text)
        if case is not None:
            count += 1
            yield case, text


def _case(text: bytes) -> str | None:
    """Return why bytes are no request, or None where they may be one, or nobody can be blamed for reading them."""
    try:
        value = json.loads(text.decode("utf-8"), parse_constant=_refused)
    except (ValueError, RecursionError):
        return "malformed" if text.strip() and not text.startswith(b"\xef\xbb\xbf") and not _lenient(text) else None
    return None if isinstance(value, dict) else "envelope"


def _lenient(text: bytes) -> bool:
    """Whether a reader that takes more than JSON, as many do, would read it."""
    try:
        json.loads(text.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def _refused(word: str) -> None:
    raise ValueError(f"{word} is no JSON")
