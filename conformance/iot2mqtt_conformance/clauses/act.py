"""I2M-ACT: action scripts."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.clauses.striking import slack
from iot2mqtt_conformance.contract import schema_fault
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Verdict, failed, passed
from iot2mqtt_conformance.view import View, strict_json

DECLARED = ("good", "bad", "unreachable")
"""Calls with inputs that the declaration names."""
BROKEN = ("empty", "malformed", "envelope")
"""Calls whose stdin holds no envelope."""
SAME = ("good", "again", "overlap")
STOPPED = 2.0
"""Seconds from SIGTERM to the end (I2M-ACT-06)."""
SHOWN = 160
LONG_NAME = 4
"""Letters from which on words that begin like a name are taken for it."""
SHORTEST = 4
"""A shorter secret may stand in an answer by chance."""


def _calls(view: View, *cases: str) -> list[Record]:
    return [r for r in view.transcript.of("actions") if r.kind == "action" and (not cases or r.data["case"] in cases)]


def _answer(call: Record) -> dict[str, Any] | None:
    """Return the object on stdout, None where it holds anything else."""
    found = strict_json(call.data["stdout"])
    return found if isinstance(found, dict) else None


def _fault(call: Record) -> dict[str, Any]:
    """Return the error of an answer of the form {ok: false, error}; empty for any other."""
    answer = _answer(call) or {}
    error = answer.get("error")
    return error if answer.get("ok") is False and isinstance(error, dict) else {}


def _named(call: Record) -> str:
    """Name a call in a sentence."""
    data = call.data
    asked = f"input {json.dumps(data['input'])}" if "input" in data else f"stdin {data.get('stdin', '')!r}"
    return f"{data['tool']} with {_short(asked)}"


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _seen(call: Record) -> str:
    """Say what came of a call."""
    data = call.data
    last = data["stderr"].strip().rpartition("\n")[2]
    parts = [
        f"stdout {_short(data['stdout'])!r}" if data["stdout"] else "nothing on stdout",
        f"exit code {data['code']}" if data["itself"] else f"still running after {data['seconds']:.1f} s",
        *([f"last on stderr {_short(last)!r}"] if last else []),
    ]
    return ", ".join(parts)


def good_answers(view: View) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return by tool the inputs of the first good call, and the answer to it where there is one."""
    calls = {call.data["tool"]: call for call in reversed(_calls(view, "good"))}
    answers = {tool: _answer(call) for tool, call in calls.items()}
    return (
        {tool: call.data["input"] for tool, call in calls.items()},
        {tool: answer for tool, answer in answers.items() if answer is not None and answer.get("ok") is True},
    )


def _missing(view: View) -> Verdict | None:
    """Fail where a declared action could not be called at all."""
    absent = [r for r in view.transcript.of("actions") if r.kind == "action.missing"]
    if absent:
        data = absent[0].data
        return failed(f"a script of the tool `{data['tool']}` that can be called", data["reason"], at=absent[:1])
    return None if _calls(view, "good") else failed("an answer to each declared call", "no action was called")


def _first_wrong(calls: list[Record], expected: str, honoured: Callable[[Record], bool], hint: str) -> Verdict | None:
    """Fail at the first call that is not as it should be."""
    wrong = next((call for call in calls if not honoured(call)), None)
    return None if wrong is None else failed(f"{expected}: {_named(wrong)}", _seen(wrong), at=[wrong], hint=hint)


@judges("I2M-ACT-01", "actions")
def one_object_each_way(view: View, _declaration: Declaration) -> Verdict:
    """Declared calls are answered by one JSON object and nothing else, good ones by ok: true."""
    calls = _calls(view, *DECLARED)
    return (
        _missing(view)
        or _first_wrong(
            calls,
            "one JSON object on stdout, and nothing else",
            lambda call: _answer(call) is not None,
            "what is for people belongs on stderr",
        )
        or _first_wrong(
            _calls(view, "good"),
            "ok: true for a call that is declared as good",
            lambda call: (_answer(call) or {}).get("ok") is True,
            "read {tool, input} from stdin",
        )
        or passed(calls)
    )


