"""Bulbs whose light goes on when their brightness is set: one property moves another, and no clause forbids that."""

from dataclasses import replace

import pytest

from iot2mqtt_conformance.contract import clauses
from iot2mqtt_conformance.declaration import Declaration, load
from iot2mqtt_conformance.judging import judge, play
from iot2mqtt_conformance.services.choose import choose
from iot2mqtt_conformance.verdict import Outcome
from tests.conformance.suite_runs import REFERENCES

CLAUSES = ("I2M-CMD-06", "I2M-CMD-12")


def declared(power: tuple[bool, bool], *others: str) -> Declaration:
    """Return the declaration of the bulbs, with what can be set of the first one in this order."""
    declaration = load(REFERENCES / "yeelight")
    first, *rest = declaration.devices
    writable = {"power": power, **{name: first.writable[name] for name in others}}
    return replace(declaration, devices=(replace(first, writable=writable), *rest))


@pytest.mark.parametrize(
    "declaration",
    [
        declared((True, False), "brightness", "effect"),
        declared((False, True), "brightness", "effect"),
        declared((False, True), "brightness", "color_temp"),
    ],
    ids=["on by brightness", "off again", "on by all that there is"],
)
def test_a_light_that_goes_on_with_its_brightness_has_executed_nothing_that_it_should_not(
    declaration: Declaration,
) -> None:
    new_broker, _ = choose("auto")
    played = play(declaration, CLAUSES, new_broker=new_broker, seed=7, progress=lambda _line: None)
    verdicts = [judge(clauses()[clause], declaration, played) for clause in CLAUSES]
    assert [verdict for verdict in verdicts if verdict.outcome is not Outcome.PASS] == []
