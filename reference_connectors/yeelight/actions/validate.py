"""Does a bulb answer at this address, and what can it do? Asked by the setup flow for each bulb."""

from typing import Annotated, Any

from bulb import Address, Bulb, BulbError, UnreachableError
from pydantic import Field

from iot2mqtt_sdk.actions import ActionError, action


@action
async def validate(
    host: Annotated[str, Field(min_length=1)],
    port: Annotated[int, Field(ge=1, le=65535)] = 55443,
    seconds: Annotated[float, Field(gt=0, le=20)] = 3.0,
) -> dict[str, Any]:
    """Return what the bulb has: its properties by name."""

    async def locate() -> Address:
        return host, port

    bulb = Bulb(locate, timeout=seconds)
    try:
        state = await bulb.read()
    except UnreachableError as error:
        raise ActionError("unreachable", str(error), retriable=True) from error
    except BulbError as error:
        raise ActionError("not_a_bulb", f"what answers at {host}:{port} is no bulb that works: {error}") from error
    finally:
        await bulb.close()
    return {"host": host, "port": port, "state": state, "properties": sorted(state)}
