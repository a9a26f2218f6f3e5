"""Whatever happens in whatever order, the clauses hold; said by the suite's judges, over a real broker."""

import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from tests.sdk.brokers import Broker, Recorder
from tests.sdk.judged_run import PATIENCE, JudgedRun, declare
from tests.sdk.workshop import Workshop
from tests.waiting import wait_until

from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_sdk import BaseConnector
from iot2mqtt_sdk.runtime import link

NAMES = ("light1", "light2")
CONFIG = {
    "instance_id": "box",
    "update_interval": 0.05,
    "devices": [{"device_id": name} for name in NAMES],
    "groups": [{"group_id": "all", "devices": list(NAMES)}],
}
ALWAYS = (
    *(f"I2M-STATUS-0{number}" for number in (1, 2, 3, 7)),
    *(f"I2M-SUB-0{number}" for number in (1, 2, 3, 4, 5)),
    *(f"I2M-PUB-0{number}" for number in (1, 2, 4)),
    *(f"I2M-STATE-0{number}" for number in (1, 2, 5)),
    *(f"I2M-ENV-0{number}" for number in (1, 4, 5)),
)
"""Clauses that hold at every moment, even if the connector is stopped while the broker is away."""
RECOVERED = ("I2M-ENV-09", "I2M-META-01", "I2M-META-02", "I2M-META-03")
"""Clauses about answers, which need the broker to be there."""

devices = st.sampled_from(NAMES)
levels = st.integers(1, 1000)


class Lamp:
    """A device in this process."""

    def __init__(self) -> None:
        self.level = 0
        self.reads = 0
        self.failing = False
        self.free = threading.Event()
        self.free.set()

    def check(self) -> None:
        if self.failing:
            raise ConnectionError("the lamp does not answer")


class Lamps(BaseConnector):
    lamps: dict[str, Lamp]

    def initialize_connection(self) -> None:
        self.lamps = {name: Lamp() for name in NAMES}

    def get_device_state(self, device_id: str, _config: Any) -> dict[str, int]:
        lamp = self.lamps[device_id]
        lamp.check()
        lamp.reads += 1
        return {"level": lamp.level}

    def set_device_state(self, device_id: str, _config: Any, state: Any) -> bool:
        lamp = self.lamps[device_id]
        lamp.check()
        lamp.free.wait(PATIENCE)
        lamp.level = state["level"]
        return True


