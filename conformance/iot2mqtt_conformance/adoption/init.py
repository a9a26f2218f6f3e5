"""Writes a first conformance.toml for a connector that has none."""

from collections.abc import Callable
from pathlib import Path

from iot2mqtt_conformance.adoption import writing
from iot2mqtt_conformance.adoption.lookaround import AdoptionError, Found, look
from iot2mqtt_conformance.adoption.observed import Observed, UnobservedError, observe
from iot2mqtt_conformance.declaration import FILE_NAME, Declaration, DeclarationError, parse
from iot2mqtt_conformance.services.base import ServiceError
from iot2mqtt_conformance.services.choose import choose

SHOWN_LINES = 6
"""Of what a connector that does not start has printed, as many of the last lines are shown."""


def init(
    folder: Path,
    *,
    command: str | None = None,
    peripheral: str | None = None,
    overwrite: bool = False,
    say: Callable[[str], object] = print,
) -> Path:
    """Look at a connector, start it once, and write its declaration.

    Args:
        folder: The connector's folder.
        command: The program and its arguments, where the folder does not tell.
        peripheral: A simulated device's program and arguments, with `{port}`.
        overwrite: Whether a declaration that exists may be replaced.
        say: Told what is done, and what is left to be completed.

    Raises:
        AdoptionError: No declaration could be written.
    """
    file = folder / FILE_NAME
    if file.exists() and not overwrite:
        raise AdoptionError(f"{file} exists: edit it, or replace it with --overwrite")
    found = look(folder, command)
    declared = _parsed(writing.draft(found, peripheral), file)
    say(f"{found.why} starts it, {found.instance} configures it: starting it once")
    observed = _observed(found, declared, peripheral)
    text = writing.written(found, observed, peripheral)
    _parsed(text, file)
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise AdoptionError(f"{file} cannot be written: {error.strerror}") from None
    for line in _told(found, observed, peripheral):
        say(line)
    return file


def _parsed(text: str, file: Path) -> Declaration:
    try:
        return parse(text, file)
    except DeclarationError as error:
        raise AdoptionError(str(error)) from None


def _observed(found: Found, declared: Declaration, peripheral: str | None) -> Observed:
    try:
        new_broker, _ = choose("auto")
        return observe(declared, new_broker)
    except ServiceError as error:
        raise AdoptionError(str(error)) from None
    except UnobservedError as error:
        cause, *lines = str(error).splitlines()
        said = " | ".join(line.strip() for line in lines[1:][-SHOWN_LINES:]) or "nothing"
        device = (
            f"; {found.instance} leaves {{port}} to a simulated device: name the program with --peripheral"
            if found.needs_a_device and peripheral is None
            else ""
        )
        raise AdoptionError(f"nothing is written, because {cause}; it printed: {said}{device}") from None


def _told(found: Found, observed: Observed, peripheral: str | None) -> list[str]:
    """Return what is left to be completed."""
    told = [f"{found.folder / FILE_NAME} is written; to complete in it:"]
    if found.needs_a_device and peripheral is None:
        told.append(f"- [[peripherals]]: the simulated device for which {found.instance} leaves {{port}}")
    silent = [device for device in found.devices if device not in observed.states]
    if silent:
        told.append(f"- {', '.join(silent)}: no state was seen; has what they speak to been started?")
    if observed.commands and not writing.commanded(observed):
        told.append("- [[devices]]: a writable property with two values, and commands = true")
    told.append("- values that devices refuse, stimuli, secrets and TLS: see the comments")
    told.append(f"then run: iot2mqtt conformance {found.folder}")
    return told
