"""A state that the connector publishes by itself is newer than one that is being read at that moment."""

from collections.abc import Mapping
from typing import Any

from iot2mqtt_sdk import BaseConnector
from iot2mqtt_sdk.testing import Harness


class Pushing(BaseConnector):
    """A device that tells of a change after it has been asked, and before its answer is published."""

    pushes = True

    def get_device_state(self, device_id: str, device_config: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        if self.pushes:
            self.publish_state(device_id, {"level": 2})
        return {"level": 1}


def test_a_reading_does_not_undo_what_was_pushed_meanwhile() -> None:
    with Harness(Pushing, devices=[{"device_id": "lamp"}]) as lamp:
        assert lamp.state("lamp") == {"level": 2}
        assert len(lamp.states("lamp")) == 1
        assert lamp.availability("lamp") == "online"


def test_the_next_reading_counts_again() -> None:
    with Harness(Pushing, devices=[{"device_id": "lamp"}]) as lamp:
        lamp.connector.pushes = False
        lamp.poll()
        assert lamp.state("lamp") == {"level": 1}
