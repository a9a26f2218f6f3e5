"""Which bulbs are there? Asked by the setup flow, so that somebody can choose among them."""

from ipaddress import IPv4Address
from typing import Annotated, Any

from discovery import ANY_INTERFACE, EVERYBODY, PORT, Network, search
from pydantic import Field

from iot2mqtt_sdk.actions import ActionError, action

ADVICE = "switch the bulbs on, and LAN control in the Yeelight app; in a container, use the network of the host"


@action
async def discover(
    address: IPv4Address = EVERYBODY,
    port: Annotated[int, Field(ge=1, le=65535)] = PORT,
    interface: IPv4Address = ANY_INTERFACE,
    seconds: Annotated[float, Field(gt=0, le=20)] = 2.0,
) -> dict[str, Any]:
    """Return the bulbs that answer, each with id, address and model."""
    try:
        found = await search(Network(address=address, port=port, interface=interface, timeout=seconds))
    except OSError as error:
        raise ActionError("cannot_search", str(error)) from error
    if not found:
        message = f"no bulb answers the search at {address}:{port}: {ADVICE}"
        raise ActionError("no_bulbs", message, retriable=True)
    return {
        "bulbs": [
            {
                "bulb_id": bulb.bulb_id,
                "host": bulb.host,
                "port": bulb.port,
                "model": bulb.model,
                "label": f"{bulb.name or bulb.model} at {bulb.host}:{bulb.port}",
            }
            for bulb in found
        ]
    }
