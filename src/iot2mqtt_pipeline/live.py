"""What `up` shows while it runs: in a terminal a view that is drawn anew, elsewhere a line now and then."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import click

BARS: Final = "▁▂▃▄▅▆▇█"
HISTORY: Final = 30
"""How many rates are remembered of each stage."""
HOME, REST_OF_LINE, REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""To a screen of our own without a cursor, and back."""
_TIME: Final = 8


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a stage has counted since it was started.

    Attributes:
        received: Messages or records that came in.
        forwarded: Those that are safe where they were to go.
        dead_letters: Those that were set aside.
        duplicates: Rows that were there already.
        connections: How often it has connected.
        lag: Records that are still to be read, as far as is known.
    """

    received: int = 0
    forwarded: int = 0
    dead_letters: int = 0
    duplicates: int = 0
    connections: int = 0
    lag: int = 0


@dataclass(slots=True)
class Trend:
    """The numbers of all stages over time.

    Attributes:
        now: The newest.
        rates: Messages a second, the oldest first.
    """

    now: Mapping[str, Numbers] = field(default_factory=dict)
    rates: dict[str, deque[float]] = field(default_factory=dict)
    _at: float = 0.0

    def add(self, numbers: Mapping[str, Numbers], at: float) -> None:
        """Take the numbers of a moment, in seconds that only grow."""
        if self.now:
            seconds = max(at - self._at, 1e-3)
            for name, one in numbers.items():
                known = self.rates.setdefault(name, deque(maxlen=HISTORY))
                known.append((one.received - self.now.get(name, Numbers()).received) / seconds)
        self.now, self._at = dict(numbers), at

    def rate(self, name: str) -> float:
        """Return the newest rate of a stage."""
        return self.rates[name][-1] if self.rates.get(name) else 0.0


def plain(trend: Trend, seconds: float) -> str:
    """Return one line on the stages."""
    rates = ", ".join(f"{name} {trend.rate(name):,.0f}/s" for name in trend.now)
    lag = sum(one.lag for one in trend.now.values())
    dead = sum(one.dead_letters for one in trend.now.values())
    stored = trend.now["sink"].forwarded if "sink" in trend.now else 0
    return f"{seconds:5.0f} s  {rates}; lag {lag:,}, dead letters {dead:,}, stored {stored:,}"


def screen(
    trend: Trend,
    *,
    status: str,
    services: Mapping[str, str],
    newest: Sequence[Sequence[Any]],
    notes: Sequence[str],
    size: tuple[int, int],
) -> list[str]:
    """Return the view.

    Args:
        trend: The numbers.
        status: What is going on.
        services: A line on each.
        newest: Rows: time, device, component, number, value, text, unit.
        notes: What was logged last.
        size: Columns and lines of the terminal.
    """
    width, height = size
    lines = [click.style(f"iot2mqtt-pipeline up   {status}"[:width], bold=True)]
    lines += [_dim(f"{name:<12}  {text}", width) for name, text in services.items()]
    lines += ["", _dim(f"{'':<10} {'msg/s':>9}  {'':<{HISTORY}} {'received':>12} {'lag':>8} {'dead':>6}", width)]
    lines += [_stage(name, trend, width) for name in trend.now]
    said = [click.style(_clean(note)[:width], fg="yellow") for note in notes]
    room = height - len(lines) - len(said) - 3
    if newest and room > 0:
        lines += ["", _dim("newest rows", width), *(_clean(row_line(row))[:width] for row in newest[:room])]
    return [*lines, *(["", *said] if said else [])][:height]


def _stage(name: str, trend: Trend, width: int) -> str:
    one = trend.now[name]
    head = f"{name:<10} {trend.rate(name):>9,.0f}  "
    counts = f" {one.received:>12,} {one.lag:>8,} "
    if len(head) + HISTORY + len(counts) + 6 > width:
        return (head + counts)[:width]
    dead = click.style(f"{one.dead_letters:>6,}", fg="red" if one.dead_letters else None)
    bars = click.style(f"{sparks(trend.rates.get(name, ())):<{HISTORY}}", fg="cyan")
    return head + bars + counts + dead


def sparks(rates: Sequence[float] | deque[float]) -> str:
    """Return rates as a row of bars, the highest of them full."""
    highest = max(rates, default=0.0)
    if highest <= 0:
        return BARS[0] * len(rates)
    return "".join(BARS[round(max(rate, 0.0) / highest * (len(BARS) - 1))] for rate in rates)


def row_line(row: Sequence[Any]) -> str:
    """Return a row of iot_measurements as a line."""
    moment, device, component, number, value, text, unit = row
    said = text if text is not None else "-" if value is None else f"{value:g}"
    name = component if number is None else f"{component} {number}"
    return f"{moment:%H:%M:%S.%f}"[: _TIME + 4] + f"  {device:<15}  {name:<28}  {said:>12} {unit or ''}"


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Return rows as lines with columns; numbers are aligned to the right."""
    cells = [[_cell(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    right = [any(isinstance(row[at], int | float) for row in rows) for at in range(len(head))]
    return [
        "  ".join(
            text.rjust(width) if aligned else text.ljust(width)
            for text, width, aligned in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in [head, *cells]
    ]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return _clean(f"{value:%Y-%m-%d %H:%M:%S}" if hasattr(value, "strftime") else str(value))


def _clean(text: str) -> str:
    """Return a text without control characters, which could rewrite the terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _dim(text: str, width: int) -> str:
    return click.style(text[:width], dim=True)


def drawn(lines: Sequence[str]) -> str:
    """Return what draws lines over those that were there."""
    return HOME + "\n".join(line + REST_OF_LINE for line in lines) + REST_OF_SCREEN
