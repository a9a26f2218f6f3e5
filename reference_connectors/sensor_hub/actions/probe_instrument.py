"""Is there an instrument at this serial port, and what is attached to it? Asked by the setup flow."""

import sys
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from iot2mqtt_sdk.actions import ActionError, action

sys.path.insert(0, str(Path(__file__).parents[1]))

from instrument import Instrument, InstrumentError


@action
def probe_instrument(
    serial_port: Annotated[str, Field(min_length=1)],
    baudrate: Annotated[int, Field(ge=50, le=4_000_000)] = 9600,
    timeout: Annotated[float, Field(gt=0, le=20)] = 2.0,
) -> dict[str, Any]:
    """Return the instrument's sensors, each with its address and type."""
    try:
        sensors = Instrument(port=serial_port, baudrate=baudrate, timeout=timeout).sensors()
    except InstrumentError as error:
        if error.code == "READ_ERROR":
            raise ActionError("not_an_instrument", f"{serial_port}: {error}") from error
        message = f"no instrument answers at {serial_port} ({error}); is it plugged in, and the port right?"
        raise ActionError("unreachable", message, retriable=True) from error
    return {"sensors": [{"address": name, "type": kind} for name, kind in sensors.items()]}