@judges("I2M-ACT-02", "actions")
def answers_have_the_form(view: View, _declaration: Declaration) -> Verdict:
    """Every object on stdout fits the schema."""
    for call in _calls(view):
        answer = _answer(call)
        fault = schema_fault("action_output", answer) if answer is not None else None
        if answer is not None and fault is not None:
            return failed(
                "{ok: true, result} or {ok: false, error: {code, message, retriable}} with a code in lower_snake_case:"
                f" {_named(call)}",
                f"{_form_fault(answer) or fault}; {_seen(call)}",
                at=[call],
            )
    return _missing(view) or passed(call for call in _calls(view) if _answer(call) is not None)


def _form_fault(answer: dict[str, Any]) -> str | None:
    """Say what is wrong with an answer in words that the schema's `oneOf` does not find."""
    if not isinstance(answer.get("ok"), bool):
        return "`ok` is neither true nor false"
    wanted = {"ok", "result"} if answer["ok"] else {"ok", "error"}
    if set(answer) != wanted:
        return f"it has {', '.join(sorted(answer))} and not {', '.join(sorted(wanted))}"
    error = answer.get("error")
    if not isinstance(error, dict) or set(error) != {"code", "message", "retriable"}:
        return "its error has not code, message and retriable, and these alone"
    return f"code {error['code']!r}, message {error['message']!r}, retriable {error['retriable']!r}"


@judges("I2M-ACT-03", "actions")
def handled_failures_end_with_0(view: View, _declaration: Declaration) -> Verdict:
    """Declared bad calls are refused, and whoever refuses ends with 0."""
    bad = _calls(view, "bad")
    handled = [call for call in _calls(view, "bad", "unreachable", *BROKEN) if _fault(call)]
    return (
        _missing(view)
        or _first_wrong(
            bad,
            "ok: false for a call that is declared as bad",
            lambda call: bool(_fault(call)),
            "check the inputs, and answer what is wrong with them",
        )
        or _first_wrong(
            handled,
            "exit code 0 beside ok: false",
            lambda call: call.data["code"] == 0,
            "the answer tells of the failure; another exit code says that the script broke",
        )
        or passed(handled)
    )


@judges("I2M-ACT-04", "actions")
def nonsense_is_answered(view: View, _declaration: Declaration) -> Verdict:
    """What is no envelope, and inputs of another type, are refused with a message that names what is wrong."""
    calls = _calls(view, *BROKEN, "mistyped")
    absent = _missing(view)
    if absent is not None or not calls:
        return absent or passed(())
    expected = "ok: false with a code and a message that names what is wrong"
    for call in calls:
        error = _fault(call)
        if not error.get("code") or not error.get("message"):
            return failed(f"{expected}: {_named(call)}", _seen(call), at=[call])
        complaint = _unnamed(view, call, str(error["message"]))
        if complaint is not None:
            return failed(f"{expected}: {_named(call)}", f"message {error['message']!r}, {complaint}", at=[call])
    return passed(calls)


def _unnamed(view: View, call: Record, message: str) -> str | None:
    """Say why a message does not name what is wrong, or None where it does."""
    if call.data["case"] == "mistyped":
        name = call.data["field"]
        return None if _names(message, name) else f"which does not name `{name}`"
    # Taking what cannot be read for no inputs at all is the mistake that this clause is about.
    tool = call.data["tool"]
    empty = [_fault(r).get("message") for r in _calls(view, "nothing") if r.data["tool"] == tool]
    return "as if a well-formed envelope had no inputs" if message in empty else None


def _names(message: str, name: str) -> bool:
    """Whether a message has the name of an input as a word, in whatever way it is written: `id` is not in `valid`.

    A longer name may be the beginning of a word: languages there are that put words together.
    """
    letters = r"[\W_]*".join(map(re.escape, re.sub(r"[\W_]", "", name).lower()))
    end = "" if len(name) >= LONG_NAME else "(?![a-z0-9])"
    return re.search(f"(?<![a-z0-9]){letters}{end}", message.lower()) is not None


