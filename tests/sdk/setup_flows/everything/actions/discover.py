"""Finds as many devices as it is asked for."""

from iot2mqtt_sdk.actions import ActionError, action


@action
def discover(prefix: str, count: float) -> dict[str, list[dict[str, object]]]:
    """Return devices with names that begin with a prefix."""
    if prefix == "nobody":
        raise ActionError("nothing_found", "nobody is there; switch something on", retriable=True)
    return {"devices": [{"name": f"{prefix} {number}", "port": 7000 + number} for number in range(int(count))]}
