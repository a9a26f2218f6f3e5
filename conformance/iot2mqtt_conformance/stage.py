"""What all launches of one judgement share, and what stands in for them where the connector runs already."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.launch_image import AT_ONCE
from iot2mqtt_conformance.observer import Observer
from iot2mqtt_conformance.services.base import Broker
from iot2mqtt_conformance.services.warehouse import Warehouse
from iot2mqtt_conformance.setting import Setting
from iot2mqtt_conformance.transcript import Recorder

if TYPE_CHECKING:
    from iot2mqtt_conformance.rig import Rig

ROUND_TRIPS = 10
"""How many measured round trips every deadline grows by."""


class Attachment(Protocol):
    """A connector that runs already, elsewhere."""

    instance: str
    base: str

    def setting(self, asked: "Setting") -> "Setting":
        """Return what of a scenario's setting is so anyway."""

    async def enter(self, rig: "Rig", stack: AsyncExitStack) -> Observer:
        """Listen to it from now on, and return what speaks to it."""

    async def kept(self, topic: str) -> str | None:
        """Return what its broker keeps for a topic."""


@dataclass(slots=True)
class Stage:
    """What all rigs of one judgement share.

    Attributes:
        declaration: The connector under judgement.
        recorder: Where everything is written down.
        broker: The broker of all rigs that do not bring their own.
        new_broker: Starts a further one.
        salt: A random word in every name.
        seed: The seed of generated payloads.
        payloads: Those payloads, made before anything is timed.
        round_trip: Seconds that a question took in the smoke phase.
        image: The image of a connector that is started as one, once it is there.
        turn: Held by a container that starts.
        attached: The connector that runs already, where none is launched.
        warehouse: Kafka and the database, where the pipeline is judged.
    """

    declaration: Declaration
    recorder: Recorder
    broker: Broker
    new_broker: Callable[[], Broker]
    salt: str
    seed: int
    payloads: list[bytes]
    round_trip: float = 0.0
    image: str = ""
    turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    attached: Attachment | None = None
    warehouse: Warehouse | None = None
    smoke_passed: asyncio.Event = field(default_factory=asyncio.Event)
    smoke_ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def smoke_ended_or_passed(self) -> None:
        """Wait until the first launch has shown whether the connector works, whichever way."""
        waits = [asyncio.create_task(event.wait()) for event in (self.smoke_passed, self.smoke_ended)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()

    def deadline(self, seconds: float) -> float:
        """Return a deadline in seconds, widened by the round trip of this connector on this machine."""
        return seconds + ROUND_TRIPS * self.round_trip
