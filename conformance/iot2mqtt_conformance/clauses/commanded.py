"""What the judges of commands look for in a launch."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from iot2mqtt_conformance.contract import schema_fault
from iot2mqtt_conformance.transcript import Record
from iot2mqtt_conformance.verdict import Verdict, failed
from iot2mqtt_conformance.view import Publication, Run, strict_json


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal; true is not 1."""
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def never_online() -> Verdict:
    """Return the failure of a launch in which nothing could be commanded."""
    return failed("a connector that is online, so that it can be commanded", "none")


def stopped_short(run: Run, end: str) -> Verdict | None:
    """Return the failure of a launch whose scenario did not come to its end, None where it did."""
    if run.steps(end):
        return None
    return failed("a connector that goes on answering to the end of the scenario", "it did not", at=run.records[-3:])


def next_send(run: Run, record: Record) -> int:
    """Return the index of what was sent next, which is where the time of a probe ends."""
    return next((r.i for r in run.steps("send") if r.i > record.i), run.records[-1].i + 1)


def showing(states: Iterable[Publication], name: str, value: Any, *, after: int, before: int) -> Publication | None:
    """Return the first state between two records that carries a value."""
    return next((p for p in states if after < p.record.i < before and same(p.shown(name), value)), None)


def first_after(run: Run, device: str, asked: Record) -> Publication | None:
    """Return the first state of a device after a record."""
    return next((p for p in run.states(device) if p.record.i > asked.i), None)


def deliveries(run: Run, suffix: str) -> dict[str, Record]:
    """Return when the connector was first given each command of a topic, by their ids and in this order."""
    topic, found = f"{run.facts['root']}/{suffix}", dict[str, Record]()
    for record in run.packets("PUBLISH", "b2c"):
        command = strict_json(record.data.get("payload", "")) if record.data["topic"] == topic else None
        if isinstance(command, dict) and isinstance(command.get("id"), str):
            found.setdefault(command["id"], record)
    return found


def never_heard(run: Run, sent: Record) -> bool:
    """Whether the broker has kept a command from the connector, for it subscribes to nothing that covers it."""
    others = run.packets("PUBLISH", "b2c")
    return bool(others) and sent.data["id"] not in deliveries(run, sent.data["suffix"])


def responses(run: Run, command_id: str) -> list[Publication]:
    """Return what was published on response topics with the id of a command, each delivered once."""
    return [p for p in run.publications if _responds(p) and p.value.get("cmd_id") == command_id]


def _responds(publication: Publication) -> bool:
    """Whether this is a response, and not one that is sent again because its acknowledgement was lost."""
    is_response = publication.levels[-2:] == ["cmd", "response"] and isinstance(publication.value, dict)
    return is_response and not publication.record.data["dup"]


def first_response(run: Run, command_id: str) -> Publication | None:
    """Return the first response to a command."""
    return next(iter(responses(run, command_id)), None)


def answered_again(run: Run) -> Verdict | None:
    """Return the failure where a command for a device got a second response, None where none did.

    A command that the suite itself sends again is left out: what becomes of that is the affair of I2M-CMD-12.
    """
    answers: dict[str, list[Publication]] = {}
    for publication in run.publications:
        if _responds(publication) and isinstance(publication.value.get("cmd_id"), str):
            answers.setdefault(publication.value["cmd_id"], []).append(publication)
    sent = [r for r in run.steps("send") if r.data.get("id") and r.data["suffix"].startswith("devices/")]
    times = Counter(record.data["id"] for record in sent)
    for record in sent:
        command_id, found = record.data["id"], answers.get(record.data["id"], [])
        if times[command_id] == 1 and len(found) > 1:
            return failed(
                f"one response to {command_id} ({record.data['probe'].replace('_', ' ')}) on"
                f" {record.data['suffix']}/response",
                f"{len(found)}, the second {found[1].record.t - found[0].record.t:.1f} s after the first:"
                f" {found[1].text}",
                at=[record, *(p.record for p in found)],
                hint="a command is over once it is answered: a device that answers late is told of by its state alone",
            )
    return None


def unasked(run: Run) -> Verdict | None:
    """Return the failure where a response names no command that was sent, None where each does."""
    sent = {record.data.get("id") for record in run.steps("send")}
    # A connector that runs already may be commanded by others as well.
    others = bool(run.facts.get("attached"))
    for publication in filter(_responds, run.publications):
        named = publication.value.get("cmd_id")
        unknown = not isinstance(named, str) or named not in sent
        if named is None or (unknown and not others):
            before = [r for r in run.steps("send") if r.i < publication.record.i and r.data["suffix"].endswith("/cmd")]
            return failed(
                "responses to commands with an id only, where it is refused too",
                f"{publication.text} on {publication.topic}",
                at=[*before[-1:], publication.record],
                hint="look for the id before anything is answered",
            )
    return None


def status_of(publication: Publication) -> Any:
    """Return the status of a response, None where it has none."""
    return publication.value.get("status") if isinstance(publication.value, dict) else None


def success_of(run: Run, command_id: str) -> Publication | None:
    """Return the first response that says that a command was carried out, by one member of a group at least."""
    return next((p for p in responses(run, command_id) if status_of(p) == "success" or _is_partial(p)), None)


def _is_partial(publication: Publication) -> bool:
    results = publication.value.get("results")
    found = results.values() if status_of(publication) == "partial" and isinstance(results, dict) else ()
    return any(isinstance(result, dict) and result.get("status") == "success" for result in found)


def refusal(run: Run, sent: Record, codes: tuple[str, ...] = ()) -> Publication | Verdict:
    """Return the response that refuses a command, or the failure where there is none such.

    Args:
        run: The launch.
        sent: The step that sent the command.
        codes: The error codes that fit; empty where any response with the status `error` will do.
    """
    what = sent.data["probe"].replace("_", " ")
    wanted = f" and the code {' or '.join(codes)}" if codes else ""
    expected = f"a response with status error{wanted} to {sent.data['id']} ({what}) on {sent.data['suffix']}/response"
    answers = responses(run, sent.data["id"])
    if not answers:
        return failed(expected, "no response", at=[sent], hint="answer every command with an id, the refused ones too")
    answer = answers[0]
    at = [sent, answer.record]
    if status_of(answer) != "error":
        return failed(expected, f"{answer.text}", at=at, hint="look at the command before anything of it is executed")
    if codes:
        schema = "group_response" if answer.levels[0] == "groups" else "cmd_response"
        fault = schema_fault(schema, answer.value)
        error = answer.value.get("error")
        if fault is None and not isinstance(error, dict):
            fault = "it has no `error` object with code, message and retriable"
        if fault is not None:
            return failed(expected, f"{answer.text}: {fault}", at=at)
        if isinstance(error, dict) and error["code"] not in codes:
            return failed(expected, f"the code {error['code']} in {answer.text}", at=at)
    return answer
