"""The report as one HTML file: nothing is loaded, and nothing that a connector sent can act.

Whatever comes from a connector is escaped. A content security policy allows the page's own script and style by their
digest and nothing else, so that a mistake in escaping would still not run or load anything.
"""

import base64
import hashlib
import re
from functools import cache
from html import escape
from importlib.resources import files
from string import Template

from iot2mqtt_conformance.clauses import JUDGES
from iot2mqtt_conformance.contract import Clause, clauses
from iot2mqtt_conformance.report.data import Judged, Result
from iot2mqtt_conformance.report.failure import around, output
from iot2mqtt_conformance.report.telling import INSTANCE, in_short, printable_lines, root_of, shortened, tell
from iot2mqtt_conformance.report.timeline import bars, milestones, timeline
from iot2mqtt_conformance.transcript import Transcript
from iot2mqtt_conformance.verdict import Ruling, Standing

SIGNS = {
    Standing.FAIL: "✗",
    Standing.UNEXPECTED_PASS: "!",
    Standing.NOT_RUN: "○",
    Standing.WARNING: "▲",
    Standing.EXPECTED_FAILURE: "◐",
    Standing.PASS: "✓",
    Standing.NOT_APPLICABLE: "—",
    Standing.NOT_JUDGED: "·",
}
DETAILED = (Standing.FAIL, Standing.UNEXPECTED_PASS, Standing.WARNING, Standing.EXPECTED_FAILURE)
CELL = 240
SAMPLE = 90
_CODE = re.compile(r"`([^`\n]+)`")
FULL = 1200
WHOLE = 3000
PICTURES = 30
"""Timelines on one page, so that it stays below two megabytes whatever fails."""


def page(judged: Judged) -> str:
    """Return the page."""
    style, script = _part("page.css"), _part("page.js")
    return Template(_part("page.html")).substitute(
        policy=f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'",
        style=style,
        script=script,
        name=_text(judged.name),
        result=_slug(judged.result),
        headline=_text(_headline(judged)),
        scope=_text(_scope(judged)),
        tiles=_tiles(judged),
        facts=_facts(judged),
        smoke=_smoke(judged),
        filters=_filters(judged),
        clauses="".join(_table_row(judged, clause, ruling) for clause, ruling in judged.in_order()),
        details=_details(judged),
        boot=_boot(judged.played.transcript),
        launches=bars(_spans(judged.played.transcript)),
    )


@cache
def _part(name: str) -> str:
    return files("iot2mqtt_conformance.report").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _text(text: str, most: int = FULL) -> str:
    return escape(printable_lines(shortened(text, most)))


def _prose(text: str, most: int = FULL) -> str:
    """Escape a sentence of the contract or of a judge, and set what stands in backticks as code."""
    return _CODE.sub(r"<code>\1</code>", _text(text, most))


def _slug(words: str) -> str:
    return words.replace(" ", "-")


# ---------------------------------------------------------------------- the head
def _headline(judged: Judged) -> str:
    counts = judged.counts()
    failed = sum(counts.get(s, 0) for s in (Standing.FAIL, Standing.UNEXPECTED_PASS, Standing.NOT_RUN))
    known, expected = counts.get(Standing.WARNING, 0), counts.get(Standing.EXPECTED_FAILURE, 0)
    match judged.result:
        case Result.NOT_JUDGED:
            return "Not judged: the connector did not come online"
        case Result.FAIL:
            return (
                f"{_number(failed, 'clause')} of {sum(counts.values())} not in order"
                if failed
                else "Nothing was judged"
            )
        case Result.PARTIAL:
            return "Nothing failed of what was asked for"
        case Result.RESERVATIONS:
            return f"Passed, with {_number(known, 'warning')} and {_number(expected, 'expected failure')}"
    return "Every applicable clause that was judged is honoured"


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _scope(judged: Judged) -> str:
    asked = f"{len(judged.rulings)} of the {len(JUDGES)} clauses that this version judges were asked for"
    return f"{asked}; the contract has {len(clauses())}."


