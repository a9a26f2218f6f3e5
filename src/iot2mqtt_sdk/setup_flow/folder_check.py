"""Finds what is wrong with a connector's own files before anybody runs it (clauses I2M-FILE-01 to -03)."""

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, JsonValue, ValidationError

from iot2mqtt_sdk.contract.instance import InstanceConfig
from iot2mqtt_sdk.contract.manifest import Manifest
from iot2mqtt_sdk.contract.models import read_json
from iot2mqtt_sdk.contract.setup import InstanceStep, Setup
from iot2mqtt_sdk.contract.setup_check import check
from iot2mqtt_sdk.contract.templating import placeholders

FILES: Final = ("setup.json", "manifest.json", "conformance.toml")
"""Files by which a connector's folder is known."""
_ADVICE: Final = {
    "extra_forbidden": "there is no such key; remove it, or correct its spelling",
    "missing": "is missing; add it",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault.

    Attributes:
        file: The file, relative to the connector's folder.
        path: Where in it: a JSON pointer, or names with dots between them; empty for the whole file.
        message: What is wrong, and what to do.
    """

    file: str
    path: str
    message: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.file, self.path, self.message)))


def check_folder(folder: Path) -> list[Finding]:
    """Return what is wrong with a connector's setup.json, manifest.json and example instances, in this order.

    A file that is not there is no fault, unless the folder has none of those by which a connector is known.
    """
    if not any((folder / name).is_file() for name in FILES):
        return [Finding(".", "", f"this is no connector's folder: it has neither {', '.join(FILES)}; name another one")]
    manifest, faults = _read(Manifest, folder, "manifest.json")
    setup, setup_faults = _read(Setup, folder, "setup.json")
    findings = setup_faults
    if isinstance(setup, Setup):
        findings += [Finding("setup.json", problem.where, problem.message) for problem in check(setup, folder)]
    if isinstance(setup, Setup) and isinstance(manifest, Manifest):
        findings += _foreign(setup, manifest)
    return [*findings, *faults, *_examples(folder)]


def _read(model: type[BaseModel], folder: Path, name: str) -> tuple[BaseModel | None, list[Finding]]:
    file = folder / name
    if not file.exists():
        return None, []
    try:
        document = read_json(file.read_bytes())
    except OSError as error:
        return None, [Finding(name, "", f"cannot be read: {error.strerror}; mend its permissions")]
    except ValueError as error:
        return None, [Finding(name, "", f"{error}; mend the syntax")]
    try:
        return model.model_validate(document), []
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        return None, _findings(name, document, faults)


def _findings(name: str, document: JsonValue, faults: Iterable[Any]) -> list[Finding]:
    """Return one finding for each place: what takes several types has one fault for each of them."""
    messages: dict[str, list[str]] = {}
    for fault in faults:
        path = _pointer(document, fault["loc"], missing=fault["type"] == "missing")
        message = _ADVICE.get(fault["type"], fault["msg"].removeprefix("Value error, "))
        messages.setdefault(path, []).append(message)
    return [Finding(name, path, ", or: ".join(dict.fromkeys(texts))) for path, texts in messages.items()]


def _pointer(document: JsonValue, steps: tuple[str | int, ...], *, missing: bool) -> str:
    """Return the JSON pointer of a fault; its steps also name the models that were tried, which a file has not."""
    pointer, here = "", document
    for number, step in enumerate(steps):
        if isinstance(here, list) and isinstance(step, int) and step < len(here):
            here = here[step]
        elif isinstance(here, dict) and step in here:
            here = here[str(step)]
        elif not (missing and number == len(steps) - 1):
            continue
        pointer += "/" + str(step).replace("~", "~0").replace("/", "~1")
    return pointer


def _foreign(setup: Setup, manifest: Manifest) -> Iterator[Finding]:
    """Find the instances that a flow would write for another connector."""
    for flow in setup.flows:
        for step in flow.steps:
            if not isinstance(step, InstanceStep):
                continue
            named = step.instance.connector_type
            if named and not any(placeholders(named)) and named != manifest.domain:
                message = f"connector_type {named!r} is not the manifest's domain {manifest.domain!r}; make them equal"
                yield Finding("setup.json", f"flows.{flow.id}.{step.id}", message)


def _examples(folder: Path) -> Iterator[Finding]:
    """Find what is wrong with the instance that conformance.toml names, and with those in instances/."""
    names = [file.relative_to(folder).as_posix() for file in sorted((folder / "instances").glob("*.json"))]
    declared, faults = _declared_instance(folder)
    yield from faults
    if declared is not None and declared not in names:
        names.append(declared)
    for name in names:
        yield from _read(InstanceConfig, folder, name)[1]


def _declared_instance(folder: Path) -> tuple[str | None, list[Finding]]:
    """Return the instance that conformance.toml names, and what is wrong there."""
    name = "conformance.toml"
    if not (folder / name).exists():
        return None, []
    try:
        connector = tomllib.loads((folder / name).read_text(encoding="utf-8")).get("connector", {})
    except (OSError, ValueError) as error:
        return None, [Finding(name, "", f"cannot be read: {error}; mend it")]
    if not isinstance(connector, dict):
        return None, [Finding(name, "connector", "must be a table; write [connector] above its keys")]
    instance = connector.get("instance")
    if not isinstance(instance, str):
        return None, []
    if not (folder / instance).is_file():
        return None, [Finding(name, "connector.instance", f"{instance} does not exist; create it")]
    return instance, []
