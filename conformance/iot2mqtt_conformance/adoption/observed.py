"""What a first short run of a connector tells: its properties, which of them can be set, and how it works."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.launch import LaunchError
from iot2mqtt_conformance.noticing import publishing
from iot2mqtt_conformance.rig import Rig
from iot2mqtt_conformance.services.base import Broker
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.smoke import diagnose
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.transcript import Recorder
from iot2mqtt_conformance.view import Run, View, matches, strict_json

RUN = "boot"
"""The run's name: a diagnosis looks at the first launch."""
INTERVAL = 1.0
"""update_interval in seconds."""
POLLED_WITHIN = 3.0
"""Seconds in which a connector that polls has published again, unasked."""
MOST_TRIED = 12
"""Properties of a device that are tried."""


class UnobservedError(Exception):
    """The connector did not come online; the message says why, with its last lines."""


@dataclass(slots=True)
class Observed:
    """What was seen of a connector.

    Attributes:
        start: Seconds from its start to `online`.
        polling: Whether states came again unasked.
        commands: Whether it subscribes to commands for devices.
        groups: Whether it subscribes to commands for groups.
        property_topics: Whether single properties have topics of their own.
        states: The first state of each device that had one, by device.
        accepted: Properties that took the value that they had, by device.
        refused: Properties that did not, by device.
    """

    start: float = 0.0
    polling: bool = False
    commands: bool = False
    groups: bool = False
    property_topics: bool = False
    states: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    accepted: dict[str, list[str]] = field(default_factory=dict)
    refused: dict[str, list[str]] = field(default_factory=dict)


def observe(declaration: Declaration, new_broker: Callable[[], Broker]) -> Observed:
    """Start the connector once, look, and stop it.

    Raises:
        UnobservedError: It did not come online.
        ServiceError: The broker could not be started.
    """
    return asyncio.run(_observe(declaration, new_broker))


async def _observe(declaration: Declaration, new_broker: Callable[[], Broker]) -> Observed:
    broker = new_broker()
    recorder = Recorder()
    stage = Stage(declaration, recorder, broker, new_broker, secrets.token_hex(3), 0, [])
    found = Observed()
    await broker.start()
    try:
        async with Rig(stage, RUN, setting=Setting(interval=INTERVAL)) as rig:
            online = await rig.online()
            rig.note("smoke", online=online is not None)
            if online is not None:
                await _look(rig, found)
    except LaunchError as error:
        raise UnobservedError(str(error)) from None
    finally:
        await broker.stop()
    fault = diagnose(View(recorder.transcript), declaration)
    if fault is not None:
        raise UnobservedError(fault)
    return found


async def _look(rig: Rig, found: Observed) -> None:
    recorder = rig.stage.recorder
    began, online = (recorder.transcript.of(RUN)[0].t, recorder.now())
    found.start = online - began
    if await rig.meta("info", probe="init", seconds=rig.stage.declaration.start_deadline) is None:
        return
    await rig.states()
    since = rig.mark
    polled = publishing_any(rig)
    found.polling = await recorder.wait(RUN, polled, since=since, seconds=POLLED_WITHIN * INTERVAL) is not None
    _read(Run(RUN, recorder.transcript.of(RUN), recorder.transcript.wall), rig, found)
    if found.commands:
        for device, state in found.states.items():
            await _try(rig, device, state, found)


def publishing_any(rig: Rig) -> Callable[[Any], bool]:
    """Return a predicate: the state of any enabled device."""
    each = [publishing(rig.topic(f"devices/{device}/state")) for device in rig.stage.declaration.enabled]
    return lambda record: any(is_state(record) for is_state in each)


def _read(run: Run, rig: Rig, found: Observed) -> None:
    """Take what the wire shows: subscriptions, states, topics of properties."""
    filters = [entry["filter"] for packet in run.packets("SUBSCRIBE") for entry in packet.data["filters"]]
    for device in rig.stage.declaration.enabled:
        found.commands |= any(matches(each, rig.topic(f"devices/{device}/cmd")) for each in filters)
        found.property_topics |= any(
            p.levels[:3] == ["devices", device, "state"] and len(p.levels) > 3 and not p.clears  # noqa: PLR2004
            for p in run.publications
        )
        for publication in run.states(device):
            state = publication.value.get("state") if isinstance(publication.value, dict) else None
            if isinstance(state, dict):
                found.states.setdefault(device, state)
    groups = rig.stage.declaration.groups or ["anygroup"]
    found.groups = any(matches(each, rig.topic(f"groups/{group}/cmd")) for each in filters for group in groups)


async def _try(rig: Rig, device: str, state: Mapping[str, Any], found: Observed) -> None:
    """Command the value that each property has already: whoever accepts that lets it be set."""
    plain = [name for name, value in state.items() if isinstance(value, bool | int | float | str)]
    for name in plain[:MOST_TRIED]:
        answer = await rig.command(device, {name: state[name]}, probe="init")
        if answer is None:
            return
        response = strict_json(answer.data.get("payload", ""))
        took = isinstance(response, dict) and response.get("status") == "success"
        (found.accepted if took else found.refused).setdefault(device, []).append(name)
