"""amqtt, a broker from pip alone."""

import sys
from importlib.metadata import PackageNotFoundError, version

from iot2mqtt_conformance.services.base import Broker


def find() -> str | None:
    """Return amqtt's version, or None where it is not installed."""
    try:
        return version("amqtt")
    except PackageNotFoundError:
        return None


def amqtt(its_version: str) -> Broker:
    """Return an amqtt broker that is not started yet."""
    program = "iot2mqtt_conformance.services.amqtt_program"
    return Broker(f"amqtt {its_version}", [sys.executable, "-W", "ignore", "-m", program, "{port}"])
