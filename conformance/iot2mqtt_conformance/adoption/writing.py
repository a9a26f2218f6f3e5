"""The text of a first conformance.toml, with comments that say what to complete."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from iot2mqtt_conformance.adoption.lookaround import Found, words_of
from iot2mqtt_conformance.adoption.observed import Observed

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
START_DEADLINE = 20
"""Seconds that every connector is given from start to `online`."""
START_FACTOR = 4
"""How many times longer than on this machine a start may take elsewhere."""


def quoted(value: Any) -> str:
    """Return a value as TOML has it: what JSON and TOML write alike."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(quoted(item) for item in value)}]"
    # TOML knows no halves of surrogate pairs, and wants DEL escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def key(name: str) -> str:
    """Return a key as TOML has it."""
    return name if BARE_KEY.fullmatch(name) else quoted(name)


def draft(found: Found, peripheral: str | None) -> str:
    """Return the least that can be started with."""
    return "\n".join([*_connector(found, START_DEADLINE), *_peripherals(found, peripheral)]) + "\n"


def written(found: Found, observed: Observed, peripheral: str | None) -> str:
    """Return the whole text."""
    start = max(START_DEADLINE, math.ceil(observed.start * START_FACTOR))
    devices = [list(_device(device, observed)) for device in found.devices]
    parts = [
        _head(),
        _connector(found, start),
        _features(found, observed),
        *devices,
        _peripherals(found, peripheral),
        _stimuli(found),
        _actions(found),
    ]
    return "\n".join("\n".join(part) + "\n" for part in map(list, parts) if part)


def switches(observed: Observed, device: str) -> list[str]:
    """Return the properties of a device that can be true and false, and be set as far as is known."""
    state = observed.states.get(device, {})
    flags = [name for name, value in state.items() if isinstance(value, bool)]
    accepted, refused = observed.accepted.get(device, []), observed.refused.get(device, [])
    return [name for name in flags if name in accepted] if accepted or refused else flags


def commanded(observed: Observed) -> bool:
    """Whether a device can be commanded without anything to complete."""
    return observed.commands and any(switches(observed, device) for device in observed.states)


def grouped(observed: Observed) -> bool:
    """Whether two devices can be switched alike."""
    names = [name for device in observed.states for name in switches(observed, device)]
    return commanded(observed) and observed.groups and len(names) > len(set(names))


def _head() -> Iterator[str]:
    yield "# What the conformance suite has to know of this connector. A first version, written by"
    yield "# `iot2mqtt conformance init` after one look; a line with `#` and `=` is a suggestion to complete."


def _connector(found: Found, start: int) -> Iterator[str]:
    yield "[connector]"
    yield f"name = {quoted(found.name)}"
    yield f"command = {quoted(found.command)}  # seen from: {found.why}"
    yield f"instance = {quoted(found.instance)}  # the suite sets its names and intervals"
    if found.others:
        yield f"# There are others: {', '.join(found.others)}. Name the one with the most kinds of devices."
    if found.setup:
        yield 'setup = "setup.json"'
    if found.manifest:
        yield 'manifest = "manifest.json"'
    yield f"start_deadline = {start}  # seconds from the start to `online`"


def _reporting(found: Found, observed: Observed) -> str:
    if observed.states:
        unasked = "a state came again" if observed.polling else "no state came"
        kind = "polling" if observed.polling else "events"
        return f"reporting = {quoted(kind)}  # {unasked} unasked within three update intervals of 1 s"
    kind = "polling" if "update_interval" in found.document else "events"
    return f"reporting = {quoted(kind)}  # a guess: no state was seen"


def _features(found: Found, observed: Observed) -> Iterator[str]:
    yield "[features]"
    yield _reporting(found, observed)
    if observed.commands and not commanded(observed):
        yield "# It subscribes to commands; complete `writable` of a device below, and then say"
        yield "# commands = true"
    else:
        yield f"commands = {quoted(commanded(observed))}"
    if observed.groups and not grouped(observed):
        yield "# It subscribes to commands for groups; they are judged with two devices that have a writable property"
        yield "# and two of its values in common."
        yield "# groups = true"
    else:
        yield f"groups = {quoted(grouped(observed))}"
    note = "" if observed.states else "; a guess: no state was seen"
    yield f"property_topics = {quoted(observed.property_topics)}  # devices/{{id}}/state/{{property}}{note}"
    yield "# Does it read passwords from the folder of secrets, and verify the broker's certificate? Nobody can see."
    yield "# secrets = true"
    yield "# tls = true"


