"""The conforming connector's transcript, which many tests judge and edit."""

import pytest

from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.transcript import Transcript
from tests.conformance.recorded import conforming, recording


@pytest.fixture(scope="session")
def declaration() -> Declaration:
    """What is declared of it."""
    return conforming()


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Transcript:
    """One play of all scenarios."""
    return recording(tmp_path_factory)
