"""I2M-PIPE: what the connector's states become behind bridge, Kafka, processor and sink."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from math import inf

from iot2mqtt_conformance.clauses.pub import moment
from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.clauses.saying import excerpt
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Outcome, Verdict, failed, passed
from iot2mqtt_conformance.view import NOT_JSON, Publication, Run, View

PARTS = ("nothing", "bridge", "processor", "sink", "broker")
"""What was restarted, in this order; at first nothing."""
UNCONFIRMED = 0.5
"""Seconds in which a state of QoS 0 has surely reached the broker that nothing says so of."""
NOTHING_TO_STORE = (
    "no state has had a number or a boolean, which alone are stored: exclude the clause in [features.excluded] if that"
    " is as it should be"
)
Identity = tuple[str, str, int]
"""Device, property, microseconds of the event time: what the table can hold once."""


@dataclass(frozen=True, slots=True)
class _Cell:
    """One numeric or boolean property of one published state."""

    state: Publication
    device: str
    name: str
    time: int
    value: float


class _Carriage:
    """One launch, and what of its states has arrived."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.marked = {r.data["part"]: r for r in run.steps("marked")}
        self.carried = {r.data["part"]: r for r in run.steps("carried")}
        self.away = {r.data["part"]: r for r in run.steps("away")}
        self.back = {r.data["part"]: r for r in run.steps("back")}

    @cached_property
    def missing_part(self) -> str | None:
        """The part whose turn has not come, if any."""
        return next((part for part in PARTS if part not in self.carried), None)

    @cached_property
    def rows(self) -> dict[Identity, list[float | None]]:
        """The values of all rows by what identifies them."""
        found: dict[Identity, list[float | None]] = {}
        for record in self.carried.values():
            for device, name, time, value in record.data["rows"]:
                found.setdefault((device, name, time), []).append(value)
        return found

    @cached_property
    def letters(self) -> Counter[str]:
        """How many dead letters there are of each device."""
        return Counter(letter["device"] for record in self.run.steps("letters") for letter in record.data["letters"])

    def why(self, device: str) -> str:
        """Say why a state of a device is among the dead letters, where one is."""
        letters = chain.from_iterable(record.data["letters"] for record in self.run.steps("letters"))
        found = next((letter for letter in letters if letter["device"] == device), None)
        return f"; a dead letter of {device} says {found['reason']}: {found['error']}" if found else ""

    @cached_property
    def _acknowledged(self) -> dict[int, int]:
        """Where the PUBACK of a PUBLISH stands, by where the latter stands."""
        waiting: dict[tuple[int, int], int] = {}
        found: dict[int, int] = {}
        for record in self.run.records:
            if record.kind != "packet" or record.data["type"] not in ("PUBLISH", "PUBACK"):
                continue
            key = (record.data["conn"], record.data.get("id", 0))
            if record.data["type"] == "PUBLISH" and record.data["dir"] == "c2b" and record.data["qos"]:
                waiting[key] = record.i
            elif record.data["type"] == "PUBACK" and record.data["dir"] == "b2c" and key in waiting:
                found[waiting.pop(key)] = record.i
        return found

    def _taken(self, state: Publication, before: Record) -> bool:
        """Whether the broker had a state for certain when a message of the suite's own followed it."""
        if state.qos:
            return self._acknowledged.get(state.record.i, before.i) < before.i
        return state.record.t < before.t - UNCONFIRMED

    def due(self, part: str) -> list[Publication]:
        """Return the states that must have arrived by the time a part had its turn, and had not to before.

        While the broker is away or the bridge not yet back, it may lose what it has taken: that is left out.
        """
        turn = PARTS.index(part)
        since = self.marked[PARTS[turn - 1]] if turn else None
        states = [s for s in self.run.states() if self._taken(s, self.marked[part])]
        if part == "broker":
            return [s for s in states if s.record.i > self.back[part].i]
        return [s for s in states if since is None or not self._taken(s, since)]

    def stored(self, cell: _Cell) -> list[float | None]:
        """Return the values of the rows of a property; clocks tell finer times than the table keeps."""
        near = (cell.time, cell.time - 1, cell.time + 1)
        return next((rows for t in near if (rows := self.rows.get((cell.device, cell.name, t)))), [])


def _carriage(view: View) -> _Carriage | None:
    run = view.run("pipeline")
    return None if run is None else _Carriage(run)


def _cells(state: Publication) -> list[_Cell] | None:
    """Return the numbers and booleans of a state; None where it is no state, or has no time."""
    values = state.value.get("state") if isinstance(state.value, dict) else NOT_JSON
    seconds = moment(state.value.get("timestamp")) if isinstance(values, dict) else None
    if not isinstance(values, dict) or seconds is None:
        return None
    device, time = state.levels[1], round(seconds * 1_000_000)
    return [
        _Cell(state, device, name, time, _stored(value))
        for name, value in values.items()
        if isinstance(value, bool | int | float)
    ]


def _stored(value: float) -> float:
    """Return what a column of double precision keeps of a number."""
    try:
        return float(value)
    except OverflowError:
        return inf


def _not_played(carriage: _Carriage | None, expected: str) -> Verdict | None:
    """Return the failure of a connector that did not stay as long as it was needed."""
    if carriage is None or not carriage.run.onlines:
        return failed(expected, "no `online`", at=[] if carriage is None else carriage.run.records[-1:])
    return None


