"""Phrases that judges share: how a process ended, what was published last, when something was."""

import signal
from collections.abc import Sequence

from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.view import Publication, Run

EXCERPT = 160
"""Characters of a payload in a sentence."""
BY_SIGNAL = 128
"""What shells and runtimes add to the number of the signal that has ended a process."""


def ended(record: Record, since: Record) -> str:
    """Say how and when a process ended.

    Args:
        record: Its end.
        since: What the time is counted from.
    """
    code = int(record.data["code"])
    number = -code if code < 0 else code - BY_SIGNAL
    name = signal.Signals(number).name if number in set(signal.Signals) else ""
    if code < 0:
        how = f"by {name or f'the signal {number}'}, which it does not handle"
    elif name:
        how = f"with exit code {code}: {BY_SIGNAL} + {number}, an end by an unhandled {name}"
    else:
        how = f"with exit code {code}"
    return f"the process ended {how}, {record.t - since.t:.1f} s later"


def excerpt(publication: Publication) -> str:
    """Return the topic, the beginning of the payload and the time of a message."""
    text = publication.text if publication.text is not None else "bytes that are no UTF-8"
    more = "…" if len(text) > EXCERPT else ""
    return f"{text[:EXCERPT]}{more} on {publication.topic} at {publication.record.t:.1f} s"


def last_line(run: Run, before: Record) -> str:
    """Return the last line that a connector printed, as the end of a sentence."""
    lines = [r for r in run.lines(before=before) if r.data["line"].strip()]
    return f"; its last line: {lines[-1].data['line'][:EXCERPT]}" if lines else "; it printed nothing"


def listed(words: Sequence[str], none: str) -> str:
    """Return words in a row, or what stands for none."""
    return ", ".join(words) if words else none
