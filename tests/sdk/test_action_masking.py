"""Masking, as answers and logs use it."""

import logging
from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from iot2mqtt_sdk.masking import Mask, MaskingFormatter, secret_values

TEXTS = st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=4)


def test_what_is_secret_by_its_key_is_found_at_any_depth() -> None:
    config = {
        "connection": {"host": "10.0.0.1", "password": "hunter2", "pin": 1},
        "devices": [{"api_key": "k-1"}, {"token": 4711}],
        "secrets": {"any": ["a", {"b": "c"}], "flag": True, "none": None, "empty": ""},
    }

    assert secret_values(config) == {"hunter2", "k-1", "4711", "a", "c"}


def test_short_secrets_do_not_garble_logs_unless_that_is_asked_for() -> None:
    assert Mask(["on", "hunter2"]).text("on with hunter2") == "on with ***"
    assert Mask(["on", "hunter2"], shortest=1).text("on with hunter2") == "*** with ***"


def test_a_mask_of_nothing_changes_nothing() -> None:
    nothing = Mask([None, "", True])

    assert not nothing
    assert nothing.text("abc") == "abc"
    assert list(nothing.pieces([b"a", b"bc"])) == [b"a", b"bc", b""]


def record(secret: str) -> logging.LogRecord:
    fault = (ValueError, ValueError(secret), None)
    return logging.LogRecord("iot2mqtt", logging.INFO, __file__, 1, "said %r", (secret,), fault)


def test_log_lines_and_their_tracebacks_hold_no_secret_in_any_spelling() -> None:
    formatter = MaskingFormatter("%(message)s")
    formatter.mask = Mask(["it's \\ sécret"])

    line = formatter.format(record("it's \\ sécret"))

    assert "said ***" in line.replace('"', "")
    assert "ValueError: ***" in line
    assert "cret" not in line


def cut(text: bytes, at: list[int]) -> Iterator[bytes]:
    places = [0, *sorted(min(place, len(text)) for place in at), len(text)]
    yield from (text[start:end] for start, end in pairwise(places))


@given(TEXTS, st.text("abcx", max_size=40), st.lists(st.integers(0, 40), max_size=8))
def test_a_stream_is_masked_the_same_wherever_it_was_cut(secrets: list[str], text: str, at: list[int]) -> None:
    mask = Mask(secrets, shortest=1)

    assert b"".join(mask.pieces(cut(text.encode(), at))) == mask.text(text).encode()


def test_what_cannot_be_part_of_a_secret_is_passed_on_at_once() -> None:
    pieces = Mask(["hunter2"]).pieces(iter([b"trying hun", b"ter2", b" now"]))

    assert [next(pieces), next(pieces), next(pieces)] == [b"trying ", b"***", b" now"]
