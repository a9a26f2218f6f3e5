"""Strange payloads: the same from the same seed everywhere, and the smallest that does harm is shown."""

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from iot2mqtt_conformance.contract import clauses
from iot2mqtt_conformance.declaration import load
from iot2mqtt_conformance.judging import judge, play
from iot2mqtt_conformance.payloads import FRAGMENTS, GENERATED, Chance, payloads, script_inputs
from iot2mqtt_conformance.services.choose import choose
from iot2mqtt_conformance.shrinking import simpler, smaller
from iot2mqtt_conformance.verdict import Outcome, Verdict
from tests.conformance.suite_runs import REFERENCES

FUZZED = "I2M-CMD-08"
SEVEN = "b2da1353c1191249"
REQUEST = b'{"tool": "validate", "input": {"host": "127.0.0.1"}}'
IN_ANOTHER_PROCESS = """
import hashlib, sys
LOCAL_CONSTANT = "a constant of a module of this machine"
from iot2mqtt_conformance.payloads import payloads
print(hashlib.sha256(repr(payloads(7)).encode()).hexdigest())
"""


def digest(found: list[bytes]) -> str:
    return hashlib.sha256(repr(found).encode()).hexdigest()


def test_a_seed_stands_for_the_same_payloads_on_every_machine() -> None:
    done = subprocess.run([sys.executable, "-c", IN_ANOTHER_PROCESS], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(payloads(7))
    # Written down, so that another version of Python that generates others is noticed.
    assert digest(payloads(7)).startswith(SEVEN)
    assert payloads(7) != payloads(8)


def test_every_fragment_is_put_into_some_payload() -> None:
    found = payloads(3)
    assert len(found) == GENERATED
    assert [fragment for fragment in FRAGMENTS if not any(fragment in payload for payload in found)] == []


def test_shuffling_loses_nothing() -> None:
    assert sorted(Chance(5).shuffled(range(100))) == list(range(100))
    assert Chance(5).shuffled(range(100)) != list(range(100))


@pytest.mark.parametrize("seed", range(20))
def test_inputs_for_scripts_are_no_requests(seed: int) -> None:
    found = list(script_inputs(seed, REQUEST))
    assert found == list(script_inputs(seed, REQUEST))
    assert {case for case, _ in found} <= {"malformed", "envelope"}
    assert all(text != REQUEST for _, text in found)


@pytest.mark.parametrize(
    ("payload", "harms", "least"),
    [
        (b'{"id": "a", "values": {"\xff\x00": 1}}', lambda p: b"\xff\x00" in p, b"\xff\x00"),
        (b"[1, 2, {}, [[]]]", lambda p: p.startswith(b"[") and p.endswith(b"]") and len(p) > 1, b"[]"),
        (b"x" * 1000, lambda p: len(p) > 600, b"x" * 601),
        (b"ab" * 40, lambda p: p.count(b"a") >= 3 and p.count(b"b") >= 2, None),
        (b"anything", lambda _p: True, b""),
    ],
)
def test_a_payload_is_shrunk_until_no_byte_can_be_left_out(
    payload: bytes, harms: Callable[[bytes], bool], least: bytes | None
) -> None:
    async def tried(candidate: bytes) -> bool:
        return harms(candidate)

    found = asyncio.run(smaller(payload, tried))
    assert least in (found, None)
    assert harms(found)
    assert not any(harms(found[:i] + found[i + 1 :]) for i in range(len(found)))


def test_members_of_json_are_left_out_as_a_whole() -> None:
    async def harms(candidate: bytes) -> bool:
        return None in (json.loads(candidate).get("properties") or [])

    payload = b'{"": [false, {"a": 1}], "properties": [null, "x", {"b": []}], "id": "y"}'
    assert asyncio.run(simpler(payload, harms)) == b'{"properties":[null]}'
    assert asyncio.run(simpler(b"\xff{", harms)) == b"\xff{"


def test_shrinking_stops_when_its_time_is_up() -> None:
    tries = 0

    async def harms(_candidate: bytes) -> bool:
        nonlocal tries
        tries += 1
        return False

    assert asyncio.run(smaller(b"x" * 100, harms, lambda: tries >= 5)) == b"x" * 100
    assert tries == 5


def verdict_on(mutant: str, monkeypatch: pytest.MonkeyPatch) -> Verdict:
    monkeypatch.setenv("BREAK", mutant)
    declaration = load(Path(REFERENCES / "hostile"))
    new_broker, _ = choose("auto")
    played = play(declaration, [FUZZED], new_broker=new_broker, seed=7, progress=lambda _line: None)
    return judge(clauses()[FUZZED], declaration, played)


@pytest.mark.parametrize(
    ("mutant", "how"),
    [("I2M-CMD-08.bytes", "it ends with code 1"), ("I2M-CMD-08.hangs", "it lives and does not answer any more")],
)
def test_the_report_shows_the_smallest_payload_that_ends_or_stops_a_connector(
    mutant: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = verdict_on(mutant, monkeypatch)
    assert found.outcome is Outcome.FAIL
    assert rf"one message is enough: b'\xff\x00' (2 bytes) on devices/light1/cmd, and {how}" in found.seen
    assert "it was found from one of" in found.hint