@judges("I2M-ACT-05", "actions")
def unreachable_is_retriable(view: View, _declaration: Declaration) -> Verdict:
    """A target that does not answer: ok: false, retriable: true, in time."""
    calls, allowed = _calls(view, "unreachable"), slack(view)
    return (
        _missing(view)
        or _first_wrong(
            calls,
            "ok: false and retriable: true within the timeout that setup.json gives the tool",
            lambda call: _fault(call).get("retriable") is True and call.data["seconds"] <= call.data["limit"] + allowed,
            "give the connection a timeout of its own, below the tool's",
        )
        or passed(calls)
    )


@judges("I2M-ACT-06", "actions")
def sigterm_ends_a_script(view: View, _declaration: Declaration) -> Verdict:
    """SIGTERM ends a script that was running, in time."""
    absent = _missing(view)
    if absent is not None:
        return absent
    stopped = [call for call in _calls(view, "stopped reading", "stopped calling") if call.data["running"]]
    for call in stopped:
        if not call.data["ended"] or call.data["after"] > STOPPED + slack(view):
            doing = "waited for its input" if call.data["case"] == "stopped reading" else "waited for its target"
            return failed(
                f"the end within {STOPPED:.0f} s of SIGTERM while {call.data['tool']} {doing}",
                f"{'the end' if call.data['ended'] else 'still running'} after {call.data['after']:.1f} s",
                at=[call],
                hint="do not catch the signal, or leave at once when it comes",
            )
    if not stopped:
        return failed(
            "a script that runs when SIGTERM comes",
            "each call had ended before it had read its input",
            hint="the script must read stdin; name a target {silent} among its `unreachable` inputs as well",
        )
    return passed(stopped)


@judges("I2M-ACT-07", "actions")
def secrets_stay_hidden(view: View, _declaration: Declaration) -> Verdict:
    """No output holds the value of a secret input."""
    absent = _missing(view)
    if absent is not None:
        return absent
    told = [call for call in _calls(view) if any(_texts_of(call))]
    for call in told:
        for name, text in _texts_of(call):
            for stream in ("stdout", "stderr"):
                if text in call.data[stream]:
                    return failed(
                        f"an output without the value of the secret `{name}`: {call.data['tool']}, case"
                        f" {call.data['case']}",
                        f"it stands on {stream}",
                        at=[call],
                        hint="errors of a library often quote what they were given: tell in your own words",
                    )
    return passed(told)


def _texts_of(call: Record) -> Iterator[tuple[str, str]]:
    """Yield the values of a call's secret inputs, with the inputs' names."""
    inputs = {**call.data.get("input", {}), **call.data.get("markers", {})}
    for name in call.data["secret_names"]:
        for text in _leaves(inputs.get(name)):
            if len(text) >= SHORTEST:
                yield name, text


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)


@judges("I2M-ACT-08", "actions")
def runs_are_independent(view: View, _declaration: Declaration) -> Verdict:
    """The same input gives the same answer, again and at the same time."""
    absent = _missing(view)
    if absent is not None:
        return absent
    evidence = []
    first: dict[str, Record] = {}
    for call in _calls(view, *SAME):
        # Of several good inputs the first is the one that is repeated.
        usual = first.setdefault(call.data["tool"], call)
        if call.data["case"] == "good" and call is not usual:
            continue
        if (_answer(call) or call.data["stdout"]) != (_answer(usual) or usual.data["stdout"]):
            when = "two calls at once" if call.data["case"] == "overlap" else "a second call"
            return failed(
                f"the same answer for {when} as for the first: {_named(call)}",
                f"first {_seen(usual)}; then {_seen(call)}",
                at=[usual, call],
                hint="keep nothing between runs, and share no file or port",
            )
        evidence.append(call)
    return passed(evidence)