class Life(RuleBasedStateMachine):
    """One life of a connector; the last word is the judges'."""

    workshop: Workshop
    broker: Broker
    declaration: Declaration

    @initialize(abrupt=st.booleans())
    def begin(self, abrupt: bool) -> None:
        self.run = JudgedRun(Lamps, CONFIG, workshop=self.workshop, broker=self.broker.port)
        assert isinstance(self.run.connector, Lamps)
        self.connector: Lamps = self.run.connector
        self.abrupt, self.reachable, self.stopped, self.lost = abrupt, True, False, 0
        starting = threading.Thread(target=self.connector.start)
        starting.start()
        self.run.wait(self.run.published("status", "online"), "online")
        first = self.run.send("devices/light1", {"level": 1}, probe="first", device="light1")
        self.run.wait(self.run.published("devices/light1/cmd/response", first.data["id"]), "the first response")
        starting.join()
        self.run.ask("info")  # uptime has to have grown when it is asked for again
        for name in NAMES:
            states = self.run.published(f"devices/{name}/state")
            first = self.run.wait(states, f"a state of {name}")
            self.run.wait(states, f"a second state of {name}", since=first.i + 1)

    # ------------------------------------------------------------------ what may happen
    @precondition(lambda self: not self.stopped)
    @rule(name=devices)
    def fail(self, name: str) -> None:
        self.connector.lamps[name].failing = True

    @precondition(lambda self: not self.stopped)
    @rule(name=devices)
    def recover(self, name: str) -> None:
        self.connector.lamps[name].failing = False

    @precondition(lambda self: not self.stopped)
    @rule()
    def cut(self) -> None:
        if self.reachable:
            self.lost = self.run.note("cut").i
        self.run.wire.do(lambda proxy: proxy.cut())

    @precondition(lambda self: not self.stopped and self.reachable)
    @rule()
    def lose_the_broker(self) -> None:
        self.reachable = False
        self.lost = self.run.note("cut").i
        self.run.wire.do(lambda proxy: proxy.accept(False))
        self.run.wire.do(lambda proxy: proxy.cut())

    @precondition(lambda self: not self.stopped and not self.reachable)
    @rule()
    def find_the_broker(self) -> None:
        self.reachable = True
        self.run.wire.do(lambda proxy: proxy.accept(True))

    @precondition(lambda self: not self.stopped)
    @rule(name=devices, level=levels)
    def command_without_waiting(self, name: str, level: int) -> None:
        self.run.send(f"devices/{name}", {"level": level}, probe="unwaited", device=name)

    @precondition(lambda self: not self.stopped and self.reachable)
    @rule(name=devices, level=levels)
    def cut_while_a_command_is_carried_out(self, name: str, level: int) -> None:
        self.online()
        lamp = self.connector.lamps[name]
        lamp.free.clear()
        sent = self.run.send(f"devices/{name}", {"level": level}, probe="unwaited", device=name)
        wait_until(lambda: sent.data["id"] in self.run.accepted(), PATIENCE)
        self.cut()
        wait_until(lambda: not self.connector.mqtt.connected, PATIENCE)
        lamp.free.set()

    @precondition(lambda self: not self.stopped)
    @rule(level=levels)
    def command_all(self, level: int) -> None:
        self.run.send("groups/all", {"level": level}, probe="group")

    @precondition(lambda self: not self.stopped and self.reachable)
    @rule(name=devices, level=levels)
    def command(self, name: str, level: int) -> None:
        if not self.connector.lamps[name].failing:
            self.command_and_wait(name, level, "writable")

    @precondition(lambda self: not self.stopped and self.reachable)
    @rule(name=devices)
    def let_it_poll(self, name: str) -> None:
        lamp = self.connector.lamps[name]
        if not lamp.failing:
            reads = lamp.reads
            wait_until(lambda: lamp.reads > reads)

    @precondition(lambda self: not self.stopped)
    @rule(payload=st.sampled_from([b"", b"{", b"[]", b'{"values": 5}', b'{"id": 7, "values": {}}', b"\xff"]))
    def nonsense(self, payload: bytes) -> None:
        self.run.others.publish("devices/light1/cmd", payload)

    @precondition(lambda self: self.abrupt)
    @rule()
    def stop(self) -> None:
        """Stop in the middle of it all, and perhaps once more."""
        self.stopped = True
        self.connector.stop()

    # ------------------------------------------------------------------ and what must be true then
    def online(self) -> None:
        """Wait until the connector has come back from whatever it lost."""
        self.run.wait(self.run.published("status", "online"), "online", since=self.lost)

    def command_and_wait(self, name: str, level: int, probe: str) -> None:
        self.online()
        since = len(self.run.records)
        sent = self.run.send(f"devices/{name}", {"level": level}, probe=probe, device=name)
        self.run.wait(self.run.published(f"devices/{name}/cmd/response", sent.data["id"]), f"the response to {probe}")
        self.run.wait(self.run.published(f"devices/{name}/state", f'"level":{level}}}'), "its state", since=since)

    def teardown(self) -> None:
        if not hasattr(self, "run"):
            return
        try:
            if not self.stopped:
                self.heal()
                self.end()
                self.judge_a_whole_life()
            self.judge_the_end()
        finally:
            self.run.close()

    def heal(self) -> None:
        """Let everything be well again, and see that it is."""
        for lamp in self.connector.lamps.values():
            lamp.failing = False
        self.run.wire.do(lambda proxy: proxy.accept(True))
        for name in NAMES:
            self.command_and_wait(name, 2000, "after_reconnection")
        wait_until(lambda: self.run.accepted() <= self.run.answered(), PATIENCE)
        self.run.note("retained_status", payload=self.retained_status())
        for question in ("devices_list", "info"):
            self.run.ask(question)

    def end(self) -> None:
        self.run.write("proc.signal", {"signal": "SIGTERM"})
        since = len(self.run.records)
        self.connector.stop()
        self.run.write("proc.exit", {"code": 0})
        self.run.wait(lambda record: record.kind == "conn.close", "the end of the connection", since=since)

    def retained_status(self) -> str:
        newcomer = Recorder(self.broker.port, self.run.base)
        try:
            return newcomer.wait("status", lambda seen: seen.retain).payload.decode()
        finally:
            newcomer.close()

    def judge_the_end(self) -> None:
        """However it was stopped, the broker keeps `offline`."""
        wait_until(lambda: self.retained_status() == "offline")
        kept = self.run.note("retained_status", payload="offline")
        ended = [record for record in self.run.records if record is kept or not is_step(record, "retained_status")]
        self.run.judge("I2M-STATUS-06", "kill", ended, self.declaration)
        for clause in ALWAYS:
            self.run.judge(clause, "boot", self.run.records, self.declaration)

    def judge_a_whole_life(self) -> None:
        run, declaration = self.run, self.declaration
        for clause in RECOVERED:
            run.judge(clause, "boot", run.records, declaration)
        run.judge("I2M-STATUS-05", "shutdown.sigterm", run.records, declaration)
        run.judge("I2M-LIFE-01", "shutdown.sigterm", run.records, declaration)
        commands = [as_asked(record, run.accepted()) for record in run.once()]
        for clause in ("I2M-CMD-01", "I2M-CMD-02"):
            if any(is_step(record, "send", probe="writable") for record in commands):
                run.judge(clause, "commands", commands, declaration)
        for cut in [record for record in run.records if is_step(record, "cut")]:
            once = [record for record in run.records if record is cut or not is_step(record, "cut")]
            run.judge("I2M-STATUS-04", "reconnect", once, declaration)


def is_step(record: Record, name: str, **facts: Any) -> bool:
    same = all(record.data.get(key) == value for key, value in facts.items())
    return record.kind == "step" and record.data["name"] == name and same


def as_asked(record: Record, accepted: set[str]) -> Record:
    """Call an unwaited command what the judges look for, where the connector has acknowledged it."""
    if not is_step(record, "send", probe="unwaited") or record.data["id"] not in accepted:
        return record
    return Record(record.i, record.t, record.run, record.kind, {**record.data, "probe": "anonymous_barrier"})


@pytest.mark.slow
def test_every_interleaving_of_events_leaves_the_clauses_intact(
    mosquitto: Broker, workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A connection counts as good at once, so that the next attempt does not wait for a second: lives are short here.
    monkeypatch.setattr(link, "STABLE", 0.0)
    Life.workshop, Life.broker, Life.declaration = workshop, mosquitto, declare(tmp_path, CONFIG)
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=15,
            stateful_step_count=12,
            database=None,
            derandomize=True,
            phases=[Phase.generate],  # a life takes a second, so that making a failing one smaller would take minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
