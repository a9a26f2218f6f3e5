"""Scenarios do things to a connector and write down what happens; they never judge.

They wait for what they need, never for time to pass. Each brings a rig of its own, so that they run side by side.
"""

from collections.abc import Awaitable, Callable

from iot2mqtt_conformance.rig import Stage
from iot2mqtt_conformance.scenarios import (
    boot,
    commands,
    config_faults,
    fuzz,
    get,
    kill,
    reconnect,
    restart,
    shutdown,
    staleness,
    variants,
)

SCENARIOS: dict[str, Callable[[Stage], Awaitable[None]]] = {
    "boot": boot.play,
    "commands": commands.play,
    "config_faults": config_faults.play,
    "fuzz": fuzz.play,
    "get": get.play,
    "kill": kill.play,
    "reconnect": reconnect.play,
    "restart": restart.play,
    "shutdown": shutdown.play,
    "staleness": staleness.play,
    "variants": variants.play,
}
