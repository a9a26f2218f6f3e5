"""The wire as a picture: a row a record, with an arrow between the lanes of connector, broker and suite."""

from collections.abc import Iterable
from html import escape

from iot2mqtt_conformance.report.telling import Actor, Told, is_noise, tell
from iot2mqtt_conformance.transcript import Record, Transcript

ROW = 22
HEAD = 30
WIDTH = 1040
TIME = 62
LANES = {"connector": 104, "broker": 176, "suite": 248}
TEXT = 284
CHARACTERS = 104
"""Characters that fit beside the lanes; the rest is in the tooltip."""
GAP = 0.5
"""Seconds without a shown record that are worth a line."""

Rows = list[tuple[Record, bool]]


def timeline(rows: Rows, root: str, label: str) -> str:
    """Return a picture of records as SVG.

    Args:
        rows: Records of one launch, each with whether it is decisive.
        root: The instance's topic, which is shortened.
        label: What the picture shows, for those who do not see it.
    """
    parts: list[str] = []
    place = HEAD
    before: float | None = None
    for record, decides in rows:
        if before is not None and record.t - before > GAP:
            parts.append(_gap(place, record.t - before))
            place += ROW
        parts.append(_row(place, record, tell(record, root), decides=decides))
        place += ROW
        before = record.t
    lanes = "".join(
        f'<text class="lane" x="{x}" y="14" aria-hidden="true">{name}</text>'
        f'<line class="life" x1="{x}" x2="{x}" y1="22" y2="{place}"/>'
        for name, x in LANES.items()
    )
    return (
        f'<svg class="wire" role="list" aria-label="{escape(label)}" viewBox="0 0 {WIDTH} {place + 6}"'
        f' width="{WIDTH}" height="{place + 6}">{lanes}{"".join(parts)}</svg>'
    )


def _gap(y: int, seconds: float) -> str:
    return f'<text class="gap" x="{TEXT}" y="{y + 15}" aria-hidden="true">⋮ {seconds:.1f} s later</text>'


def _row(y: int, record: Record, told: Told, *, decides: bool) -> str:
    text = " ".join(part for part in (told.what, told.subject, told.payload, told.facts) if part)
    shown = text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]}…"
    rest = text.removeprefix(told.what) if shown == text else shown.removeprefix(told.what)
    tip = f"<title>{escape(text)}</title>" if shown != text else ""
    band = f'<rect class="band" x="0" y="{y}" width="{WIDTH}" height="{ROW}"/>' if decides else ""
    marker = f'<text class="mark" role="img" aria-label="decisive" x="4" y="{y + 15}">▶</text>' if decides else ""
    return (
        f'<g role="listitem">{tip}{band}{marker}'
        f'<text class="time" x="{TIME}" y="{y + 15}">{record.t:.3f}</text>{_stroke(record, told.actor, y + ROW // 2)}'
        f'<text x="{TEXT}" y="{y + 15}"><tspan class="what">{escape(told.what)}</tspan>{escape(rest)}</text></g>'
    )


def _stroke(record: Record, actor: Actor, y: int) -> str:
    """An arrow between two lanes for what was sent, and a dot on a lane for what happened there."""
    if actor is Actor.CONNECTOR:
        return _arrow("connector", "broker", y, "out")
    if actor is Actor.BROKER:
        return _arrow("broker", "connector", y, "in")
    if record.kind == "seen":
        return _arrow("broker", "suite", y, "side")
    if record.kind == "step" and record.data["name"] == "send":
        return _arrow("suite", "broker", y, "side")
    lane = "connector" if actor is Actor.PROCESS else "suite"
    return f'<circle class="dot" cx="{LANES[lane]}" cy="{y}" r="4"/>'


def _arrow(start: str, end: str, y: int, kind: str) -> str:
    begin, finish = LANES[start], LANES[end]
    back = -6 if finish > begin else 6
    head = f"{finish},{y} {finish + back},{y - 4} {finish + back},{y + 4}"
    line = f'<line x1="{begin}" x2="{finish + back}" y1="{y}" y2="{y}"/>'
    return f'<g class="arrow {kind}" role="img" aria-label="from {start} to {end}">{line}<polygon points="{head}"/></g>'


def milestones(transcript: Transcript, run: str) -> Rows:
    """Return what happened for the first time in a launch: what it takes to be online, and how it ended."""
    found: dict[tuple[str, ...], Record] = {}
    for record in transcript.of(run):
        if not is_noise(record) and record.kind not in ("step", "seen"):
            found.setdefault(_shape(record), record)
    return [(record, False) for record in found.values()]


def _shape(record: Record) -> tuple[str, ...]:
    data = record.data
    if record.kind != "packet":
        return (record.kind,)
    if data["type"] != "PUBLISH":
        return (data["dir"], data["type"])
    levels = data["topic"].split("/")
    if "devices" in levels:
        device = levels.index("devices") + 1
        levels = [
            *levels[:device],
            "+",
            *(
                "+" if i > 1 and levels[device + 1] == "state" else level
                for i, level in enumerate(levels[device + 1 :], 1)
            ),
        ]
    return (data["dir"], *levels, data.get("payload", "") if levels[-1] == "status" else "")


def bars(spans: Iterable[tuple[str, float, float]]) -> str:
    """Return when each launch began and ended as SVG bars over a common time.

    Args:
        spans: Name, first and last second of each launch.
    """
    rows = list(spans)
    end = max((last for _, _, last in rows), default=0.0) or 1.0
    left, wide = 210, WIDTH - 210 - 60
    parts = []
    for number, (name, first, last) in enumerate(rows):
        y = number * 20
        x, width = left + wide * first / end, max(2.0, wide * (last - first) / end)
        parts.append(
            f'<g role="listitem" aria-label="{escape(name)}: from {first:.1f} s to {last:.1f} s">'
            f'<text class="name" x="{left - 10}" y="{y + 14}">{escape(name)}</text>'
            f'<rect class="bar" x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="12" rx="3"/>'
            f'<text class="time" x="{x + width + 6:.1f}" y="{y + 14}">{last - first:.1f} s</text></g>'
        )
    height = len(rows) * 20 + 4
    return (
        f'<svg class="wire bars" role="list" aria-label="When each launch ran" viewBox="0 0 {WIDTH} {height}"'
        f' width="{WIDTH}" height="{height}">{"".join(parts)}</svg>'
    )
