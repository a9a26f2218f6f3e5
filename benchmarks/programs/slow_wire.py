"""A plugin of pytest that keeps every packet between a connector and its broker for a quarter of a second each way."""

from typing import Any

from iot2mqtt_conformance import rig
from iot2mqtt_conformance.proxy import Proxy

EACH_WAY = 0.25


class SlowProxy(Proxy):
    """A proxy on whose far side the network is slow."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.delay(0.0)

    def delay(self, seconds: float) -> None:
        """Add to what a scenario asks for."""
        super().delay(seconds + EACH_WAY)


if vars(rig).get("Proxy") is not Proxy:
    raise ImportError("the suite's rig takes its proxy from elsewhere: put the slow one there")
rig.Proxy = SlowProxy  # type: ignore[attr-defined]
