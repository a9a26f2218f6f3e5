"""Is there a pump house at this address? Asked by the setup flow before it writes an instance."""

import json
import socket
from typing import Annotated, Any

from pydantic import Field

from iot2mqtt_sdk.actions import ActionError, action

LONGEST_ANSWER = 65536


@action
def validate(
    host: Annotated[str, Field(min_length=1)],
    port: Annotated[int, Field(ge=1, le=65535)] = 7171,
    timeout: Annotated[float, Field(gt=0, le=20)] = 3.0,
) -> dict[str, Any]:
    """Return the devices of the controller, each with its address and type."""
    try:
        with socket.create_connection((host, port), timeout) as connection, connection.makefile("rb") as answers:
            connection.sendall(b"list\n")
            word, _, text = answers.readline(LONGEST_ANSWER).partition(b" ")
    except OSError as error:
        message = f"no pump house answers at {host}:{port} ({error}); is it switched on, and the address right?"
        raise ActionError("unreachable", message, retriable=True) from error
    try:
        kinds = json.loads(text)
    except ValueError:
        kinds = None
    if word != b"ok" or not isinstance(kinds, dict):
        raise ActionError("not_a_pump_house", f"what answers at {host}:{port} is no controller of a pump house")
    return {"devices": [{"address": name, "type": kind} for name, kind in kinds.items()]}
