"""Answers for a heater that is always there, unless its address ends in .99."""

from iot2mqtt_sdk.actions import ActionError, action


@action(secrets=("pin",))
def probe(ip: str, pin: str) -> dict[str, str]:
    """Return the heater's model."""
    if ip.endswith(".99"):
        raise ActionError("unreachable", f"no heater answers at {ip} to {pin}", retriable=True)
    return {"model": "H-200 with lock" if pin else "H-200"}
