"""Responses find those who wait for them."""

import threading
from typing import Any

from tests.waiting import DEADLINE

from iot2mqtt_sdk.clock import Clock
from iot2mqtt_sdk.runtime.groups import GroupAnswer
from iot2mqtt_sdk.runtime.replies import KEPT, Replies


class Hours(Clock):
    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def test_a_response_that_comes_before_it_is_asked_for_is_kept() -> None:
    replies = Replies(Clock())
    replies.expect("a")
    replies.take({"cmd_id": "a", "n": 1})
    replies.take({"cmd_id": "a", "n": 2})
    assert replies.wait("a", 0) == {"cmd_id": "a", "n": 1}


def test_a_response_wakes_who_waits() -> None:
    replies = Replies(Clock())
    replies.expect("a")
    threading.Timer(0.01, replies.take, [{"cmd_id": "a"}]).start()
    assert replies.wait("a", DEADLINE) == {"cmd_id": "a"}


def test_nobody_waits_for_what_was_never_sent() -> None:
    replies = Replies(Clock())
    replies.take({"cmd_id": "a"})
    replies.take({"cmd_id": ["a"]})
    replies.take({})
    assert replies.wait("a", DEADLINE) is None


def test_responses_that_nobody_asks_for_fill_no_memory() -> None:
    clock = Hours()
    replies = Replies(clock)
    for number in range(1000):
        clock.seconds += 1
        replies.expect(str(number))
    assert len(replies._expected) <= KEPT + 2


def test_a_group_answers_once_all_are_known() -> None:
    answers: list[Any] = []
    group = GroupAnswer(["a", "b"], answers.append)
    group.take("a", {"status": "success"})
    assert answers == []
    group.take("b", {"status": "error"})
    assert answers == [{"status": "partial", "results": {"a": {"status": "success"}, "b": {"status": "error"}}}]


def test_a_group_without_members_answers_at_once() -> None:
    answers: list[Any] = []
    GroupAnswer([], answers.append)
    assert answers == [{"status": "success", "results": {}}]
