"""When something happened."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iot2mqtt_pipeline.errors import PermanentError
from iot2mqtt_pipeline.times import event_time
from iot2mqtt_sdk.contract.time import parse_timestamp

ARRIVED = datetime(2023, 5, 26, 18, 35, tzinfo=UTC).timestamp()
MOMENT = datetime(2023, 5, 26, 18, 34, 4, 928_538, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("2023-05-26T18:34:04.928538", MOMENT),
        ("2023-05-26 18:34:04.928538", MOMENT),
        ("2023-05-26T18:34:04.928538Z", MOMENT),
        ("2023-05-26T20:34:04.928538+02:00", MOMENT),
        (1_685_126_044.928538, MOMENT),
        (1_685_126_044, 1_685_126_044.0),
        (1_685_126_044_928, 1_685_126_044.928),
        (1_685_126_044_928.0, 1_685_126_044.928),
        ("2001-01-01T00:00:00", 978_307_200.0),
        (ARRIVED + 86_400, ARRIVED + 86_400),
    ],
)
def test_the_time_is_what_the_device_tells(told: object, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    assert event_time({"timestamp": told}, ARRIVED) == seconds


def test_microseconds_survive() -> None:
    told = event_time({"timestamp": "2023-05-26T18:34:04.928538"}, ARRIVED)
    assert datetime.fromtimestamp(told, UTC).microsecond == 928_538


@pytest.mark.parametrize("payload", [{}, {"timestamp": None}, "on", True, None, [1], b"\xff", {"time": "never"}])
def test_without_a_time_of_the_device_it_is_the_arrival(payload: object) -> None:
    assert event_time(payload, ARRIVED) == ARRIVED


@pytest.mark.parametrize(
    "told",
    [
        "yesterday",
        "",
        "18:34:04",
        "2023-05-26",
        "2023-02-30T00:00:00",
        "2023-05-26T25:00:00",
        "1685126044",
        "x" * 10_000,
        True,
        [],
        {},
        0,
        -5,
        1e300,
        10**30,
        "1970-01-01T00:00:07",
        "2000-01-01T00:01:00",
        "2000-12-31T23:59:59.999",
        ARRIVED + 86_401,
        "2999-01-01T00:00:00",
    ],
)
def test_a_time_that_cannot_be_read_or_cannot_be_true_is_refused_and_never_becomes_now(told: object) -> None:
    with pytest.raises(PermanentError) as caught:
        event_time({"timestamp": told}, ARRIVED)
    assert caught.value.reason == "bad_time"
    assert len(str(caught.value)) < 300


@given(
    st.datetimes(datetime(2002, 1, 1), datetime(2029, 1, 1)).map(str)  # noqa: DTZ001
    | st.from_regex(r"20[012][0-9]-[0-9W]{2}-[0-9]{1,2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}[.,][0-9]{1,6}(Z|[+-][0-9]{2})?")
)
@example("2023-05-26T18:34:04.928+02")
@example("2023-05-26T18:34:04.92853Z")
@example("2023-W21-5T18:34:04.928538")
@example("2023-05-26T18:34:04.92853²")
@example("2023-05-26T18:34:04.92853٣")
@example("202٣-05-26T18:34:04.928538")
def test_texts_are_read_as_the_contract_reads_them(text: str) -> None:
    try:
        wanted = parse_timestamp(text).timestamp()
    except ValueError:
        with pytest.raises(PermanentError):
            event_time({"timestamp": text}, 2e9)
    else:
        assert event_time({"timestamp": text}, 2e9) == wanted
