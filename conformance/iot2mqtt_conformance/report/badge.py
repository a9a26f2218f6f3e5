"""A badge for a README: the result in a word, as an SVG that needs nothing else."""

from html import escape

from iot2mqtt_conformance.report.data import Judged, Result
from iot2mqtt_conformance.verdict import Standing

LABEL = "IoT2MQTT"
CHARACTER = 6.6
PADDING = 7
COLOURS = {
    Result.PASS: "#1a7f37",
    Result.RESERVATIONS: "#8a6100",
    Result.PARTIAL: "#57606a",
    Result.FAIL: "#c1272d",
    Result.NOT_JUDGED: "#57606a",
}


def message(judged: Judged) -> str:
    """Return what the badge says: how many of the applicable clauses are honoured, and what is to be said besides."""
    if judged.result is Result.NOT_JUDGED:
        return "not judged"
    counts = judged.counts()
    applicable = sum(counts.values()) - counts.get(Standing.NOT_APPLICABLE, 0)
    honoured = counts.get(Standing.PASS, 0) + counts.get(Standing.UNEXPECTED_PASS, 0)
    besides = ", partial" if judged.result is Result.PARTIAL else ""
    return f"{honoured} of {applicable} clauses{besides}"


def badge(judged: Judged) -> str:
    """Return the badge as SVG."""
    said = message(judged)
    left, right = (round(len(text) * CHARACTER) + 2 * PADDING for text in (LABEL, said))
    title = escape(f"{LABEL} conformance: {judged.result}, {said}")
    size = f'width="{left + right}" height="20"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{title}">
<title>{title}</title>
<clipPath id="round"><rect {size} rx="3"/></clipPath>
<g clip-path="url(#round)"><rect width="{left}" height="20" fill="#3d444d"/>
<rect x="{left}" width="{right}" height="20" fill="{COLOURS[judged.result]}"/></g>
<g fill="#fff" font-family="Verdana,DejaVu Sans,Geneva,sans-serif" font-size="11" text-anchor="middle">
<text x="{left / 2}" y="14" textLength="{left - 2 * PADDING}">{LABEL}</text>
<text x="{left + right / 2}" y="14" textLength="{right - 2 * PADDING}">{escape(said)}</text></g>
</svg>
"""
