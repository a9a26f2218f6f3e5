"""The delay between attempts to connect."""

import pytest

from iot2mqtt_sdk.runtime.link import LONGEST_DELAY, delay_after


@pytest.mark.parametrize("attempt", [*range(8), 1511, 10**9])
@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_the_delay_stays_in_its_bounds_however_long_the_broker_is_away(attempt: int, jitter: float) -> None:
    assert 1.0 <= delay_after(attempt, quick=False, jitter=jitter) <= LONGEST_DELAY


def test_a_good_connection_is_followed_by_a_quick_attempt() -> None:
    assert delay_after(0, quick=True, jitter=1.0) < 0.5
