"""`json_path`: one value from inside a JSON document."""

import re
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any

from pydantic import AfterValidator

from iot2mqtt_pipeline.decoders.base import Encoding, wrong
from iot2mqtt_pipeline.decoders.numbers import scaled, whole
from iot2mqtt_pipeline.record import Scalar

_STEP = re.compile(r"\.?(?P<name>[A-Za-z_][\w-]*)|\[(?P<index>[0-9]{1,9})\]|\['(?P<quoted>[^']+)'\]")


def _steps(path: str) -> tuple[str | int, ...]:
    """Return the members and places that a path leads through."""
    steps: list[str | int] = []
    rest = path.removeprefix("$")
    while rest:
        step = _STEP.match(rest)
        if step is None:
            raise ValueError(f"a path is written like $.a.b[0]['c d']; it cannot be read from {rest!r} on")
        index = step["index"]
        steps.append(int(index) if index else step["name"] or step["quoted"])
        rest = rest[step.end() :]
    if not steps:
        raise ValueError("a path must name at least one member")
    return tuple(steps)


def _has(items: list[Any], step: str | int) -> bool:
    return isinstance(step, int) and step < len(items)


def _readable(path: str) -> str:
    _steps(path)
    return path


class JsonPath(Encoding):
    """A number, boolean or text; numbers are scaled.

    Attributes:
        field: Not for this encoding: the path says it.
        path: Where it is, such as `$.values[0].temperature`.
    """

    field: None = None
    path: Annotated[str, AfterValidator(_readable)]

    @cached_property
    def _way(self) -> tuple[str | int, ...]:
        return _steps(self.path)

    def decode(self, payload: Any, scaling: Decimal | None) -> Scalar:
        """Return the value that the path leads to."""
        value = payload
        for step in self._way:
            inside = step in value if isinstance(value, dict) else isinstance(value, list) and _has(value, step)
            value = value[step] if inside else wrong(payload, f"a document with something at {self.path}")
        if isinstance(value, bool | str):
            return value
        if not isinstance(value, int | float):
            wrong(value, f"a number, boolean or text at {self.path}")
        return scaled(value if isinstance(value, float) else whole(value), scaling)
