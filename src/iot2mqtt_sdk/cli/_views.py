"""What `iot2mqtt watch` shows: a live table in a terminal, lines elsewhere."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click

from iot2mqtt_sdk.cli._board import Board, lines
from iot2mqtt_sdk.cli._broker import Down, Message, News, Up
from iot2mqtt_sdk.cli._text import cut, printable
from iot2mqtt_sdk.contract.time import format_timestamp
from iot2mqtt_sdk.jsontext import decode

EVERY = 0.2
"""Seconds between two drawings of the table, at the least."""
TICK = 1.0
"""Seconds between two drawings at the most: ages grow."""
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""To a screen of our own without a cursor, and back."""
HOME, REST_OF_LINE, REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


class Lines:
    """A line for each message; what happens to the connection goes to stderr."""

    def __init__(self, base: str, *, as_json: bool) -> None:
        self._prefix = f"{base}/v1/instances/"
        self._as_json = as_json
        self._said = "connected"

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Lines need no preparation."""
        yield

    def patience(self) -> float:
        """Return how long there is nothing to do without news."""
        return TICK

    def take(self, news: News | None) -> None:
        """Print a piece of news."""
        if isinstance(news, Message):
            click.echo(self._json(news) if self._as_json else self._text(news))
        elif isinstance(news, Down | Up):
            said = f"{news.reason}; trying again" if isinstance(news, Down) else "connected"
            if said != self._said:
                click.echo(said, err=True)
            self._said = said

    def _json(self, message: Message) -> str:
        document = {
            "received_at": _written(message.at),
            "topic": message.topic,
            "retained": message.retained,
            "payload": _payload(message.payload),
        }
        return json.dumps(document)  # in ASCII: JSON can hold half a character, which no terminal takes

    def _text(self, message: Message) -> str:
        said = _payload(message.payload)
        text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
        return printable(f"{_written(message.at)} {message.topic.removeprefix(self._prefix)} {text}")


def _written(at: float) -> str:
    return format_timestamp(datetime.fromtimestamp(at, UTC))


def _payload(raw: bytes) -> Any:
    """Return what a payload says: JSON, or else the text, such as that of a status."""
    try:
        return decode(raw)
    except ValueError:
        return raw.decode(errors="replace")


class Table:
    """A table that is drawn anew when something has changed."""

    def __init__(self, base: str, place: str) -> None:
        self._board = Board(base)
        self._title = f"{base} at {place}"
        self._trouble = "connecting"
        self._drawn = 0.0
        self._due = 0.0

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Use a screen of our own, and leave it as it was."""
        click.echo(ENTER, nl=False)
        try:
            yield
        finally:
            click.echo(LEAVE, nl=False)

    def patience(self) -> float:
        """Return how long there is nothing to do without news."""
        return max(self._due - time.monotonic(), 0.0)

    def take(self, news: News | None) -> None:
        """Take notice, and draw when it is due."""
        if isinstance(news, Message):
            self._board.take(news.topic, news.payload, news.at)
        elif isinstance(news, Down):
            self._trouble = f"{news.reason}; trying again"
        elif isinstance(news, Up):
            self._trouble = ""
        now = time.monotonic()
        if news is not None:
            self._due = min(self._due, self._drawn + EVERY)
        if now >= self._due:
            self._draw()
            self._drawn, self._due = now, now + TICK

    def _draw(self) -> None:

        width, height = shutil.get_terminal_size()
        state = click.style("connected", fg="green")
        if self._trouble:
            state = click.style(cut(self._trouble, width - 2), fg="yellow")
        heading = [click.style(cut(f"{self._title}  (Ctrl-C ends)", width), dim=True), state, ""]
        body = lines(self._board, width=width, height=height - len(heading), now=time.time())
        if not body and not self._trouble:
            body = ["no instance has said anything yet: start one with `iot2mqtt run`"]
        shown = [*heading, *body]
        if os.environ.get("NO_COLOR"):
            shown = [click.unstyle(line) for line in shown]
        click.echo(HOME + "\n".join(line + REST_OF_LINE for line in shown) + REST_OF_SCREEN, nl=False)