@judges("I2M-PIPE-01", "pipeline")
def every_value_arrives(view: View, _declaration: Declaration) -> Verdict:
    """Each number and boolean of each state is one row, with its value and the state's own time."""
    expected = (
        "one row in iot_measurements for each numeric and boolean property of each state, with its value and time"
    )
    carriage = _carriage(view)
    failure = _not_played(carriage, expected)
    if carriage is None or failure is not None:
        return failure or failed(expected, "nothing was launched")
    if "nothing" not in carriage.carried:
        return failed(
            expected, "the connector was gone before its states could be followed", at=carriage.run.records[-1:]
        )
    evidence: list[Record] = []
    cells: list[_Cell] = []
    for state in carriage.due("nothing"):
        found = _cells(state)
        if found is None:
            seen = f"a state without a time or without values: {excerpt(state)}{carriage.why(state.levels[1])}"
            return failed(expected, seen, at=[state.record], hint="give every state the `timestamp` of I2M-PUB-03")
        cells += found
        evidence += [state.record] if found else []
    complaint = next(_complaints(carriage, cells), None)
    if complaint is not None:
        cell, seen, hint = complaint
        return failed(expected, seen, at=[cell.state.record, carriage.carried["nothing"]], hint=hint)
    if not evidence:
        return Verdict(Outcome.NOT_RUN, seen=NOTHING_TO_STORE)
    return passed([*evidence, carriage.carried["nothing"]])


def _complaints(carriage: _Carriage, cells: Iterable[_Cell]) -> Iterator[tuple[_Cell, str, str]]:
    """Yield what is wrong with the rows of values: the value, what is seen, and what to do."""
    first: dict[Identity, _Cell] = {}
    for cell in cells:
        rows = carriage.stored(cell)
        other = first.setdefault((cell.device, cell.name, cell.time), cell)
        what = f"`{cell.name}` of {excerpt(cell.state)}"
        if other.value != cell.value:
            at = f"{other.state.record.t:.1f} s"
            seen = f"{what}, and {other.value:g} for the same time in the state at {at}: one is lost"
            yield cell, seen, "stamp each state with the moment in which it was read, to the millisecond"
        elif not rows:
            hint = "the timestamp must be the present time; the pipeline sets aside what it cannot believe or read"
            yield cell, f"no row for {what}{carriage.why(cell.device)}", hint
        elif len(rows) > 1:
            yield cell, f"{len(rows)} rows for {what}", ""
        elif rows[0] != cell.value:
            yield cell, f"the value {rows[0]} for {what}", ""


@judges("I2M-PIPE-02", "pipeline")
def restarts_lose_nothing(view: View, declaration: Declaration) -> Verdict:
    """After the restart of each part, every state is stored once or a dead letter, and new ones go on arriving."""
    expected = "each state of each device stored once, or among the dead letters, after the restart of each part"
    carriage = _carriage(view)
    failure = _not_played(carriage, expected)
    if carriage is None or failure is not None:
        return failure or failed(expected, "nothing was launched")
    if carriage.missing_part is not None:
        seen = f"the connector was gone before the turn of the {carriage.missing_part}"
        return failed(expected, seen, at=carriage.run.records[-1:])
    evidence: list[Record] = []
    for part in PARTS[1:]:
        states = carriage.due(part)
        failure = _silent(carriage, part, states, declaration, expected) or _lost(carriage, part, states, expected)
        if failure is not None:
            return failure
        evidence += [carriage.away[part], carriage.carried[part]]
    ledger = carriage.run.steps("ledger")[0]
    for device, account in ledger.data["devices"].items():
        # More duplicates than were published are what a Kafka brings that forgets offsets, as the embedded one does.
        if account is None or account["missing"] > 0 or account["stored"] > account["published"]:
            seen = f"the pipeline's ledger of {device} does not balance: {account}"
            return failed(expected, seen, at=[ledger])
    return passed([*evidence, ledger])


def _silent(
    carriage: _Carriage, part: str, states: list[Publication], declaration: Declaration, expected: str
) -> Verdict | None:
    """Return the failure of a connector that says nothing of a device while, or after, a part is away."""
    silent = set(declaration.enabled) - {s.levels[1] for s in states if s.record.i > carriage.away[part].i}
    if not silent:
        return None
    when = "after the broker's return" if part == "broker" else f"while the {part} was away"
    seen = f"no state of {', '.join(sorted(silent))} {when}"
    at = [carriage.away[part], *carriage.run.steps("timeout"), carriage.carried[part]]
    return failed(expected, seen, at=at, hint="reconnect, and publish states at every interval")


def _lost(carriage: _Carriage, part: str, states: list[Publication], expected: str) -> Verdict | None:
    """Return the failure where states are nowhere, or stored twice."""
    lost: dict[str, list[Publication]] = {}
    for state in states:
        # A state without a time cannot be found again; the ledger counts it.
        cells = _cells(state) or []
        rows = [carriage.stored(cell) for cell in cells]
        twice = [cell for cell, found in zip(cells, rows, strict=True) if len(found) > 1]
        if twice:
            seen = f"`{twice[0].name}` stored more than once after the restart of the {part}: {excerpt(state)}"
            return failed(expected, seen, at=[state.record, carriage.carried[part]])
        if not all(rows):
            lost.setdefault(state.levels[1], []).append(state)
    for device, gone in lost.items():
        if len(gone) > carriage.letters[device]:
            state = gone[0]
            seen = (
                f"{len(gone)} states of {device} are nowhere after the restart of the {part}, at first {excerpt(state)}"
            )
            hint = "publish states with QoS 1: of QoS 0 the broker keeps nothing for a bridge that is away"
            return failed(expected, seen, at=[state.record, carriage.carried[part]], hint="" if state.qos else hint)
    return None
