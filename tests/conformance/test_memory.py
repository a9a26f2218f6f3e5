"""Memory is judged however little time the machine leaves for commands."""

import os
import signal

import pytest

from iot2mqtt_conformance.contract import clauses
from iot2mqtt_conformance.declaration import load
from iot2mqtt_conformance.judging import Played, judge, play
from iot2mqtt_conformance.scenarios import memory
from iot2mqtt_conformance.services.choose import choose
from iot2mqtt_conformance.verdict import Outcome
from iot2mqtt_conformance.view import View
from tests.conformance.suite_runs import REFERENCES

CLAUSE = "I2M-LIFE-07"


@pytest.fixture(autouse=True)
def unbroken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BREAK", raising=False)


def played() -> Played:
    new_broker, _ = choose("auto")
    return play(load(REFERENCES / "hostile"), [CLAUSE], new_broker=new_broker, seed=7, progress=lambda _line: None)


def outcome(of: Played) -> Outcome:
    return judge(clauses()[CLAUSE], load(REFERENCES / "hostile"), of).outcome


def test_commands_that_are_still_under_way_when_the_memory_was_measured_are_not_half_written_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # So little time that the connector is in the middle of a burst when it is over.
    monkeypatch.setattr(memory, "BUDGET", 0.4)
    run = View(played().transcript).run("memory")
    assert run is not None
    end = run.sent("memory_end")[0]
    assert [p.topic for p in run.publications if p.record.i > end.i and p.levels[:1] == ["devices"]] == []


def test_a_connector_with_little_time_is_given_as_much_as_a_verdict_on_its_memory_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # So little time as a machine leaves that has much else to do.
    monkeypatch.setattr(memory, "BUDGET", 0.001)
    assert outcome(played()) is Outcome.PASS


def test_a_connector_that_gets_no_time_for_a_while_is_commanded_again_before_its_memory_is_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = memory._Answers
    burst, stopped = answers.burst, list[int]()

    async def stopping(self: memory._Answers, seconds: float, *, silence: float) -> bool:
        if stopped:
            return await burst(self, seconds, silence=silence)
        stopped.append(self._rig.pid)
        os.kill(self._rig.pid, signal.SIGSTOP)
        try:
            return await burst(self, seconds, silence=silence)
        finally:
            os.kill(self._rig.pid, signal.SIGCONT)

    monkeypatch.setattr(answers, "burst", stopping)
    monkeypatch.setattr(memory, "LONGEST", 8.0)
    assert outcome(played()) is Outcome.PASS
    assert stopped
