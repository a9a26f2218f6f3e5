"""The simulated devices beside a launch, and the ports that placeholders of the declaration stand for."""

from collections.abc import Mapping
from typing import Any, Self

from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.launch import PeripheralProcess, connector_environment, wholly
from iot2mqtt_conformance.ports import free_port

READY_WITHIN = 10.0
"""Seconds that a simulated device may take to be ready."""


class Peripherals:
    """Starts the declared simulated devices, each on a port of its own; an async context manager.

    Args:
        declaration: The connector under judgement.
        run: The launch that they belong to.
        seconds: The deadline of each.
        broker: The port of the launch's broker, for those that stand for an application behind it.

    Attributes:
        places: Ports by placeholder, without the braces.
    """

    def __init__(self, declaration: Declaration, run: str, *, seconds: float, broker: int | None = None) -> None:
        self._declaration = declaration
        self._run = run
        self._seconds = seconds
        self._started: list[PeripheralProcess] = []
        wanted = declaration.peripherals or declaration.stimuli or declaration.actions
        self.places: dict[str, int] = {"port": free_port()} if wanted else {}
        if broker is not None:
            self.places["broker.port"] = broker

    async def __aenter__(self) -> Self:
        """Start them all.

        Raises:
            LaunchError: One of them cannot be started or was not ready in time.
        """
        try:
            for number, peripheral in enumerate(self._declaration.peripherals):
                await self._start(peripheral.name, peripheral.command, peripheral.ready, first=number == 0)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop them, the last one first."""
        await wholly(self._stop())

    async def _stop(self) -> None:
        while self._started:
            await self._started.pop().stop()

    async def _start(self, name: str, command: tuple[str, ...], ready: str, *, first: bool) -> None:
        port = self.places["port"] if first else free_port()
        self.places[f"{name}.port"] = port
        own = {**self.places, "port": port}
        process = PeripheralProcess(
            [filled(part, own) for part in command],
            cwd=self._declaration.workdir,
            env=connector_environment({}),
            label=f"{self._run}:{name}",
            ready=filled(ready, own),
        )
        self._started.append(process)
        await process.start(self._seconds)


def filled(text: str, places: Mapping[str, int]) -> str:
    """Return a text with its placeholders replaced by ports."""
    for name, port in places.items():
        text = text.replace("{" + name + "}", str(port))
    return text


def placed(value: Any, places: Mapping[str, int]) -> Any:
    """Fill placeholders of a JSON value; a string that is nothing but one becomes the number."""
    if isinstance(value, dict):
        return {key: placed(item, places) for key, item in value.items()}
    if isinstance(value, list):
        return [placed(item, places) for item in value]
    if not isinstance(value, str):
        return value
    if value.startswith("{") and value[1:-1] in places:
        return places[value[1:-1]]
    return filled(value, places)