def _device(device: str, observed: Observed) -> Iterator[str]:
    state = observed.states.get(device)
    if state is None:
        yield f"# {device} published no state while it was watched, so nothing is known of its properties."
        yield from ("# [[devices]]", f"# id = {quoted(device)}", "# writable = { power = [true, false] }")
        return
    names = switches(observed, device) if observed.commands else []
    mark = "" if names else "# "
    if names and not observed.accepted.get(device):
        yield "# It answered no command, so these are guesses by type: true and false are no proof that it can be set."
    if not names:
        yield f"# Nothing that is true or false can be set in {device}, as far as was seen; where nothing can be set at"
        yield f"# all, it needs no entry. It showed {_shown(state)}."
    values = ", ".join(f"{key(name)} = [true, false]" for name in names)
    yield f"{mark}[[devices]]"
    yield f"{mark}id = {quoted(device)}"
    yield f"{mark}writable = {{ {values or 'power = [true, false]'} }}"
    yield from _suggestions(device, state, names, observed)
    wrong = ", ".join(f'{key(name)} = ["on"]' for name in names) or 'power = ["on"]'
    yield "# Values that it must refuse:"
    yield f"# rejects = {{ {wrong} }}"


def _suggestions(device: str, state: Mapping[str, Any], names: list[str], observed: Observed) -> Iterator[str]:
    """Yield what might be added to `writable`: numbers and texts that took the value that they had, or may."""
    accepted, refused = observed.accepted.get(device, []), observed.refused.get(device, [])
    for name, value in state.items():
        if name in names or name in refused or isinstance(value, bool) or not isinstance(value, int | float | str):
            continue
        how = "takes its present value" if name in accepted else "may be one that can be set"
        yield f"# {key(name)} {how}: with another one that is allowed, add {key(name)} = [{quoted(value)}, …]"


def _shown(state: Mapping[str, Any]) -> str:
    return ", ".join(f"{key(name)} = {quoted(value)}" for name, value in list(state.items())[:6]) or "an empty state"


def _peripherals(found: Found, peripheral: str | None) -> Iterator[str]:
    if peripheral is not None:
        yield "[[peripherals]]  # started before the connector"
        yield f"command = {quoted(list(words_of(peripheral, '--peripheral')))}"
        yield 'ready = "tcp:{port}"'
    elif found.needs_a_device:
        yield f"# {found.instance} leaves a port to a simulated device, which has to be started before the connector."
        yield "# [[peripherals]]"
        yield '# command = ["python", "simulator.py", "--port", "{port}"]'
        yield '# ready = "tcp:{port}"'


def _stimuli(found: Found) -> Iterator[str]:
    device = found.devices[0]
    yield "# What the suite may do to the devices, where they are simulated; without these the clauses on failing, slow"
    yield "# and recovering devices and on events do not apply."
    yield "# [stimuli]"
    yield f'# device_fails = ["python", "simulator.py", "fail", {quoted(device)}]'
    yield f'# device_recovers = ["python", "simulator.py", "recover", {quoted(device)}]'
    yield f'# device_slow = ["python", "simulator.py", "slow", {quoted(device)}, "4"]'
    yield f'# event = ["python", "simulator.py", "press", {quoted(device)}]'


def _actions(found: Found) -> Iterator[str]:
    for tool in found.tools:
        yield f"# Inputs for the action script of the tool {tool}: without them it is not judged."
        yield f"# [actions.{key(tool)}]"
        yield '# good = [{ host = "127.0.0.1", port = "{port}" }]'
        yield '# bad = [{ port = "x" }]'
        yield '# unreachable = [{ host = "127.0.0.1", port = 1 }]'
