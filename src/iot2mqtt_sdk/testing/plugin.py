"""The pytest fixture; pytest loads this file in every run, so it imports nothing that takes time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from iot2mqtt_sdk.testing.harness import Harness


@pytest.fixture
def connector_harness() -> Iterator[Callable[..., Harness[Any]]]:
    """Make and start harnesses of connectors, `connector_harness(LampHub, devices=[…])`; the test's end stops them."""
    from contextlib import ExitStack

    from iot2mqtt_sdk.testing.harness import Harness

    with ExitStack() as stack:
        yield lambda *arguments, **document: stack.enter_context(Harness(*arguments, **document))
