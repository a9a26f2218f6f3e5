"""Is there a lamp hub at this address? Asked by the setup flow before it writes an instance."""

import socket
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from iot2mqtt_sdk.actions import ActionError, action

LONGEST_ANSWER = 65536


@action
def validate(
    host: Annotated[str, Field(min_length=1)],
    port: Annotated[int, Field(ge=1, le=65535)] = 7070,
    timeout: Annotated[float, Field(gt=0, le=20)] = 3.0,
) -> dict[str, Any]:
    """Return the hub's devices, each with its address and type."""
    try:
        with socket.create_connection((host, port), timeout) as connection, connection.makefile("rb") as answers:
            connection.sendall(b"list\n")
            answer = answers.readline(LONGEST_ANSWER)
    except OSError as error:
        message = f"no lamp hub answers at {host}:{port} ({error}); is it switched on, and the address right?"
        raise ActionError("unreachable", message, retriable=True) from error
    try:
        devices = TypeAdapter(dict[str, str]).validate_json(answer.removeprefix(b"ok "))
    except ValueError as error:
        raise ActionError("not_a_hub", f"what answers at {host}:{port} is no lamp hub") from error
    return {"devices": [{"address": name, "type": kind} for name, kind in devices.items()]}
