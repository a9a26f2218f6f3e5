"""All stages in one process: each on a thread, started again when it dies."""

import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from iot2mqtt_pipeline.adapters.parameters import LiveParameters
from iot2mqtt_pipeline.cli import _wiring
from iot2mqtt_pipeline.cli._running import Watch
from iot2mqtt_pipeline.patience import delay_after
from iot2mqtt_pipeline.settings import Settings
from iot2mqtt_pipeline.stage import Stopped
from iot2mqtt_sdk.errors import Iot2MqttError

_log = logging.getLogger("iot2mqtt.pipeline.up")

STAGES = ("bridge", "processor", "sink")


class Stage(Protocol):
    """What bridge, processor and sink have in common."""

    def run(self, stopped: Stopped) -> None:
        """Work until told to stop."""


@contextmanager
def crew(found: Settings, watch: Watch, *, expiry: int) -> Iterator[None]:
    """Run all stages until the end of the block, and then let each finish what it has at hand.

    Args:
        found: The settings.
        watch: Counts, and is told who is alive.
        expiry: Seconds for which the broker keeps the session of the bridge without it.
    """
    over = threading.Event()
    # Two at one Kafka must not take each other's place; what one that is gone had begun, Kafka gives up.
    name = f"up-{secrets.token_hex(4)}"
    with LiveParameters(parameters=found.postgres.connection()) as parameters:
        makers: Mapping[str, Callable[[], Stage]] = {
            "bridge": lambda: _wiring.bridge(found, watch.figures("bridge"), expiry=expiry),
            "processor": lambda: _wiring.processor(found, watch.figures("processor"), name=name, parameters=parameters),
            "sink": lambda: _wiring.sink(found, watch.figures("sink")),
        }
        threads = [
            threading.Thread(target=keep, args=(name, makers[name], watch, over), name=name, daemon=True)
            for name in STAGES
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()


def keep(name: str, make: Callable[[], Stage], watch: Watch, over: threading.Event) -> None:
    """Run a stage, with adapters of its own, and start it again when it dies."""
    stopped = watch.health.watched(name, over.is_set)
    deaths = 0
    while not over.is_set():
        try:
            make().run(stopped)
        except Iot2MqttError as error:
            deaths += 1
            delay = delay_after(deaths)
            _log.error("the %s has ended: %s; it starts again in %.1f s", name, error, delay)
            over.wait(delay)
        except Exception:  # noqa: BLE001 - a thread ends here as a process would: said whole, and started again
            deaths += 1
            delay = delay_after(deaths)
            _log.critical("the %s has ended by a defect; it starts again in %.1f s", name, delay, exc_info=True)
            over.wait(delay)
