"""Whether a running connector is well: what meta/info tells a health check."""

from collections.abc import Iterable
from typing import Final

from iot2mqtt_sdk.runtime.device import LONGEST_BACKOFF, DeviceState
from iot2mqtt_sdk.runtime.engine import Engine
from iot2mqtt_sdk.runtime.figures import Figures

LATE: Final = 10.0
"""Seconds by which something that is due may be late."""
SILENT: Final = 30.0
"""Seconds beyond the longest pause between two polls after which polling counts as stuck."""
FAILING: Final = 0.9
"""Part of the last polls that may fail: one device that is switched off must not restart the connector."""
ENOUGH: Final = 10
"""Polls from which on their failures say something."""


def faults(
    figures: Figures, engine: Engine, *, now: float, interval: float | None, devices: Iterable[DeviceState]
) -> list[str]:
    """Return what is wrong with a connector, a sentence each; nothing where it is well.

    Args:
        figures: What it has counted.
        engine: Its lanes and timers.
        now: Monotonic seconds.
        interval: Seconds between two polls of a device; None where nothing is polled.
        devices: Its devices.
    """
    found = []
    late = engine.overdue()
    if late > LATE:
        found.append(f"the timers are {late:.0f} s late")
    silence = _silence(figures, now)
    if interval is not None and any(device.enabled for device in devices):
        longest = interval * LONGEST_BACKOFF * 1.1 + SILENT
        if silence > longest:
            found.append(f"no poll of any device has ended for {silence:.0f} s")
    rate, count = figures.error_rate()
    if count >= ENOUGH and rate > FAILING:
        found.append(f"{rate:.0%} of the last {count} polls failed")
    return found


def _silence(figures: Figures, now: float) -> float:
    """Return the seconds since the last poll, without the time for which the broker was away."""
    moments = [moment for moment in (figures.last, figures.online_since) if moment is not None]
    return now - max(moments, default=now)
