"""Plays the scenarios that the chosen clauses need, and asks their judges."""

import asyncio
import secrets
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import aiomqtt

from iot2mqtt_conformance.adoption.attach import NOTICED, Attached, restore, why_not
from iot2mqtt_conformance.clauses import JUDGES
from iot2mqtt_conformance.contract import Clause, clauses
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.fault import CutShortError, SuiteError, first, own_fault
from iot2mqtt_conformance.launch import LaunchError
from iot2mqtt_conformance.payloads import payloads
from iot2mqtt_conformance.scenarios import SCENARIOS
from iot2mqtt_conformance.services.base import Broker, ServiceError
from iot2mqtt_conformance.services.choose import choose_warehouse
from iot2mqtt_conformance.services.warehouse import Warehouse
from iot2mqtt_conformance.smoke import diagnose
from iot2mqtt_conformance.stage import Stage
from iot2mqtt_conformance.transcript import Recorder, Transcript
from iot2mqtt_conformance.verdict import Outcome, Verdict
from iot2mqtt_conformance.view import View

AT_ONCE = 8
"""Scenarios played at the same time: two cores, and most of a scenario is waiting."""

LONGEST = ("pipeline", "actions", "memory", "polling", "restart", "trouble", "outage", "slow")
"""What takes longest, most of it waiting, begins first: at the end of a run both cores would be idle beside it."""

PULSE = 0.1
"""Seconds after which it is looked whether the suite itself can still work."""
LATE = 0.2
"""Seconds that such a look comes late where nothing is wrong."""
AFTERTHOUGHT = 1.0
"""Seconds after a failure in which a broker may turn out to have died."""


@dataclass
class Played:
    """What playing the scenarios brought.

    Attributes:
        transcript: What happened.
        smoke: Why the connector could not be judged at all, or None where it came online.
        durations: Seconds a scenario took, by name.
        round_trip: Seconds of one question and answer.
    """

    transcript: Transcript
    smoke: str | None
    durations: dict[str, float] = field(default_factory=dict)
    round_trip: float = 0.0

    @cached_property
    def view(self) -> View:
        """How judges look at the transcript, once nothing is added to it any more."""
        return View(self.transcript)


def judged() -> list[Clause]:
    """Return the clauses that have a judge, in the contract's order."""
    return [clause for clause in clauses().values() if clause.id in JUDGES]


def not_applicable(clause: Clause, declaration: Declaration) -> str | None:
    """Return why a clause does not apply to a connector, or None where it does."""
    if clause.id in declaration.excluded:
        return f"excluded by the declaration: {declaration.excluded[clause.id]}"
    return declaration.missing_need(clause.needs)


def judge(clause: Clause, declaration: Declaration, played: Played) -> Verdict:
    """Return the verdict on one clause."""
    reason = not_applicable(clause, declaration)
    if reason is not None:
        return Verdict(Outcome.NOT_APPLICABLE, seen=reason)
    if played.smoke is not None:
        return Verdict(Outcome.NOT_RUN, seen="the connector did not come online, see the smoke item")
    if attached(played.view):
        reason = why_not(clause.id, set(JUDGES[clause.id].scenarios) - played.durations.keys())
        if reason is not None:
            return Verdict(Outcome.NOT_JUDGED, seen=reason)
    return JUDGES[clause.id].function(played.view, declaration)


def attached(view: View) -> bool:
    """Whether a transcript is of a connector that was running already."""
    return any(run.facts.get("attached") for run in view.runs())


def needed(declaration: Declaration, chosen: Iterable[str], possible: Collection[str] = SCENARIOS) -> list[str]:
    """Return the scenarios that the chosen clauses need and that are possible, the first launch always among them."""
    asked = {"boot"}
    for clause_id in chosen:
        if not_applicable(clauses()[clause_id], declaration) is None:
            asked |= set(JUDGES[clause_id].scenarios)
    return [name for name in SCENARIOS if name in asked and name in possible]


def play(
    declaration: Declaration,
    chosen: Iterable[str],
    *,
    new_broker: Callable[[], Broker],
    seed: int,
    progress: Callable[[str], None],
    running: Attached | None = None,
    services: str = "auto",
) -> Played:
    """Play the scenarios and return what happened; of a connector that runs already, those that are possible.

    Args:
        declaration: The connector.
        chosen: Ids of the clauses that are to be judged.
        new_broker: Makes a broker.
        seed: Of generated payloads.
        progress: Told of each scenario that was played.
        running: The connector that runs already, where none is launched.
        services: From where the pipeline gets Kafka and PostgreSQL, where it is judged; as for `choose`.

    Raises:
        ServiceError: The broker could not be started.
        CutShortError: The broker died while scenarios were running.
        SuiteError: A scenario has an error of its own.
    """
    names = needed(declaration, chosen, running.scenarios if running else SCENARIOS)
    # Generating takes a while, during which no connector may be waiting for an answer.
    generated = payloads(seed) if "fuzz" in names else []
    new_warehouse = choose_warehouse(services) if "pipeline" in names else None
    return asyncio.run(_play(declaration, names, new_broker, (seed, generated, running, new_warehouse), progress))


