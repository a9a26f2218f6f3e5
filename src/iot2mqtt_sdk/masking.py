"""Keeps secrets out of answers, logs and messages (clauses I2M-ENV-13 and I2M-ACT-07)."""

import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote

MASK: Final = "***"
SHORTEST: Final = 4
"""Characters from which on a text is masked in logs: to mask shorter ones would garble every sentence."""
_TELLING: Final = re.compile(r"pass(word|wd|phrase)?$|secret|token|api_?key|private_?key|credential", re.IGNORECASE)
_NEVER: Final = r"(?!)"
"""The pattern of nothing to hide."""


def tells_a_secret(name: str) -> bool:
    """Tell whether something of this name is secret: `password`, `API_KEY`, `token`."""
    return _TELLING.search(name) is not None


def secret_values(config: Any, *, inside: bool = False) -> set[str]:
    """Return the texts of a configuration that are secret by their place or by the name of their key.

    Args:
        config: The configuration, or a part of it. Numbers count as the texts that they are written as.
        inside: Whether the part belongs to something secret, so that all of it is.
    """
    if inside:
        return set(_texts(config))
    if isinstance(config, Mapping):
        values = (secret_values(value, inside=tells_a_secret(str(key))) for key, value in config.items())
        return set().union(*values)
    if isinstance(config, list | tuple):
        return set().union(*map(secret_values, config))
    return set()


class Mask:
    """Replaces secrets by `***`, also in the spellings of JSON, Python literals and URLs.

    Args:
        secrets: What to hide: texts, numbers, or everything in lists and objects; None hides nothing.
        shortest: Characters from which on a secret is hidden.
    """

    def __init__(self, secrets: Iterable[Any], *, shortest: int = SHORTEST) -> None:
        texts = {text for secret in secrets for text in _texts(secret) if len(text) >= shortest}
        self._spellings = sorted({form for text in texts for form in _spellings(text)}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, self._spellings)) or _NEVER)

    def __bool__(self) -> bool:
        return bool(self._spellings)

    def text(self, text: str) -> str:
        """Return a text without the secrets."""
        return self._pattern.sub(MASK, text)

    def value(self, value: Any) -> Any:
        """Return a JSON value without the secrets in its texts, keys and numbers."""
        if not self._spellings:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {self.text(key): self.value(item) for key, item in value.items()}
        return MASK if any(text in self._spellings for text in _texts(value)) else value

    def pieces(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield what a stream says without the secrets, as soon as may be, even if they arrive in pieces."""
        spellings = [spelling.encode() for spelling in self._spellings]
        pattern = re.compile(self._pattern.pattern.encode())
        held = b""
        for chunk in chunks:
            held += chunk
            cut = len(held) - _begun(held, spellings)
            # A secret that is there is not cut; one that may be the beginning of a longer one waits for the rest.
            cut = min([cut, *(found.start() for found in pattern.finditer(held) if found.end() > cut)])
            yield pattern.sub(MASK.encode(), held[:cut])
            held = held[cut:]
        yield pattern.sub(MASK.encode(), held)

    def stream(self, source: int, target: int) -> None:
        """Copy a file descriptor to another until its end, without the secrets."""
        for piece in self.pieces(read_chunks(source)):
            write_all(target, piece)


class MaskingFormatter(logging.Formatter):
    """Formats log lines, tracebacks included, without the secrets of its `mask`, which may be replaced any time."""

    def __init__(self, layout: str) -> None:
        super().__init__(layout)
        self.mask = Mask(())

    def format(self, record: logging.LogRecord) -> str:
        """Return the line that is written."""
        return self.mask.text(super().format(record))


def read_chunks(descriptor: int) -> Iterator[bytes]:
    """Yield what arrives at a file descriptor until its end."""
    return iter(partial(os.read, descriptor, 65536), b"")


def write_all(descriptor: int, content: bytes) -> None:
    """Write everything to a file descriptor, however little it takes at once."""
    while content:
        content = content[os.write(descriptor, content) :]


def _texts(value: Any) -> list[str]:
    """Return the texts and numbers in a value, as texts; true, false and null are no secrets."""
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list | tuple | set | frozenset):
        return [text for item in value for text in _texts(item)]
    return [] if value is None or isinstance(value, bool) or value == "" else [str(value)]


def _spellings(text: str) -> set[str]:
    readable = text.encode("utf-8", "replace").decode()
    escaped = (json.dumps(readable), json.dumps(readable, ensure_ascii=False), repr(readable))
    return {readable, quote(readable, safe=""), quote(readable), *(form[1:-1] for form in escaped)}


def _begun(text: bytes, spellings: Iterable[bytes]) -> int:
    """Return the length of the longest end of a text with which one of the spellings begins."""
    return max(
        (
            size
            for spelling in spellings
            for size in range(1, min(len(spelling), len(text) + 1))
            if text.endswith(spelling[:size])
        ),
        default=0,
    )