def _tiles(judged: Judged) -> str:
    return "".join(
        f'<li class="tile {_slug(standing)}"><span class="sign" aria-hidden="true">{SIGNS[standing]}</span>'
        f"<strong>{number}</strong> <span>{standing}</span></li>"
        for standing, number in judged.counts().items()
    )


def _facts(judged: Judged) -> str:
    facts = {
        "Played": f"{judged.recorded.replace('T', ' ').replace('+00:00', ' UTC')}, in {judged.seconds:.1f} s",
        "Broker": judged.services,
        "Round trip": f"{judged.played.round_trip * 1000:.1f} ms for one question and its answer",
        "Seed": str(judged.seed),
        "Suite": f"iot2mqtt-sdk {judged.played.transcript.origin.suite}",
    }
    rows = "".join(f"<div><dt>{name}</dt><dd>{_text(value)}</dd></div>" for name, value in facts.items() if value)
    return f"{rows}<div class=wide><dt>Again</dt><dd><code>{_text(judged.again)}</code></dd></div>"


def _smoke(judged: Judged) -> str:
    if judged.played.smoke is None:
        return ""
    return f'<section class="card fail"><h2>Why it was not judged</h2><pre>{_text(judged.played.smoke)}</pre></section>'


# ---------------------------------------------------------------------- the table
def _filters(judged: Judged) -> str:
    boxes = "".join(
        f'<label class="chip {_slug(standing)}">'
        f'<input type="checkbox" name="verdict" value="{_slug(standing)}" checked>'
        f'<span aria-hidden="true">{SIGNS[standing]}</span> {standing} <b>{number}</b></label>'
        for standing, number in judged.counts().items()
    )
    areas = dict.fromkeys(clause.area for clause, _ in judged.in_order())
    options = "".join(f'<option value="{area}">{area}</option>' for area in areas)
    return (
        f"<fieldset><legend>Verdict</legend>{boxes}</fieldset>"
        f'<label>Area <select name="area"><option value="">all</option>{options}</select></label>'
        '<label>Text <input type="search" name="text" placeholder="id, sentence, what was seen"></label>'
    )


def _attributes(clause: Clause, ruling: Ruling) -> str:
    return f'data-verdict="{_slug(ruling.standing)}" data-area="{clause.area}"'


def _chip(standing: Standing) -> str:
    return f'<span class="chip {_slug(standing)}"><span aria-hidden="true">{SIGNS[standing]}</span> {standing}</span>'


def _table_row(judged: Judged, clause: Clause, ruling: Ruling) -> str:
    seconds, scenario = judged.duration(clause)
    asked = ruling.standing not in (Standing.NOT_APPLICABLE, Standing.NOT_RUN, Standing.NOT_JUDGED)
    time = f'<td class="num" title="{_text(scenario)}">{seconds:.1f} s</td>' if asked else '<td class="num">—</td>'
    link = f'<a href="#{clause.id}">{clause.id}</a>' if ruling.standing in DETAILED else clause.id
    return (
        f'<tr {_attributes(clause, ruling)}><th scope="row">{link}<small>{clause.level}</small></th>'
        f"<td>{_prose(clause.text)}</td><td>{_chip(ruling.standing)}</td>{time}"
        f"<td>{_seen(judged, ruling)}</td></tr>\n"
    )


def _seen(judged: Judged, ruling: Ruling) -> str:
    reason = f"<p>{_text(ruling.reason, CELL)}</p>" if ruling.reason else ""
    verdict = ruling.verdict
    if verdict.seen or not verdict.evidence:
        return f"{reason}{_prose(verdict.seen, CELL)}"
    transcript = judged.played.transcript
    first = transcript.records[verdict.evidence[0]]
    told = tell(first, root_of(transcript, first.run))
    line = _text(f"{told.actor.value} {told.what} {told.subject} {told.payload or told.facts}", SAMPLE)
    more = len(verdict.evidence) - 1
    return f"{reason}<code>{line}</code>" + (f" <small>and {_number(more, 'more record')}</small>" if more else "")


