"""A state that the connector publishes by itself is newer than one that is being read at that moment."""

from collections.abc import Mapping
from typing import Any

import pytest

from iot2mqtt_sdk import BaseConnector, MQTTClient
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


class Read(BaseConnector):
    """Its device is only read, and may answer nonsense."""

    answer: Any = 1

    def get_device_state(self, device_id: str, device_config: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        return {"level": self.answer}


def test_a_device_is_online_for_whoever_sees_its_state(monkeypatch: pytest.MonkeyPatch) -> None:
    published, online = MQTTClient.publish_state, []

    def seen(client: MQTTClient, device_id: str, state: Mapping[str, Any]) -> None:
        published(client, device_id, state)
        online.append(connector.devices[device_id]["online"])

    with Harness(Read, devices=[{"device_id": "lamp"}]) as lamp:
        connector = lamp.connector
        monkeypatch.setattr(MQTTClient, "publish_state", seen)
        connector.publish_failure("lamp", "the cable is cut")
        connector.publish_state("lamp", {"level": 3})
        connector.publish_failure("lamp", "the cable is cut")
        while len(online) < 2:
            lamp.poll()  # some are left out after a failure
    assert online == [True, True]


def test_a_state_that_cannot_be_published_makes_no_device_online() -> None:
    with Harness(Read, devices=[{"device_id": "lamp"}]) as lamp:
        lamp.connector.publish_failure("lamp", "the cable is cut")
        lamp.connector.answer = object()
        lamp.poll()
        assert not lamp.connector.devices["lamp"]["online"]