async def _play(
    declaration: Declaration,
    names: list[str],
    new_broker: Callable[[], Broker],
    given: tuple[int, list[bytes], Attached | None, Callable[[], Warehouse] | None],
    progress: Callable[[str], None],
) -> Played:
    fallen: asyncio.Future[Broker] = asyncio.get_running_loop().create_future()
    tasks: list[asyncio.Task[None]] = []

    def watched() -> Broker:
        """Every broker is watched, those of single scenarios as well: none may make a connector look wrong."""
        made = new_broker()
        tasks.append(asyncio.create_task(_fall(made, fallen)))
        return made

    broker = watched()
    recorder = Recorder()
    tasks.append(asyncio.create_task(_pulse(recorder)))
    seed, generated, running, new_warehouse = given
    if running is not None:
        declaration = replace(declaration, start_deadline=NOTICED)
    stage = Stage(declaration, recorder, broker, watched, secrets.token_hex(3), seed, generated, attached=running)
    played = Played(recorder.transcript, None)
    if new_warehouse is not None:
        stage.warehouse = new_warehouse()
        stage.warehouse.begin()
    try:
        await broker.start()
        tasks.append(asyncio.create_task(_all(stage, names, played, progress)))
        await _finish(tasks[-1], fallen)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await broker.stop()
        if stage.warehouse is not None:
            await stage.warehouse.stop()
    played.smoke = diagnose(played.view, declaration)
    played.round_trip = stage.round_trip
    return played


async def _pulse(recorder: Recorder) -> None:
    """Write down when the machine gave the suite no processor: in such times nothing that is late proves anything."""
    never = asyncio.Event()
    while True:
        due = recorder.now() + PULSE
        with suppress(TimeoutError):
            await asyncio.wait_for(never.wait(), PULSE)
        late = recorder.now() - due
        if late > LATE:
            recorder.add("", "stalled", seconds=round(late, 3))


async def _fall(broker: Broker, fallen: asyncio.Future[Broker]) -> None:
    await broker.died.wait()
    if not fallen.done():
        fallen.set_result(broker)


async def _finish(work: asyncio.Task[None], fallen: asyncio.Future[Broker]) -> None:
    """Wait until all is played, or cannot be.

    Raises:
        CutShortError: A broker died, or the services failed in another way.
        SuiteError: A scenario has an error of its own.
    """
    both: set[asyncio.Future[Any]] = {fallen, work}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if not fallen.done() and work.exception() is not None:
        # The end of a broker's connections may be seen before its own.
        await asyncio.wait({fallen}, timeout=AFTERTHOUGHT)
    if fallen.done():
        broker = fallen.result()
        raise CutShortError(
            f"the broker {broker.name} died while scenarios were running, so nothing is judged; its last lines: "
            + broker.said()
        )
    try:
        await work
    except ExceptionGroup as group:
        services, ours = group.split((ServiceError, LaunchError, aiomqtt.MqttError))
        if services is None or ours is not None:
            raise SuiteError(own_fault(ours or group)) from None
        raise CutShortError(f"the scenarios could not be played, so nothing is judged: {first(services)}") from None


async def _all(stage: Stage, names: list[str], played: Played, progress: Callable[[str], None]) -> None:
    """Play the first launch; once it is known to work, the other scenarios beside it."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> None:
        async with limit:
            began = time.monotonic()
            try:
                await SCENARIOS[name](stage)
            except Exception as error:
                error.add_note(f"in the scenario {name}")
                raise
            played.durations[name] = round(time.monotonic() - began, 3)
            progress(f"{name} {played.durations[name]:.1f} s")

    async with asyncio.TaskGroup() as group:
        group.create_task(one("boot"))
        await stage.smoke_ended_or_passed()
        if stage.smoke_passed.is_set():
            # A connector that runs already has to bear one after the other, and may not survive strange payloads.
            order = [*LONGEST, *(name for name in names if name not in {*LONGEST, "fuzz"}), "fuzz"]
            for name in sorted(names, key=order.index):
                if name != "boot":
                    group.create_task(one(name))
    if stage.attached is not None and stage.smoke_passed.is_set():
        await restore(stage)


__all__ = [
    "CutShortError",
    "Played",
    "ServiceError",
    "SuiteError",
    "judge",
    "judged",
    "needed",
    "not_applicable",
    "play",
]