# ---------------------------------------------------------------------- failures
def _details(judged: Judged) -> str:
    shown = [pair for standing in DETAILED for pair in judged.in_order() if pair[1].standing is standing]
    if not shown:
        return ""
    cards = "".join(_card(judged, *pair, picture=number < PICTURES) for number, pair in enumerate(shown))
    left = len(shown) - PICTURES
    rest = f"<p>The wire of the last {left} is left out here; a run of the clause shows it.</p>" if left > 0 else ""
    head = '<section id="failures" aria-labelledby="details"><h2 id="details">What is not in order</h2>'
    return f"{head}{cards}{rest}</section>"


def _card(judged: Judged, clause: Clause, ruling: Ruling, *, picture: bool) -> str:
    verdict = ruling.verdict
    unexpected = ruling.standing is Standing.UNEXPECTED_PASS
    transcript = judged.played.transcript
    root = root_of(transcript, transcript.records[max(verdict.evidence)].run) if verdict.evidence else ""
    facts = {
        "Reason": f"[expected_failures] says: {ruling.reason}" if ruling.reason else "",
        "Expected": in_short(verdict.expected, root),
        "Seen": "the clause is honoured" if unexpected else in_short(verdict.seen, root),
        "Hint": f"take {clause.id} out of [expected_failures]" if unexpected else verdict.hint,
    }
    rows = "".join(f"<div><dt>{name}</dt><dd>{_prose(text)}</dd></div>" for name, text in facts.items() if text)
    wire = _wire(transcript, clause, verdict.evidence) if picture and not unexpected else ""
    again = f"{judged.again} --iot2mqtt-clauses={clause.id}"
    return (
        f'<article class="card {_slug(ruling.standing)}" id="{clause.id}" {_attributes(clause, ruling)}>'
        f"<h3>{clause.id} {_chip(ruling.standing)} <small>{clause.level}</small></h3>"
        f"<p class=law>{_prose(clause.text)}</p>"
        f"<dl>{rows}</dl>{wire}<p class=again>Again: <code>{_text(again)}</code></p></article>\n"
    )


def _wire(transcript: Transcript, clause: Clause, evidence: tuple[int, ...]) -> str:
    if not evidence:
        return ""
    run = transcript.records[max(evidence)].run
    root = root_of(transcript, run)
    rows = around(transcript, evidence)
    picture = timeline(rows, root, f"Wire around the failure of {clause.id}")
    whole = "\n".join(str(tell(record, root, decides=True)) for record, decides in rows if decides)
    decided = f"<details><summary>What decided, at length</summary><pre>{_text(whole, WHOLE)}</pre></details>"
    caption = f"Launch {run}. ▶ decided. {INSTANCE} is {root}. Acknowledgements are left out."
    lines = "\n".join(output(transcript, evidence))
    said = f"<details open><summary>What the connector had printed last</summary><pre>{_text(lines)}</pre></details>"
    return (
        f'<figure><figcaption>{_text(caption)}</figcaption><div class="scroll" tabindex="0" role="region"'
        f' aria-label="Timeline of {clause.id}">{picture}</div></figure>{decided}{said if lines else ""}'
    )


# ---------------------------------------------------------------------- the run
def _boot(transcript: Transcript) -> str:
    rows = milestones(transcript, "boot")
    if not rows:
        return "<p>The connector was not started.</p>"
    root = root_of(transcript, "boot")
    caption = f"The first launch: what happened for the first time. {INSTANCE} is {root}."
    return (
        f'<figure><figcaption>{_text(caption)}</figcaption><div class="scroll" tabindex="0" role="region"'
        f' aria-label="Timeline of the first launch">{timeline(rows, root, caption)}</div></figure>'
    )


def _spans(transcript: Transcript) -> list[tuple[str, float, float]]:
    spans: dict[str, tuple[float, float]] = {}
    for record in transcript:
        if record.run:
            spans[record.run] = (spans.get(record.run, (record.t, 0.0))[0], record.t)
    return [(run, first, last) for run, (first, last) in spans.items()]
