"""Yeelight bulbs on the local network: polled, commanded, and heard when they are changed by somebody else."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Self

from bulb import Address, Bulb, UnreachableError, white_range
from discovery import Network, outlet, search
from pydantic import Field, model_validator

from iot2mqtt_sdk import BaseConnector, CommandError, DeviceConfig, InstanceConfig, Property

SHORTEST = 30
"""Milliseconds: the least duration that bulbs take."""


class BulbConfig(DeviceConfig):
    """One bulb of the instance file: known by its id, or at an address that does not change.

    Attributes:
        bulb_id: The id that it tells when it is searched for. Its address may change then.
        host: Its address, where it is not searched for.
        port: Its TCP port at that address.
        effect: How it changes at first: `smooth` or `sudden`.
        duration: Milliseconds that a smooth change takes at first.
    """

    bulb_id: str | None = None
    host: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] = 55443
    effect: Literal["smooth", "sudden"] = "smooth"
    duration: Annotated[int, Field(ge=SHORTEST)] = 300

    @model_validator(mode="after")
    def _can_be_found(self) -> Self:
        if not self.bulb_id and not self.host:
            raise ValueError(f"the bulb {self.device_id} needs a bulb_id or a host")
        return self


class Bulbs(InstanceConfig):
    """The instance file.

    Attributes:
        devices: The bulbs.
        discovery: Where those without a host are searched for.
        timeout: Seconds that a bulb's answer may take.
    """

    devices: Sequence[BulbConfig] = ()
    discovery: Network = Network()
    timeout: Annotated[float, Field(gt=0, le=60)] = 5.0


class Yeelight(BaseConnector):
    """Bulbs. What they are is described once, for the check of commands and for Home Assistant."""

    Config = Bulbs
    Device = BulbConfig
    properties: ClassVar[Mapping[str, Property]] = {
        "power": Property(bool, writable=True),
        "brightness": Property(int, writable=True, minimum=1, maximum=100, unit="%"),
        "color_temp": Property(int, writable=True, minimum=1700, maximum=6500, unit="K", name="Colour temperature"),
        "rgb": Property(str, writable=True, name="Colour"),
        "color_mode": Property(str, options=("rgb", "color_temp", "hsv"), name="Colour mode"),
        "effect": Property(str, writable=True, options=("smooth", "sudden")),
        "duration": Property(int, writable=True, minimum=SHORTEST, maximum=60_000, unit="ms"),
    }

    def initialize_connection(self) -> None:
        """Make sure that bulbs can be searched for; each is connected to when it is first read."""
        outlet(self.config.discovery).close()
        self.bulbs = {
            device.device_id: Bulb(
                partial(self.locate, device),
                timeout=self.config.timeout,
                on_change=partial(self.on_change, device.device_id),
            )
            for device in self.config.devices
        }
        self.manners = {
            device.device_id: {"effect": device.effect, "duration": device.duration} for device in self.config.devices
        }

    async def cleanup_connection(self) -> None:
        """Hang up."""
        for bulb in self.bulbs.values():
            await bulb.close()

    async def get_device_state(self, device_id: str, device_config: BulbConfig) -> dict[str, Any]:  # noqa: ARG002
        """Ask a bulb; whatever is raised here is told on its error topic."""
        return {**await self.bulbs[device_id].read(), **self.manners[device_id]}

    async def set_device_state(
        self, device_id: str, device_config: BulbConfig, state: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Command a bulb: effect and duration hold from this command on."""
        bulb = self.bulbs[device_id]
        known = bulb.state or await bulb.read()
        check(state, known, device_config.model)
        wanted = {name: value.lower() if name == "rgb" else value for name, value in state.items()}
        manners = {name: wanted.get(name, usual) for name, usual in self.manners[device_id].items()}
        await bulb.write({name: value for name, value in wanted.items() if name not in manners}, **manners)
        self.manners[device_id] = manners
        return wanted

    async def locate(self, device: BulbConfig) -> Address:
        """Return where a bulb is now."""
        if device.host:
            return device.host, device.port
        network = self.config.discovery
        found = await search(network, only=device.bulb_id)
        if not found:
            raise UnreachableError(
                f"no bulb with the id {device.bulb_id} answers the search at {network.address}:{network.port}"
            )
        return found[0].host, found[0].port

    def on_change(self, device_id: str, changed: Mapping[str, Any]) -> None:
        """Publish at once what somebody else has done to a bulb."""
        self.publish_state(device_id, {**self.bulbs[device_id].state, **self.manners[device_id]})
        self.publish_event(device_id, "changed", changed)


def check(wanted: Mapping[str, Any], known: Mapping[str, Any], model: str | None) -> None:
    """Refuse what this bulb cannot take, before any of it is done.

    Args:
        wanted: New values, of the right types.
        known: The bulb's state, which holds what it has.
        model: Its model.

    Raises:
        CommandError: The sender is told its code and message.
    """
    for name in ("color_temp", "rgb"):
        if name in wanted and name not in known:
            raise CommandError("unsupported_property", f"this bulb has no {name}")
    if "rgb" in wanted and not re.fullmatch("#[0-9a-fA-F]{6}", wanted["rgb"]):
        raise CommandError("invalid_value", f"rgb must be a text such as #ff8000, not {wanted['rgb']!r}")
    if "rgb" in wanted and "color_temp" in wanted:
        raise CommandError("invalid_value", "a bulb shows either rgb or color_temp: send one of them")
    least, most = white_range(model)
    if not least <= wanted.get("color_temp", least) <= most:
        raise CommandError("invalid_value", f"color_temp of the model {model} must be from {least} to {most} K")


Yeelight.main()
