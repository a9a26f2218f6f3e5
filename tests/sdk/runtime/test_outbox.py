"""What waits, what is sent again, and what is dropped."""

import logging
import threading

import pytest

from iot2mqtt_sdk.runtime.outbox import TRIES, UNACKNOWLEDGED, WAITING, Outbox, Outgoing


class Wire:
    """Takes messages, and numbers them."""

    def __init__(self) -> None:
        self.there = True
        self.sent: list[str] = []
        self.outbox = Outbox(self.send)

    def send(self, message: Outgoing) -> int | None:
        if not self.there:
            return None
        self.sent.append(message.text.decode())
        return len(self.sent)

    def put(self, *texts: str, topic: str = "t", group: str | None = None) -> None:
        self.outbox.put([Outgoing(topic, text.encode(), 1, retain=False, group=group) for text in texts])

    def put_state(self, number: int, *properties: str) -> None:
        """Put a state and its properties, as `state1`, `power1` and so on."""
        self.put(f"state{number}", topic="state", group="state")
        for name in properties:
            self.put(f"{name}{number}", topic=f"state/{name}", group="state")

    def put_singly(self, count: int) -> None:
        for number in range(count):
            self.put(str(number))

    def reconnect(self) -> list[str]:
        """Lose the connection and get a new one; return what is sent on it."""
        self.outbox.close()
        already = len(self.sent)
        self.outbox.open()
        return self.sent[already:]


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_messages_wait_for_the_connection_and_keep_their_order(wire: Wire) -> None:
    wire.put("1", "2")
    wire.put("3")
    assert wire.sent == []
    wire.outbox.open()
    assert wire.sent == ["1", "2", "3"]


def test_what_was_not_acknowledged_is_sent_again_before_what_has_come_since(wire: Wire) -> None:
    wire.outbox.open()
    wire.put("1", "2", "3")
    wire.outbox.acknowledge(2)
    wire.outbox.close()
    wire.put("4")
    wire.outbox.open()
    assert wire.sent == ["1", "2", "3", "1", "3", "4"]


def test_only_the_latest_state_waits_and_it_goes_after_responses(wire: Wire) -> None:
    wire.put("old", "new", topic="state", group="state")
    wire.put("response")
    wire.outbox.open()
    assert wire.sent == ["response", "new"]


def test_an_unacknowledged_state_does_not_replace_a_newer_one(wire: Wire) -> None:
    wire.outbox.open()
    wire.put("old", topic="state", group="state")
    wire.outbox.close()
    wire.put("new", topic="state", group="state")
    wire.outbox.open()
    assert wire.sent == ["old", "new"]


def test_a_state_that_has_to_wait_is_sent_with_its_properties_or_not_at_all(wire: Wire) -> None:
    wire.outbox.open()
    wire.put_singly(UNACKNOWLEDGED - 2)
    for number in (1, 2, 3):
        wire.put_state(number, "power", "energy")
    wire.put("response")
    assert wire.sent[-2:] == ["state1", "power1"]
    for number in range(1, 10):
        wire.outbox.acknowledge(number)
    assert wire.sent[UNACKNOWLEDGED:] == ["energy1", "response", "state3", "power3", "energy3"]


def test_what_is_left_of_a_state_is_sent_on_the_next_connection_before_a_newer_one(wire: Wire) -> None:
    wire.outbox.open()
    wire.put_state(1, "power", "energy")
    assert wire.reconnect() == ["state1", "power1", "energy1"]
    wire.outbox.acknowledge(4)
    wire.outbox.close()
    wire.put_state(2, "power", "energy")
    assert wire.reconnect() == ["power1", "energy1", "state2", "power2", "energy2"]


def test_a_state_that_the_connection_does_not_take_stays_before_its_properties(wire: Wire) -> None:
    wire.put_state(1, "power")
    wire.there = False
    wire.outbox.open()
    wire.there = True
    assert wire.reconnect() == ["state1", "power1"]


def test_no_more_than_a_thousand_wait_and_the_loss_is_told(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    wire.put(*(str(number) for number in range(WAITING + 5)))
    with caplog.at_level(logging.WARNING):
        wire.outbox.open()
    assert wire.sent == [str(number) for number in range(5, WAITING + 5)]
    assert "5 messages were dropped" in caplog.text


def test_a_broker_that_acknowledges_nothing_is_not_flooded(wire: Wire) -> None:
    wire.outbox.open()
    wire.put(*(str(number) for number in range(UNACKNOWLEDGED + 10)))
    assert len(wire.sent) == UNACKNOWLEDGED
    for number in range(1, 6):
        wire.outbox.acknowledge(number)
    assert len(wire.sent) == UNACKNOWLEDGED + 5


def test_a_burst_waits_for_a_slow_broker_and_nothing_is_lost(wire: Wire) -> None:
    wire.outbox.open()
    count = 2 * (UNACKNOWLEDGED + WAITING)
    wire.put(*(str(number) for number in range(count)))
    for number in range(1, count + 1):
        wire.outbox.acknowledge(number)
    assert wire.sent == [str(number) for number in range(count)]


def test_a_connection_that_ends_while_sending_loses_nothing(wire: Wire) -> None:
    wire.outbox.open()
    wire.there = False
    wire.put("1", "2")
    wire.there = True
    assert wire.reconnect() == ["1", "2"]


def test_a_message_that_ends_every_connection_is_dropped_at_last(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    wire.outbox.open()
    wire.put("poison", topic="too/large")
    wire.put("good")
    sent = [wire.reconnect() for _ in range(TRIES)]
    assert sent == [["poison", "good"]] * (TRIES - 1) + [["good"]]
    assert "too/large" in caplog.text


def test_acknowledgements_on_another_thread_wait_for_nobody(wire: Wire) -> None:
    wire.outbox.open()
    threads = [threading.Thread(target=wire.put_singly, args=(500,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    done = 0
    while any(thread.is_alive() for thread in threads) or done < 2000:
        if done < len(wire.sent):
            done += 1
            wire.outbox.acknowledge(done)
    for thread in threads:
        thread.join()
    assert wire.reconnect() == []
    assert len(wire.sent) == 2000
