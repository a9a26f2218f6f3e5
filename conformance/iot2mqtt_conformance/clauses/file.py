"""I2M-FILE: the connector's own files."""

import json
from typing import Any

from iot2mqtt_conformance.clauses.act import good_answers
from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.dryrun import DryRun
from iot2mqtt_conformance.setupfile import reference_faults, schema_faults, template_faults
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Verdict, failed, passed
from iot2mqtt_conformance.view import NOT_JSON, View, strict_json

TOLD = 5
"""Faults that a sentence names."""


def _file(view: View, kind: str) -> tuple[Record | None, Any, str]:
    """Return the record of a file, what it holds, and why it cannot be read."""
    record = next((r for r in view.transcript.of("files") if r.kind == "file" and r.data["file"] == kind), None)
    if record is None:
        return None, None, "it was not looked at"
    document = strict_json(record.data["text"])
    fault = record.data["fault"] or ("it is not JSON" + _where(record.data["text"]) if document is NOT_JSON else "")
    return record, document, fault


def _where(text: str) -> str:
    try:
        json.loads(text)
    except ValueError as error:
        return f": {error}"
    return ": NaN and infinities are none"


def _verdict(record: Record | None, expected: str, faults: list[str]) -> Verdict:
    evidence = [] if record is None else [record]
    if not faults:
        return passed(evidence)
    more = f"; and {len(faults) - TOLD} more" if len(faults) > TOLD else ""
    return failed(expected, "; ".join(faults[:TOLD]) + more, at=evidence)


@judges("I2M-FILE-01", "files")
def setup_is_valid(view: View, _declaration: Declaration) -> Verdict:
    """setup.json fits its schema, and what it refers to is there."""
    record, document, fault = _file(view, "setup")
    faults = [fault] if fault else schema_faults("setup", document)
    if record is not None and not faults:
        faults = list(reference_faults(document, record.data["scripts"]))
    return _verdict(record, "a setup.json that fits its schema, with each id once and every script there", faults)


@judges("I2M-FILE-02", "files", "actions")
def flows_lead_to_an_instance(view: View, _declaration: Declaration) -> Verdict:
    """Each template has a value where it stands, and each instance step yields a valid configuration."""
    expected = "templates that an earlier step fills, and an instance step that yields a valid instance configuration"
    record, document, fault = _file(view, "setup")
    if fault or schema_faults("setup", document):
        return _verdict(record, expected, [fault or "its flows cannot be walked, because it does not fit its schema"])
    faults = list(template_faults(document))
    if not faults:
        # A wrong path in a dry run is told by the static check already.
        inputs, results = good_answers(view)
        faults = [told for flow in document["flows"] for told in DryRun(flow, inputs, results).faults()]
    if not any(step["type"] == "instance" for flow in document["flows"] for step in flow["steps"]):
        faults.append("no flow has an instance step")
    return _verdict(record, expected, faults)


@judges("I2M-FILE-03", "files")
def manifest_is_valid(view: View, _declaration: Declaration) -> Verdict:
    """manifest.json fits its schema."""
    record, document, fault = _file(view, "manifest")
    faults = [fault] if fault else schema_faults("manifest", document)
    return _verdict(record, "a manifest.json that fits its schema", faults)
